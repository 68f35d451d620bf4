//! What every relay shows, whatever it does.

use std::process::Stdio;

use outbox_relay::metrics::FailureKind;
use sqlx::PgPool;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{NatsServer, Outbox, Relay, until};

/// It never reached the broker: every number of the whole table is there all the same.
#[sqlx::test(migrations = "../migrations")]
async fn a_relay_that_owns_nothing_shows_the_whole_table(pool: PgPool) {
    let (outbox, mut nats) = (Outbox::new(&pool), NatsServer::start().await);
    nats.kill().await;
    outbox.append_many(50, 4).await;
    outbox
        .execute("update outbox_events set created_at = now() - interval '90 seconds'")
        .await;
    outbox
        .execute(
            "insert into outbox_dead (shard, id, event_id, key, subject, type, payload, carrier,
                 attempt_count, created_at, reason, blocks_key)
             values (1, 1, gen_random_uuid(), 'k', 's', 't', '{}', '{}', 0, now(), 'why', true)",
        )
        .await;
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    until("the gauges show the whole table", || async {
        let age = relay.metric("outbox_oldest_pending_age_seconds").await;
        relay.metric("outbox_pending").await > 199.5
            && (90.0..150.0).contains(&age)
            && relay.metric("outbox_dead").await > 0.5
    })
    .await;
    assert!(relay.metric("outbox_pending").await < 200.5);
    assert!(relay.metric("outbox_shards_owned").await < 0.5);
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn every_series_is_shown_and_promtool_finds_nothing_wrong(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    relay.until_ready().await;
    let text = relay.metrics().await;
    let mut series: Vec<String> = [
        "outbox_pending",
        "outbox_oldest_pending_age_seconds",
        "outbox_dead",
        "outbox_published_total",
        "outbox_announced_total",
        "outbox_publish_duration_seconds_bucket{le=\"0.0005\"}",
        "outbox_commit_to_ack_seconds_bucket{le=\"0.0005\"}",
        "outbox_batch_size_bucket{le=\"1\"}",
        "outbox_fenced_total",
        "outbox_duplicates_prevented_total",
        "outbox_reconciled_total",
        "outbox_verify_scanned_total",
        "outbox_wakeups_total{source=\"hint\"}",
        "outbox_wakeups_total{source=\"listen\"}",
        "outbox_wakeups_total{source=\"poll\"}",
        "outbox_shards_owned",
        "outbox_shards_unverified",
    ]
    .map(str::to_owned)
    .to_vec();
    let kinds = FailureKind::ALL.map(FailureKind::label);
    series.extend(kinds.map(|kind| format!("outbox_failures_total{{kind=\"{kind}\"}}")));
    for series in series {
        let shown = text
            .lines()
            .any(|line| line.starts_with(&format!("{series} ")));
        assert!(shown, "{series} is not in\n{text}");
    }
    relay.drain().await;

    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: there is no promtool on PATH");
        return;
    };
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
