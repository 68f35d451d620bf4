//! The public port: every route, and what goes around each of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;
use crate::games;
use crate::gateway;
use crate::http::{body, limits, observe};
use crate::problem::{self, Problem, Reason};
use crate::{page, players};

/// Method, template and status of the request metrics that are there from the start.
#[must_use]
pub fn routes() -> Vec<(&'static str, &'static str, &'static str)> {
    let own = [
        ("GET", "/health", "200"),
        ("GET", observe::UNMATCHED, "404"),
    ];
    [
        &own[..],
        &page::ROUTES,
        &players::handlers::ROUTES,
        &games::handlers::ROUTES,
        &gateway::ROUTES,
    ]
    .concat()
}

/// The routes. From the outside in, a request meets: its trace and metrics, the limit of its
/// address, the reading of its body, the route.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health))
        .merge(page::router())
        .merge(players::handlers::router())
        .merge(games::handlers::router())
        .merge(gateway::router())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(body::buffer))
        .layer(from_fn_with_state(app.clone(), limits::limit_requests))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}

async fn not_found() -> Problem {
    Problem::new(Reason::NotFound, "there is nothing at this path")
}

async fn method_not_allowed() -> Response {
    problem::method_not_allowed()
}

/// The deploy gate: 503 if a write of this instance failed in the last 60 s.
async fn health(State(app): State<Arc<App>>) -> Response {
    match app.health.check() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => Problem::new(Reason::Unavailable, why).into_response(),
    }
}
