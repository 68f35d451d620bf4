//! What every call has in common: problems, limits, traces, metrics, the page.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use futures_util::stream;
use game_api::http::observe;
use serde_json::json;
use shared::telemetry::TraceContext;
use tower::ServiceExt as _;

use crate::harness::{Instance, unreachable_pool};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    for path in [
        "/nope",
        "/v1/",
        "/v1/players/a/b",
        "/assets/../Cargo.toml",
        "/metrics",
        "/readyz",
    ] {
        let answer = instance.call("GET", path).send().await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (StatusCode::NOT_FOUND, "not_found"),
            "{path}"
        );
    }
    let answer = instance.call("DELETE", "/v1/players").send().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, "invalid")
    );
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn malformed_bodies_are_invalid_with_a_sentence() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    for (body, sentence) in [
        ("{", "EOF"),
        ("[\"Ada\"]", "no JSON object"),
        ("{\"name\":\"Ada\",\"x\":1}", "unknown field `x`"),
        ("{\"name\":[1]}", "invalid type: sequence"),
        ("", "missing field `name`"),
    ] {
        let answer = instance.call("POST", "/v1/players").body(body).send().await;
        assert_eq!(answer.reason(), "invalid");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(sentence), "{detail}");
    }
}

#[tokio::test]
async fn sixteen_kibibytes_are_the_most() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    let name = |length: usize| format!("{{\"name\":\"{}\"}}", "x".repeat(length - 11));
    let most = instance
        .call("POST", "/v1/players")
        .body(name(16 * 1024))
        .send()
        .await;
    assert_eq!(
        most.reason(),
        "invalid",
        "41 characters are too many, 16 KiB are not"
    );
    let over = instance
        .call("POST", "/v1/players")
        .body(name(16 * 1024 + 1))
        .send()
        .await;
    assert_eq!(
        (over.status, over.reason().as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
    );
    // Without a declared length, and on a path that is not there.
    let megabyte =
        stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 16384]))));
    let chunked = instance
        .call("POST", "/nope")
        .body(Body::from_stream(megabyte))
        .send()
        .await;
    assert_eq!(chunked.reason(), "too_large");
}

#[tokio::test]
async fn a_broken_body_is_invalid() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    let parts = stream::iter([
        Ok(Bytes::from_static(b"{\"name\"")),
        Err(std::io::Error::other("gone")),
    ]);
    let answer = instance
        .call("POST", "/v1/players")
        .body(Body::from_stream(parts))
        .send()
        .await;
    assert_eq!(answer.reason(), "invalid");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = instance.call("POST", "/v1/players").body(body).send().await;
    assert_eq!(answer.reason(), "invalid");
    assert_eq!(answer.header("connection"), "close");
}

async fn broken() {
    panic!("the secret cause");
}

#[tokio::test]
async fn a_panic_is_an_answer_that_says_nothing_of_its_cause() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    let router = Router::new()
        .route("/broken", get(broken))
        .layer(from_fn_with_state(instance.app.clone(), observe::observe));
    let request = Request::get("/broken").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.headers().contains_key("traceparent"));
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("\"reason\":\"unavailable\""), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_clients_trace_is_continued_and_its_sampling_counts_only_from_trusted_addresses() {
    for (trusted, flags) in [("127.0.0.0/8", "01"), ("10.0.0.0/8", "00")] {
        let instance = Instance::on(unreachable_pool(), &[("TRACE_TRUSTED", trusted)]).await;
        let answer = instance
            .call("GET", "/nope")
            .header("traceparent", PARENT)
            .send()
            .await;
        let context = answer.header("traceparent");
        assert_eq!(context[3..35], PARENT[3..35]);
        assert_ne!(context[36..52], PARENT[36..52], "the span is a new one");
        assert_eq!(&context[53..], flags);
    }
    let instance = Instance::on(unreachable_pool(), &[]).await;
    let answer = instance
        .call("GET", "/nope")
        .header("traceparent", "00-zz-1-1")
        .send()
        .await;
    assert!(TraceContext::parse(answer.header("traceparent"), None).is_some());
}

#[tokio::test]
async fn requests_are_counted_by_template_and_never_by_path() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    instance.call("GET", "/secret-path").send().await;
    instance.call("BREW", "/v1/tokens").send().await;
    instance.call("GET", "/v1/players/1").send().await;
    let count = |labels: &[&str]| {
        let histogram = &instance.app.metrics.http_request_duration_seconds;
        histogram.with_label_values(labels).get_sample_count()
    };
    assert_eq!(count(&["GET", "unmatched", "404"]), 1);
    assert_eq!(count(&["other", "/v1/tokens", "405"]), 1);
    assert_eq!(count(&["GET", "/v1/players/{id}", "400"]), 1);
    let families = instance.app.metrics.registry().gather();
    assert!(!format!("{families:?}").contains("secret-path"));
}

#[tokio::test]
async fn requests_are_limited_per_address() {
    let limits = [("RATE_REQUESTS_PER_S", "1"), ("RATE_REQUESTS_BURST", "2")];
    let instance = Instance::on(unreachable_pool(), &limits).await;
    for _ in 0..2 {
        assert_eq!(
            instance.call("GET", "/health").send().await.status,
            StatusCode::OK
        );
    }
    let answer = instance.call("GET", "/health").send().await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "rate_limited")
    );
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn the_page_is_served_with_its_policy() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    let page = instance.call("GET", "/").send().await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(["no-cache", "no-store"].contains(&page.header("cache-control")));
    assert!(
        page.header("content-security-policy")
            .contains("frame-ancestors 'none'")
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let text = String::from_utf8(page.body).unwrap();
    for asset in text.split('"').filter(|word| word.starts_with("/assets/")) {
        let answer = instance.call("GET", asset).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{asset}");
        assert!(answer.header("cache-control").ends_with("immutable"));
    }
    let missing = instance.call("GET", "/assets/none.js").send().await;
    assert_eq!(missing.reason(), "not_found");
}

#[tokio::test]
async fn answers_of_the_interface_are_not_for_caches() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    let answer = instance
        .call("POST", "/v1/tokens")
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(answer.header("cache-control"), "no-store");
}
