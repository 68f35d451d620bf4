//! Where spans go, for assertions on traces: a small OTLP/HTTP receiver that keeps what it is sent,
//! and a real Jaeger.

mod jaeger;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub use self::jaeger::Jaeger;

/// A span, as far as assertions need it.
#[derive(Clone, Debug)]
pub struct SpanRecord {
    /// `service.name` of the process that it comes from.
    pub service: String,
    /// `service.instance.id` of that process, or empty.
    pub instance: String,
    /// Its name.
    pub name: String,
    /// Its trace, in hex.
    pub trace_id: String,
    /// Its id, in hex.
    pub span_id: String,
    /// Its parent's id, in hex; empty for a root.
    pub parent_id: String,
    /// Ids of the spans that it links to, in hex.
    pub links: Vec<String>,
    /// Its attributes that are strings, numbers or booleans.
    pub attributes: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct Spans {
    all: Mutex<Vec<SpanRecord>>,
    more: Notify,
}

/// A receiver that listens. Dropping it closes its port.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    spans: Arc<Spans>,
    _server: JoinSet<()>,
}

impl Receiver {
    /// Listens on a free port of the loopback address.
    ///
    /// # Errors
    /// There is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port")?;
        let address = listener.local_addr()?;
        let spans = Arc::new(Spans::default());
        let app = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(Arc::clone(&spans));
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!("the OTLP receiver ended: {error}");
            }
        });
        Ok(Self {
            address,
            spans,
            _server: server,
        })
    }

    /// What makes a service send its spans here, every 200 ms.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        exporter_env(&format!("http://{}", self.address))
    }

    /// All spans of a trace that came so far.
    #[must_use]
    pub fn trace(&self, trace_id: &str) -> Vec<SpanRecord> {
        let all = self
            .spans
            .all
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .filter(|span| span.trace_id == trace_id)
            .cloned()
            .collect()
    }

    /// How many spans came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.spans
            .all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Waits until a trace has all that `complete` asks for, and returns it.
    ///
    /// # Errors
    /// It has not by the deadline; with what it has.
    pub async fn trace_until(
        &self,
        trace_id: &str,
        deadline: Duration,
        complete: impl Fn(&[SpanRecord]) -> bool + Send + Sync,
    ) -> Result<Vec<SpanRecord>> {
        let wait = async {
            loop {
                let more = self.spans.more.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                let trace = self.trace(trace_id);
                if complete(&trace) {
                    return trace;
                }
                more.await;
            }
        };
        match tokio::time::timeout(deadline, wait).await {
            Ok(trace) => Ok(trace),
            Err(_) => bail!(
                "trace {trace_id} is incomplete: {:#?}",
                self.trace(trace_id)
            ),
        }
    }
}

/// What makes a service send its spans to that address, all of them, every 200 ms.
fn exporter_env(address: &str) -> Vec<(String, String)> {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

async fn receive(State(spans): State<Arc<Spans>>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let records = records(request);
    spans
        .all
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(records);
    spans.more.notify_waiters();
    StatusCode::OK
}

fn records(request: ExportTraceServiceRequest) -> Vec<SpanRecord> {
    let mut records = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = attributes(
            resource_spans
                .resource
                .map(|resource| resource.attributes)
                .unwrap_or_default(),
        );
        let of_resource = |name: &str| resource.get(name).cloned().unwrap_or_default();
        for span in resource_spans
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            records.push(SpanRecord {
                service: of_resource("service.name"),
                instance: of_resource("service.instance.id"),
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                attributes: attributes(span.attributes),
            });
        }
    }
    records
}

fn attributes(pairs: Vec<KeyValue>) -> HashMap<String, String> {
    let text = |value: Option<AnyValue>| match value?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(truth) => Some(truth.to_string()),
        Value::DoubleValue(number) => Some(number.to_string()),
        _ => None,
    };
    pairs
        .into_iter()
        .filter_map(|pair| Some((pair.key, text(pair.value)?)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
