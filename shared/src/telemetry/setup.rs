//! Sets up logs and the OTLP exporter, and flushes them at the end.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use super::span::ROOT_SAMPLER;
use crate::env::{BadVariable, Env, flag_or, parse_or};

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A variable that cannot be used.
    #[error(transparent)]
    BadVariable(#[from] BadVariable),
    /// The exporter refused its settings.
    #[error("the OTLP exporter could not be made")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A subscriber is set already.
    #[error("logging could not be set up")]
    Subscriber(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporter; [`Telemetry::shutdown`] flushes it.
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends what is left. Blocks for a few seconds at most if the collector is away.
    pub fn shutdown(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

/// Sets up logging to standard error (`RUST_LOG`, default `info`; `LOG_FORMAT` `text` or `json`)
/// and, if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, the export
/// of spans by OTLP over HTTP. `OTEL_SDK_DISABLED` and `OTEL_TRACES_EXPORTER=none` switch it off.
///
/// # Errors
/// A variable that cannot be used, or a second call in one process.
pub fn init(service: &'static str, env: &dyn Env) -> Result<Telemetry, TelemetryError> {
    let provider = tracer_provider(service, env)?;
    let logs = log_layer(env)?;
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("fogline"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| {
                metadata.is_span() && metadata.target() == "otel"
            }))
    });
    tracing_subscriber::registry()
        .with(logs)
        .with(spans)
        .try_init()?;
    Ok(Telemetry { provider })
}

fn log_layer(env: &dyn Env) -> Result<Box<dyn Layer<Registry> + Send + Sync>, BadVariable> {
    let filter = parse_or(
        env,
        "RUST_LOG",
        EnvFilter::new("info,sqlx=warn,async_nats=warn"),
    )?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match env.get("LOG_FORMAT").as_deref() {
        None | Some("text") => Ok(layer.with_ansi(false).with_filter(filter).boxed()),
        Some("json") => Ok(layer.json().flatten_event(true).with_filter(filter).boxed()),
        Some(other) => Err(BadVariable::new(
            "LOG_FORMAT",
            format!("must be text or json, not {other:?}"),
        )),
    }
}

fn tracer_provider(
    service: &'static str,
    env: &dyn Env,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let endpoint = env
        .get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .or_else(|| env.get("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let off = flag_or(env, "OTEL_SDK_DISABLED", false)?
        || env
            .get("OTEL_TRACES_EXPORTER")
            .is_some_and(|value| value == "none");
    if endpoint.is_none() || off {
        return Ok(None);
    }
    let protocol = env
        .get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        .or_else(|| env.get("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if let Some(other) = protocol.filter(|value| value != "http/protobuf") {
        let problem =
            format!("only http/protobuf is built in, not {other:?}; use the collector's port 4318");
        return Err(BadVariable::new("OTEL_EXPORTER_OTLP_PROTOCOL", problem).into());
    }
    let root = root_sampler(env)?;
    let exporter = SpanExporter::builder().with_http().build()?;
    let mut resource = Resource::builder();
    if env.get("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(service);
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(
            resource
                .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                .build(),
        )
        .build();
    let _ = ROOT_SAMPLER.set(root);
    Ok(Some(provider))
}

/// The sampler of `OTEL_TRACES_SAMPLER`; every one of them is parent-based here, since a relay or
/// a gateway must not cut a trace in two.
fn root_sampler(env: &dyn Env) -> Result<Sampler, BadVariable> {
    let ratio = || -> Result<f64, BadVariable> {
        let ratio = parse_or(env, "OTEL_TRACES_SAMPLER_ARG", 1.0_f64)?;
        if (0.0..=1.0).contains(&ratio) {
            return Ok(ratio);
        }
        Err(BadVariable::new(
            "OTEL_TRACES_SAMPLER_ARG",
            "must be a number from 0 to 1",
        ))
    };
    match env.get("OTEL_TRACES_SAMPLER").as_deref() {
        None | Some("always_on" | "parentbased_always_on") => Ok(Sampler::AlwaysOn),
        Some("always_off" | "parentbased_always_off") => Ok(Sampler::AlwaysOff),
        Some("traceidratio" | "parentbased_traceidratio") => {
            Ok(Sampler::TraceIdRatioBased(ratio()?))
        }
        Some(other) => Err(BadVariable::new(
            "OTEL_TRACES_SAMPLER",
            format!(
                "must be always_on, always_off, traceidratio or parentbased_ one of these, not {other:?}"
            ),
        )),
    }
}
