//! One move is one trace, from three processes, with the right parents.

use e2e::otlp::{Receiver, SpanRecord};

use crate::harness::{Duel, PATIENCE, stack};

fn named<'a>(spans: &'a [SpanRecord], name: &str) -> Vec<&'a SpanRecord> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The delivery by the gateway that had the move from NATS.
fn delivery<'a>(spans: &'a [SpanRecord], publish: &SpanRecord) -> Option<&'a SpanRecord> {
    named(spans, "gateway.deliver")
        .into_iter()
        .find(|span| span.parent_id == publish.span_id && span.instance == "gateway-2")
}

/// Whether a move has come to the other gateway.
pub(crate) fn is_complete(spans: &[SpanRecord]) -> bool {
    let published = named(spans, "outbox.publish");
    !named(spans, "ws command").is_empty()
        && published
            .iter()
            .any(|publish| delivery(spans, publish).is_some())
}

#[tokio::test]
async fn a_move_is_one_trace_through_three_processes() {
    let receiver = Receiver::start().await.expect("a receiver");
    let stack = stack(receiver.env()).await;
    let mut duel = Duel::start(&stack).await;
    let trace_id = duel.play("e2e4").await.expect("the answer names its trace");
    let spans = receiver
        .trace_until(&trace_id, PATIENCE, is_complete)
        .await
        .expect("a whole trace");

    assert_one_move(&spans);

    // The exporter's death costs no move.
    drop(receiver);
    for uci in ["e7e5", "g1f3", "b8c6"] {
        duel.play(uci).await;
    }
    stack.end().await;
}

/// A move by WebSocket at the first gateway, from its arrival to its delivery by the second. Gives
/// the span of its publication.
pub(crate) fn assert_one_move(spans: &[SpanRecord]) -> &SpanRecord {
    let only = |name: &str| {
        let found = named(spans, name);
        assert_eq!(found.len(), 1, "{name} in {spans:#?}");
        found[0]
    };
    let [socket, command, append, publish] = [
        "ws command",
        "game.command",
        "outbox.append",
        "outbox.publish",
    ]
    .map(only);
    assert_eq!(socket.parent_id, "", "the client sent no trace");
    assert_eq!(command.parent_id, socket.span_id);
    assert_eq!(append.parent_id, command.span_id);
    assert_eq!(publish.parent_id, append.span_id);
    let delivery = delivery(spans, publish).expect("complete");
    for (span, service) in [
        (socket, "game-api"),
        (append, "game-api"),
        (publish, "outbox-relay"),
        (delivery, "game-api"),
    ] {
        assert_eq!(span.service, service, "{span:?}");
    }
    assert_eq!(socket.instance, "gateway-1");
    assert!(publish.instance.starts_with("relay-"), "{publish:?}");
    let attribute = |name: &str| publish.attributes.get(name).map(String::as_str);
    assert_eq!(attribute("messaging.system"), Some("nats"));
    let subject = attribute("messaging.destination.name").unwrap_or_default();
    assert!(subject.starts_with("events.game."), "{publish:?}");
    publish
}
