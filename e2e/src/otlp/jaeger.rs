//! A real Jaeger (v2) with its traces in memory, and what its query API answers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;

use super::{SpanRecord, exporter_env};
use crate::provision::RunAs;
use crate::supervisor::{Child, ChildSpec, Launch, Ports, Readiness, RunDir, loopback};

/// It starts in a second.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// It has nothing to write.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// Between two questions: a span is found some 200 ms after it was received.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A Jaeger that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Jaeger {
    /// Its supervision.
    pub child: Child,
    receiver: String,
    query: String,
}

impl Jaeger {
    /// Starts that program on free ports of the loopback address, and waits until it answers.
    ///
    /// # Errors
    /// It does not start: with its last words.
    pub async fn start(program: PathBuf, run_dir: &RunDir) -> Result<Self> {
        let ports = Ports::free(1, 0)?;
        let [receiver, http, grpc] =
            [ports.postgres, ports.gateways[0], ports.nats].map(|port| loopback(port).to_string());
        let config = run_dir.path().join("jaeger.yaml");
        std::fs::write(&config, configuration(&receiver, &http, &grpc))
            .with_context(|| format!("{} cannot be written", config.display()))?;
        let query = format!("http://{http}");
        let child = Child::start(ChildSpec {
            name: "jaeger".to_owned(),
            launch: Launch {
                program,
                args: vec!["--config".to_owned(), format!("file:{}", config.display())],
                env: vec![],
                env_prefixes_removed: vec!["OTEL_"],
                dir: run_dir.path().to_path_buf(),
                log: run_dir.logs().join("jaeger.log"),
                run_as: RunAs::Caller,
            },
            readiness: Readiness::Answers(format!("{query}/api/services")),
            ready_deadline: READY_DEADLINE,
            end_signal: Signal::TERM,
            end_deadline: END_DEADLINE,
        });
        child.ready().await?;
        let receiver = format!("http://{receiver}");
        Ok(Self {
            child,
            receiver,
            query,
        })
    }

    /// What makes a service send its spans there.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        exporter_env(&self.receiver)
    }

    /// The spans of a trace: none as long as it has heard of none.
    ///
    /// # Errors
    /// It does not answer as Jaeger does.
    pub async fn trace(&self, trace_id: &str) -> Result<Vec<SpanRecord>> {
        self.ask(&format!("api/traces/{trace_id}")).await
    }

    /// The spans of the latest traces with that operation of that service.
    ///
    /// # Errors
    /// It does not answer as Jaeger does.
    pub async fn search(&self, service: &str, operation: &str) -> Result<Vec<SpanRecord>> {
        self.ask(&format!(
            "api/traces?service={service}&operation={operation}&limit=200&lookback=1h"
        ))
        .await
    }

    /// Asks for a trace until it has all that `complete` asks for.
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
                let trace = self.trace(trace_id).await?;
                if complete(&trace) {
                    return Ok(trace);
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        match tokio::time::timeout(deadline, wait).await {
            Ok(trace) => trace,
            Err(_) => bail!(
                "trace {trace_id} is incomplete: {:#?}",
                self.trace(trace_id).await?
            ),
        }
    }

    async fn ask(&self, path: &str) -> Result<Vec<SpanRecord>> {
        let answer = reqwest::get(format!("{}/{path}", self.query)).await?;
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(vec![]);
        }
        let answer: Answer = answer.error_for_status()?.json().await?;
        let traces = answer.data.unwrap_or_default();
        Ok(traces.into_iter().flat_map(spans_of).collect())
    }
}

/// As an all-in-one, but on the loopback address alone.
fn configuration(receiver: &str, http: &str, grpc: &str) -> String {
    format!(
        r#"service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{ receivers: [otlp], exporters: [jaeger_storage_exporter] }}
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: warn }} }}
extensions:
  jaeger_storage: {{ backends: {{ memory: {{ memory: {{ max_traces: 10000 }} }} }} }}
  jaeger_query:
    storage: {{ traces: memory }}
    http: {{ endpoint: "{http}" }}
    grpc: {{ endpoint: "{grpc}" }}
receivers:
  otlp: {{ protocols: {{ http: {{ endpoint: "{receiver}" }} }} }}
exporters:
  jaeger_storage_exporter: {{ trace_storage: memory }}
"#
    )
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Vec<Trace>>,
}

#[derive(Deserialize)]
struct Trace {
    spans: Vec<Span>,
    processes: HashMap<String, Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    id: String,
    operation_name: String,
    references: Vec<Reference>,
    tags: Vec<Tag>,
    #[serde(rename = "processID")]
    process_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    value: Value,
}

fn spans_of(trace: Trace) -> Vec<SpanRecord> {
    let Trace { spans, processes } = trace;
    spans
        .into_iter()
        .map(|span| {
            let process = processes.get(&span.process_id);
            let of_kind = |kind: &'static str| {
                let matching = span.references.iter().filter(move |it| it.ref_type == kind);
                matching.map(|reference| reference.span_id.clone())
            };
            SpanRecord {
                service: process.map_or_else(String::new, |process| process.service_name.clone()),
                instance: process
                    .and_then(|process| texts(&process.tags).remove("service.instance.id"))
                    .unwrap_or_default(),
                name: span.operation_name.clone(),
                parent_id: of_kind("CHILD_OF").next().unwrap_or_default(),
                links: of_kind("FOLLOWS_FROM").collect(),
                attributes: texts(&span.tags),
                trace_id: span.trace_id,
                span_id: span.id,
            }
        })
        .collect()
}

fn texts(tags: &[Tag]) -> HashMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    tags.iter()
        .map(|tag| (tag.key.clone(), text(&tag.value)))
        .collect()
}
