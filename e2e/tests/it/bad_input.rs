//! What no client should send: each gets a named reason, and nothing of it reaches the log.

use e2e::client::protocol::{Control, move_action};
use e2e::client::{Api, Identity, Received, Session, Socket, new_id};
use e2e::history::read_log;
use e2e::supervisor::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::harness::{Duel, stack};

async fn events(stack: &Stack, game: Uuid) -> usize {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(&stack.postgres_addresses.owner_url)
        .await
        .expect("Postgres");
    let log = read_log(&pool, &[game]).await.expect("the log");
    log.get(&game).map_or(0, Vec::len)
}

/// Status and reason of a `POST`.
async fn refused(api: &Api, path: &str, session: Option<&Session>, body: String) -> (u16, String) {
    let mut request = api
        .raw(Method::POST, path)
        .header("content-type", "application/json");
    if let Some(session) = session {
        request = request.bearer_auth(&session.token);
    }
    let response = request.body(body).send().await.expect("answered");
    let status = response.status().as_u16();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    assert!(
        header("traceparent").is_some(),
        "{path}: every response has a traceparent"
    );
    assert_eq!(
        header("content-type").as_deref(),
        Some("application/problem+json"),
        "{path}"
    );
    let body: Value = response.json().await.expect("JSON");
    (
        status,
        body["reason"].as_str().unwrap_or_default().to_owned(),
    )
}

/// A request that must be refused: what it is, its path, who sends it, its body, status and reason.
type Bad<'a> = (
    &'static str,
    &'a str,
    Option<&'a Session>,
    String,
    u16,
    &'static str,
);

fn command(action: &Value) -> String {
    json!({ "command_id": new_id(), "action": action }).to_string()
}

/// A good command, but for one member.
fn with(member: &str, value: Value) -> String {
    let mut body = json!({ "command_id": new_id(), "action": move_action("e7e5") });
    body[member] = value;
    body.to_string()
}

/// What cannot be read.
fn unreadable<'a>(path: &'a str, black: &'a Session) -> Vec<Bad<'a>> {
    let extra = json!({ "type": "move", "uci": "e7e5", "at": 1 });
    vec![
        (
            "malformed JSON",
            path,
            Some(black),
            "{\"command_id\":".to_owned(),
            400,
            "invalid",
        ),
        (
            "not an object",
            path,
            Some(black),
            "[]".to_owned(),
            400,
            "invalid",
        ),
        ("no body", path, Some(black), String::new(), 400, "invalid"),
        (
            "an unknown member",
            path,
            Some(black),
            with("colour", json!("white")),
            400,
            "invalid",
        ),
        (
            "an unknown action member",
            path,
            Some(black),
            with("action", extra),
            400,
            "invalid",
        ),
        (
            "a wrong type",
            path,
            Some(black),
            with("at", json!("3")),
            400,
            "invalid",
        ),
        (
            "a broken number",
            path,
            Some(black),
            with("at", json!(1.5)),
            400,
            "invalid",
        ),
        (
            "an id that is no UUID",
            path,
            Some(black),
            with("command_id", json!("42")),
            400,
            "invalid",
        ),
        (
            "an unknown action",
            path,
            Some(black),
            command(&json!({ "type": "castle" })),
            400,
            "invalid",
        ),
        (
            "1 MB",
            path,
            Some(black),
            format!("\"{}\"", "x".repeat(1 << 20)),
            413,
            "too_large",
        ),
        (
            "a game id that is no UUID",
            "/v1/games/7/commands",
            Some(black),
            command(&move_action("e7e5")),
            400,
            "invalid",
        ),
        (
            "an unknown path",
            "/v1/nothing",
            Some(black),
            "{}".to_owned(),
            404,
            "not_found",
        ),
    ]
}

/// What can be read, and is not allowed.
fn not_allowed<'a>(
    path: &'a str,
    unknown: &'a str,
    [white, black, stranger, forged]: [&'a Session; 4],
) -> Vec<Bad<'a>> {
    let good = || command(&move_action("e7e5"));
    vec![
        (
            "an at of the future",
            path,
            Some(black),
            with("at", json!(99)),
            400,
            "invalid",
        ),
        (
            "an at of the past",
            path,
            Some(black),
            with("at", json!(1)),
            409,
            "stale",
        ),
        ("no token", path, None, good(), 401, "unauthorized"),
        (
            "a forged token",
            path,
            Some(forged),
            good(),
            401,
            "unauthorized",
        ),
        (
            "a stranger's token",
            path,
            Some(stranger),
            good(),
            403,
            "forbidden",
        ),
        (
            "an unknown game",
            unknown,
            Some(black),
            good(),
            404,
            "not_found",
        ),
        (
            "out of turn",
            path,
            Some(white),
            command(&move_action("d2d4")),
            422,
            "not_your_turn",
        ),
        (
            "an illegal move",
            path,
            Some(black),
            command(&move_action("e7e4")),
            422,
            "illegal_action",
        ),
        (
            "no offer to accept",
            path,
            Some(black),
            command(&json!({ "type": "accept_draw" })),
            422,
            "illegal_action",
        ),
    ]
}

#[tokio::test]
async fn each_bad_request_has_its_reason_and_leaves_no_trace_in_the_log() {
    let stack = stack(vec![]).await;
    let mut duel = Duel::start(&stack).await;
    duel.play("e2e4").await;
    let before = events(&stack, duel.game).await;
    let api = duel.apis[1].clone();
    let [white, black] = duel.sessions.clone();
    let stranger = api.register("stranger").await.expect("registered");
    let forged = Session {
        token: format!("{}x", black.token),
        ..black.clone()
    };
    let path = format!("/v1/games/{}/commands", duel.game);
    let unknown = format!("/v1/games/{}/commands", new_id());
    let sessions = [&white, &black, &stranger, &forged];
    let table = unreadable(&path, &black)
        .into_iter()
        .chain(not_allowed(&path, &unknown, sessions));
    for (what, path, session, body, status, reason) in table {
        let told = refused(&api, path, session, body).await;
        assert_eq!(told, (status, reason.to_owned()), "{what}");
    }
    assert_eq!(
        events(&stack, duel.game).await,
        before,
        "nothing reached the log"
    );

    duel.play("e7e5").await;
    let resign = json!({ "type": "resign" });
    api.command(&white, duel.game, new_id(), None, &resign)
        .await
        .expect("resigned");
    let after = events(&stack, duel.game).await;
    let told = refused(&api, &path, Some(&black), command(&move_action("g8f6"))).await;
    assert_eq!(told, (409, "game_over".to_owned()));
    assert_eq!(
        events(&stack, duel.game).await,
        after,
        "nothing after the end"
    );
    stack.end().await;
}

/// Messages that must be refused: what they are, the reference that comes back, the reason.
fn bad_messages(game: Uuid) -> Vec<(&'static str, String, Option<&'static str>, &'static str)> {
    let subscribe = |reference: &str, topic: Value| json!({ "type": "subscribe", "ref": reference, "topic": topic });
    let of_game = json!(format!("game:{game}"));
    let mut false_cursor = subscribe("f", of_game);
    false_cursor["cursor"] = json!("x");
    let out_of_turn = json!({
        "type": "command", "ref": "g", "game": game, "command_id": new_id(), "action": move_action("e7e5"),
    });
    let messages = [
        ("malformed", json!(null), None, "invalid"),
        ("not an object", json!(7), None, "invalid"),
        (
            "an unknown type",
            json!({ "type": "shout", "ref": "a" }),
            Some("a"),
            "invalid",
        ),
        (
            "an unknown member",
            json!({ "type": "ping", "ref": "b", "loud": true }),
            Some("b"),
            "invalid",
        ),
        (
            "a wrong type",
            subscribe("c", json!(7)),
            Some("c"),
            "invalid",
        ),
        (
            "an unknown topic",
            subscribe("d", json!("chess")),
            Some("d"),
            "not_found",
        ),
        (
            "an unknown game",
            subscribe("e", json!(format!("game:{}", new_id()))),
            Some("e"),
            "not_found",
        ),
        ("a false cursor", false_cursor, Some("f"), "invalid"),
        ("out of turn", out_of_turn, Some("g"), "not_your_turn"),
        (
            "a long ref",
            json!({ "type": "ping", "ref": "r".repeat(65) }),
            None,
            "invalid",
        ),
    ];
    messages
        .into_iter()
        .map(|(what, message, reference, reason)| {
            let text = if what == "malformed" {
                "{".to_owned()
            } else {
                message.to_string()
            };
            (what, text, reference, reason)
        })
        .collect()
}

/// The next refusal on a socket.
async fn refusal(socket: &mut Socket) -> (Option<String>, String) {
    loop {
        if let Received::Control(Control::Error { r#ref, reason, .. }) =
            socket.next().await.expect("open")
        {
            return (r#ref, reason);
        }
    }
}

#[tokio::test]
async fn a_socket_stays_usable_after_each_bad_message() {
    let stack = stack(vec![]).await;
    let duel = Duel::start(&stack).await;
    let before = events(&stack, duel.game).await;
    let ticket = duel.apis[1]
        .ticket(&duel.sessions[1])
        .await
        .expect("a ticket");
    let mut socket = Socket::connect(duel.apis[0].address(), &Identity::Ticket(ticket))
        .await
        .expect("connected");
    let table = bad_messages(duel.game);
    for (what, message, reference, reason) in table {
        socket.send(message).await.expect(what);
        let (told_ref, told) = refusal(&mut socket).await;
        assert_eq!(told, reason, "{what}");
        if let Some(reference) = reference {
            assert_eq!(told_ref.as_deref(), Some(reference), "{what}");
        }
    }
    socket
        .send(json!({ "type": "ping", "ref": "still here" }).to_string())
        .await
        .expect("open");
    let pong = socket.next().await.expect("open");
    assert!(matches!(pong, Received::Control(Control::Pong { r#ref }) if r#ref == "still here"));
    assert_eq!(
        events(&stack, duel.game).await,
        before,
        "nothing reached the log"
    );

    // Over the limit: the one refusal that ends the socket.
    socket.send("x".repeat(1 << 20)).await.ok();
    let closed = loop {
        match socket.next().await {
            Ok(Received::Control(Control::Error { reason, .. })) => assert_eq!(reason, "too_large"),
            Ok(_) => {}
            Err(closed) => break closed,
        }
    };
    assert!(matches!(closed.code, None | Some(1009)), "{closed}");
    stack.end().await;
}
