//! Request bodies: at most 16 KiB, read whole before the handler runs, and in good time.
//!
//! What is too large is still read, up to a limit, before the refusal is sent: a client that is
//! told while it writes would see a broken connection in place of the answer.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::problem::{Problem, Reason};

/// The largest body that is accepted.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// Of a body that is too large, so much is read for the client to get its answer.
const DISCARDED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// For the whole body; 16 KiB in this time is a modem's pace.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Puts a whole, small body in place of the one that arrives.
pub async fn buffer(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match timeout(READ_TIMEOUT, read(body)).await {
        Ok(Ok(bytes)) => {
            next.run(Request::from_parts(parts, Body::from(bytes)))
                .await
        }
        Ok(Err(problem)) => closing(problem),
        Err(_) => closing(Problem::new(
            Reason::Invalid,
            format!(
                "the body did not arrive within {} s",
                READ_TIMEOUT.as_secs()
            ),
        )),
    }
}

async fn read(mut body: Body) -> Result<Bytes, Problem> {
    let mut kept = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| Problem::new(Reason::Invalid, "the body broke off before its end"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length <= BODY_BYTES_MAX {
            kept.extend_from_slice(&data);
        } else if length > DISCARDED_BYTES_MAX {
            break;
        }
    }
    if length > BODY_BYTES_MAX {
        let detail = format!("a body may have {BODY_BYTES_MAX} bytes");
        return Err(Problem::new(Reason::TooLarge, detail));
    }
    Ok(kept.into())
}

/// What is left of the body is not waited for.
fn closing(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
