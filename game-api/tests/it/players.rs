//! Players, tokens, tickets and the session cookie.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sqlx::{PgPool, Row as _};

use crate::harness::{Instance, OTHER_KEY, unreachable_pool};

const FOREIGN: &str = "https://evil.example";
const OWN: &str = "https://play.example.org";

#[sqlx::test(migrations = "../migrations")]
async fn a_player_and_its_event_are_committed_together_under_the_requests_trace(pool: PgPool) {
    let instance = Instance::on(pool.clone(), &[]).await;
    let answer = instance
        .call("POST", "/v1/players")
        .json(&json!({ "name": "  Ada " }))
        .send()
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let body = answer.json();
    assert_eq!(body["player"]["name"], "Ada");
    assert_eq!(body["player"]["ratings"], json!({}));
    assert_eq!(body["expires_in"], 3600);
    let id = body["player"]["id"].as_str().unwrap();

    let row = sqlx::query(
        "select key, subject, type, payload, carrier->>'traceparent' as trace from outbox_events",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(row.get::<String, _>("key"), format!("player.{id}"));
    assert_eq!(
        row.get::<String, _>("subject"),
        format!("events.player.{id}")
    );
    assert_eq!(row.get::<String, _>("type"), "fogline.player.registered.v1");
    let payload: Value = row.get("payload");
    assert_eq!(payload["player_id"], id);
    assert_eq!(payload["seq"], 1);
    assert_eq!(payload["name"], "Ada");
    assert!(payload["at_ms"].as_i64().unwrap() > 1_600_000_000_000);
    let trace_id = |traceparent: &str| traceparent[3..35].to_owned();
    assert_eq!(
        trace_id(&row.get::<String, _>("trace")),
        trace_id(answer.header("traceparent"))
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn secrets_are_not_stored_and_names_are_judged(pool: PgPool) {
    let instance = Instance::on(pool.clone(), &[]).await;
    let ada = instance.register("Ada").await;
    let stored: String = sqlx::query_scalar("select players::text from players")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(!stored.contains(&ada.secret));
    for bad in [
        json!({"name": ""}),
        json!({"name": "a\u{0}b"}),
        json!({"name": "x".repeat(41)}),
        json!({"name": 7}),
        json!({}),
        json!({"name": "a", "admin": true}),
    ] {
        let answer = instance.call("POST", "/v1/players").json(&bad).send().await;
        assert_eq!(answer.reason(), "invalid", "{bad}");
    }
    let count: i64 = sqlx::query_scalar("select count(*) from players")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(count, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_new_name_is_a_second_event_and_the_same_name_is_none(pool: PgPool) {
    let instance = Instance::on(pool.clone(), &[]).await;
    let ada = instance.register("Ada").await;
    for _ in 0..2 {
        let answer = instance
            .call("PATCH", "/v1/players/me")
            .bearer(&ada.token)
            .json(&json!({ "name": "Countess" }))
            .send()
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["name"], "Countess");
    }
    let events: Vec<(String, Value)> =
        sqlx::query_as("select type, payload from outbox_events order by id")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].0, "fogline.player.updated.v1");
    assert_eq!(events[1].1["seq"], 2);
    assert_eq!(events[1].1["name"], "Countess");
    let seen = instance
        .call("GET", &format!("/v1/players/{}", ada.id))
        .send()
        .await;
    assert_eq!(seen.json()["name"], "Countess");
}

#[sqlx::test(migrations = "../migrations")]
async fn unknown_and_malformed_ids_are_told_apart(pool: PgPool) {
    let instance = Instance::on(pool, &[]).await;
    let unknown = shared::ids::PlayerId::generate();
    let answer = instance
        .call("GET", &format!("/v1/players/{unknown}"))
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::NOT_FOUND, "not_found")
    );
    for bad in ["1", "x'--", "%ff", "019a1b2c000070008000000000000000"] {
        let answer = instance
            .call("GET", &format!("/v1/players/{bad}"))
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (StatusCode::BAD_REQUEST, "invalid")
        );
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_secret_gives_tokens_that_any_instance_takes_until_they_end(pool: PgPool) {
    let instance = Instance::on(pool.clone(), &[("ACCESS_TOKEN_TTL_S", "600")]).await;
    let other = Instance::on(pool.clone(), &[]).await;
    let ada = instance.register("Ada").await;
    let answer = instance
        .call("POST", "/v1/tokens")
        .json(&json!({ "player_id": ada.id, "secret": ada.secret }))
        .send()
        .await;
    assert_eq!(answer.json()["expires_in"], 600);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_ne!(token, ada.token);
    let me = other
        .call("GET", "/v1/players/me")
        .bearer(&token)
        .send()
        .await;
    assert_eq!(me.json()["id"], ada.id.as_str());

    instance.pass_s(600);
    let me = instance
        .call("GET", "/v1/players/me")
        .bearer(&token)
        .send()
        .await;
    assert_eq!(
        (me.status, me.reason().as_str()),
        (StatusCode::UNAUTHORIZED, "unauthorized")
    );
    assert_eq!(me.header("www-authenticate"), "Bearer");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_wrong_secret_and_an_unknown_player_are_the_same_answer(pool: PgPool) {
    let instance = Instance::on(pool, &[]).await;
    let ada = instance.register("Ada").await;
    let unknown = shared::ids::PlayerId::generate().to_string();
    let long = "x".repeat(10_000);
    let mut answers = Vec::new();
    for (id, secret) in [
        (&ada.id, "wrong"),
        (&unknown, ada.secret.as_str()),
        (&ada.id, &long),
    ] {
        let answer = instance
            .call("POST", "/v1/tokens")
            .json(&json!({ "player_id": id, "secret": secret }))
            .send()
            .await;
        assert_eq!(answer.reason(), "unauthorized");
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn tokens_of_another_list_of_keys_are_refused_and_rotation_keeps_them(pool: PgPool) {
    let here = Instance::on(pool.clone(), &[]).await;
    let foreign = Instance::on(pool.clone(), &[("FOGLINE_KEYS", OTHER_KEY)]).await;
    let both = format!("{OTHER_KEY},{}", crate::harness::KEY);
    let rotated = Instance::on(pool, &[("FOGLINE_KEYS", &both)]).await;
    let ada = here.register("Ada").await;
    let refused = foreign
        .call("GET", "/v1/players/me")
        .bearer(&ada.token)
        .send()
        .await;
    assert_eq!(refused.reason(), "unauthorized");
    let taken = rotated
        .call("GET", "/v1/players/me")
        .bearer(&ada.token)
        .send()
        .await;
    assert_eq!(taken.status, StatusCode::OK);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_bearer_that_is_not_valid_is_never_a_stranger(pool: PgPool) {
    let instance = Instance::on(pool, &[]).await;
    let ada = instance.register("Ada").await;
    let ticket = instance
        .call("POST", "/v1/tickets")
        .bearer(&ada.token)
        .send()
        .await;
    let ticket = ticket.json()["ticket"].as_str().unwrap().to_owned();
    for authorization in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer x".to_owned(),
        format!("Basic {}", ada.token),
        ada.token.clone(),
        format!("Bearer {ticket}"),
    ] {
        let answer = instance
            .call("GET", "/v1/players/me")
            .header("authorization", &authorization)
            // A good cookie beside it changes nothing.
            .header("cookie", &ada.cookie)
            .send()
            .await;
        assert_eq!(answer.reason(), "unauthorized", "{authorization}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_ticket_is_for_players_and_lasts_thirty_seconds(pool: PgPool) {
    let instance = Instance::on(pool.clone(), &[]).await;
    let other = Instance::on(pool, &[]).await;
    let ada = instance.register("Ada").await;
    let none = instance.call("POST", "/v1/tickets").send().await;
    assert_eq!(none.reason(), "unauthorized");
    let answer = instance
        .call("POST", "/v1/tickets")
        .bearer(&ada.token)
        .send()
        .await;
    let body = answer.json();
    assert_eq!(body["expires_in"], 30);
    let ticket = body["ticket"].as_str().unwrap();
    let player = other.app.credentials.open_ticket(ticket).unwrap();
    assert_eq!(player.to_string(), ada.id);
    other.pass_s(30);
    assert_eq!(other.app.credentials.open_ticket(ticket), None);
    let extra = instance
        .call("POST", "/v1/tickets")
        .bearer(&ada.token)
        .json(&json!({ "for": "ever" }))
        .send()
        .await;
    assert_eq!(extra.reason(), "invalid");
}

#[sqlx::test(migrations = "../migrations")]
async fn with_the_cookie_reading_is_free_and_changing_needs_an_allowed_origin(pool: PgPool) {
    let instance = Instance::on(pool, &[]).await;
    let ada = instance.register("Ada").await;
    let read = instance
        .call("GET", "/v1/players/me")
        .header("cookie", &ada.cookie);
    assert_eq!(read.send().await.status, StatusCode::OK);
    for (origin, expected) in [
        (None, StatusCode::FORBIDDEN),
        (Some(FOREIGN), StatusCode::FORBIDDEN),
        (Some("null"), StatusCode::FORBIDDEN),
        (Some(OWN), StatusCode::OK),
    ] {
        let mut call = instance
            .call("PATCH", "/v1/players/me")
            .header("cookie", &format!("theme=dark; {}; x=y", ada.cookie))
            .json(&json!({ "name": "Countess" }));
        if let Some(origin) = origin {
            call = call.header("origin", origin);
        }
        let answer = call.send().await;
        assert_eq!(answer.status, expected, "{origin:?}");
        if expected == StatusCode::FORBIDDEN {
            assert_eq!(answer.reason(), "forbidden");
        }
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_list_of_origins_takes_the_place_of_the_own_one(pool: PgPool) {
    let allowed = "http://127.0.0.1:8080,http://127.0.0.1:8081";
    let instance = Instance::on(pool, &[("ALLOWED_ORIGINS", allowed)]).await;
    let ada = instance.register("Ada").await;
    for (origin, expected) in [
        ("http://127.0.0.1:8081", StatusCode::OK),
        (OWN, StatusCode::FORBIDDEN),
    ] {
        let answer = instance
            .call("POST", "/v1/tickets")
            .header("cookie", &ada.cookie)
            .header("origin", origin)
            .send()
            .await;
        assert_eq!(answer.status, expected, "{origin}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_cookie_that_has_ended_is_as_good_as_none(pool: PgPool) {
    let instance = Instance::on(pool, &[]).await;
    let ada = instance.register("Ada").await;
    instance.pass_s(30 * 24 * 3600);
    let me = instance
        .call("GET", "/v1/players/me")
        .header("cookie", &ada.cookie);
    assert_eq!(me.send().await.reason(), "unauthorized");
    let again = instance
        .call("POST", "/v1/players")
        .header("cookie", &ada.cookie)
        .json(&json!({ "name": "Ada again" }))
        .send()
        .await;
    assert_eq!(again.status, StatusCode::CREATED);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_cookie_is_set_for_the_own_page_and_not_for_a_foreign_one(pool: PgPool) {
    let instance = Instance::on(pool, &[]).await;
    let register = |origin: Option<&'static str>, proto: &'static str| {
        let mut call = instance
            .call("POST", "/v1/players")
            .header("x-forwarded-proto", proto)
            .json(&json!({ "name": "Ada" }));
        if let Some(origin) = origin {
            call = call.header("origin", origin);
        }
        call.send()
    };
    let plain = register(Some(OWN), "http").await;
    let cookie = plain.header("set-cookie");
    assert!(cookie.starts_with("fogline_session="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    assert!(
        register(None, "https")
            .await
            .header("set-cookie")
            .ends_with("; Secure")
    );
    let foreign = register(Some(FOREIGN), "http").await;
    assert_eq!(
        (foreign.status, foreign.header("set-cookie")),
        (StatusCode::CREATED, "")
    );
}

#[sqlx::test(migrations = "../migrations")]
async fn registrations_are_limited_per_address(pool: PgPool) {
    let limits = [
        ("RATE_REGISTRATIONS_PER_S", "1"),
        ("RATE_REGISTRATIONS_BURST", "2"),
    ];
    let instance = Instance::on(pool, &limits).await;
    instance.register("Ada").await;
    instance.register("Bob").await;
    let answer = instance
        .call("POST", "/v1/players")
        .json(&json!({ "name": "Eve" }))
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "rate_limited")
    );
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn a_failed_write_is_told_counted_and_held_against_health() {
    let instance = Instance::on(unreachable_pool(), &[]).await;
    assert_eq!(
        instance.call("GET", "/health").send().await.status,
        StatusCode::OK
    );
    let read = instance.call(
        "GET",
        &format!("/v1/players/{}", shared::ids::PlayerId::generate()),
    );
    let read = read.send().await;
    assert_eq!(
        (read.status, read.reason().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
    assert_eq!(
        instance.call("GET", "/health").send().await.status,
        StatusCode::OK
    );

    let write = instance
        .call("POST", "/v1/players")
        .json(&json!({ "name": "Ada" }))
        .send()
        .await;
    assert_eq!(
        (write.status, write.reason().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "persistence_failure")
    );
    assert_eq!(write.header("set-cookie"), "");
    assert_eq!(instance.app.metrics.persistence_failures_total.get(), 1);
    let health = instance.call("GET", "/health").send().await;
    assert_eq!(
        (health.status, health.reason().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
}
