//! Logs and traces. Spans go out over OTLP when the standard `OTEL_*` variables name a collector;
//! trace ids are made and stored whether or not they do.

mod context;
mod setup;

pub use context::{Carrier, TraceContext};
pub use setup::{Telemetry, TelemetryError, init};
pub use span::{Traced, exporting, start, start_request};

mod span;
