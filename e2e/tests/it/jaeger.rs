//! The trace of a move, as a real Jaeger shows it to whoever looks.

use e2e::environment::{self, names};
use e2e::otlp::Jaeger;
use e2e::supervisor::RunDir;

use crate::harness::{Duel, PATIENCE, stack};
use crate::trace::{assert_one_move, is_complete};

/// Runs where `FOGLINE_JAEGER` names a Jaeger of version 2.
#[tokio::test]
async fn a_real_jaeger_shows_a_move_as_one_trace() {
    let Some(program) = environment::read(names::JAEGER) else {
        println!("skipped: {} names no Jaeger (v2)", names::JAEGER);
        return;
    };
    let run_dir = RunDir::create(&environment::target_dir(), "e2e").expect("a run directory");
    let jaeger = Jaeger::start(program.into(), &run_dir)
        .await
        .expect("Jaeger");
    let stack = stack(jaeger.env()).await;
    let mut duel = Duel::start(&stack).await;
    let trace_id = duel.play("e2e4").await.expect("the answer names its trace");
    let spans = jaeger
        .trace_until(&trace_id, PATIENCE, is_complete)
        .await
        .expect("a whole trace");
    let publish = assert_one_move(&spans);
    for span in &spans {
        println!("{} {} <- {}", span.service, span.name, span.parent_id);
    }
    // The batch's own span, in a trace of its own, links to it. It ends after what it links to.
    let batches = async {
        loop {
            let batches = jaeger.search("outbox-relay", "outbox.publish_batch").await;
            let batches = batches.expect("an answer");
            if batches
                .iter()
                .any(|span| span.links.contains(&publish.span_id))
            {
                return batches;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let batches = tokio::time::timeout(PATIENCE, batches)
        .await
        .expect("a link");
    assert!(batches.iter().all(|span| span.trace_id != trace_id));
    stack.end().await;
    jaeger.child.end().await;
}
