//! What the relay asserts at its start: the server, its flushing, the stream's settings.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Process, Proxy, Relay, Stream, command};

/// `EX_CONFIG` of sysexits(3).
const UNFIT: Option<i32> = Some(78);
const ALWAYS: &str = "sync_interval: always";

#[sqlx::test(migrations = "../migrations")]
async fn a_server_that_flushes_late_is_refused_with_the_line_to_change(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start_monitored("").await);
    let seen = [("OUTBOX_NATS_MONITOR_URL", nats.monitor())];
    let relay = Process::start(&outbox, &nats.url(), &seen);
    let (code, log) = relay.refusal().await;
    assert_eq!(code, UNFIT, "{log}");
    assert!(log.contains("flushes every 120s"), "{log}");
    assert!(
        log.contains("put the line `sync_interval: always`"),
        "{log}"
    );
    assert!(log.contains("OUTBOX_ALLOW_LAZY_FSYNC=true"), "{log}");
    let stream = Stream::of(&nats).await;
    assert_eq!(stream.last_seq().await, 0, "it had begun its work");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_server_that_flushes_late_is_used_where_that_is_allowed(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start_monitored("").await);
    let allowed = [
        ("OUTBOX_NATS_MONITOR_URL", nats.monitor()),
        ("OUTBOX_ALLOW_LAZY_FSYNC", "true"),
    ];
    let relay = Process::start(&outbox, &nats.url(), &allowed);
    relay.until_logged("going on, although nats-server").await;
    outbox.append("a", 1..=3).await;
    outbox.until_drained().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn where_the_flushing_cannot_be_seen_one_line_says_so(pool: PgPool) {
    const UNSEEN: &str = "whether nats-server flushes before it acknowledges cannot be seen";
    let (outbox, nats) = (
        Outbox::new(&pool),
        NatsServer::start_monitored(ALWAYS).await,
    );
    for (monitor, why) in [
        ("", Some("OUTBOX_NATS_MONITOR_URL is not set")),
        // Nobody listens on the port for "discard".
        ("http://127.0.0.1:9", Some("127.0.0.1:9")),
        (nats.monitor(), None),
    ] {
        let variables = [("OUTBOX_NATS_MONITOR_URL", monitor)];
        let relay = Process::start(&outbox, &nats.url(), &variables);
        outbox.append_one("a", 1).await;
        outbox.until_drained().await;
        let log = relay.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(UNSEEN)).collect();
        assert_eq!(lines.len(), usize::from(why.is_some()), "{log}");
        assert!(
            lines.iter().all(|line| line.contains(why.unwrap())),
            "{log}"
        );
        relay.signal("TERM").await;
        assert!(relay.wait().await.success());
    }
}

/// A relay at work does not end for it: that would turn a risk into an outage.
#[sqlx::test(migrations = "../migrations")]
async fn a_server_restarted_to_flush_late_is_said_by_relays_that_run(pool: PgPool) {
    let (outbox, mut nats) = (
        Outbox::new(&pool),
        NatsServer::start_monitored(ALWAYS).await,
    );
    let monitor = nats.monitor().to_owned();
    let seen = [("OUTBOX_NATS_MONITOR_URL", monitor.as_str())];
    let relay = Process::start(&outbox, &nats.url(), &seen);
    outbox.append("a", 1..=3).await;
    outbox.until_drained().await;
    nats.configure(|text| {
        text.replace(ALWAYS, "")
            .replace("127.0.0.1:-1", &monitor[7..])
    });
    nats.restart().await;
    relay.until_logged("going on, although nats-server").await;
    outbox.append("a", 4..=6).await;
    outbox.until_drained().await;
}

/// A real server that greets with an older version: what it is too old for is never tried.
#[sqlx::test(migrations = "../migrations")]
async fn a_server_without_atomic_batches_is_refused(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let proxy = Proxy::start(nats.port()).await;
    proxy.disguise("\"version\":\"2.", "\"version\":\"1.");
    let relay = Process::start(&outbox, &proxy.url, &[]);
    let (code, log) = relay.refusal().await;
    assert_eq!(code, UNFIT, "{log}");
    assert!(
        log.contains("is too old: atomic batches need 2.12"),
        "{log}"
    );
    let (code, _) = command(&outbox, &proxy.url, &["verify"]).await;
    assert_eq!(Some(code), UNFIT);
}

/// As the relay makes it.
fn fit() -> Config {
    Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events.>".to_owned()],
        max_age: Duration::from_hours(72),
        allow_atomic_publish: true,
        allow_rollup: true,
        allow_message_ttl: true,
        ..Config::default()
    }
}

/// On a server of its own: one that has just deleted a stream may refuse to make it anew, as it
/// empties the directory in the background.
async fn refusal_of(outbox: &Outbox, config: Config) -> String {
    let nats = NatsServer::start().await;
    let context = jetstream::new(nats.client().await);
    let made = context.create_stream(&config).await;
    made.unwrap_or_else(|error| panic!("{config:?}: {error}"));
    let relay = Relay::start(outbox, &nats.url(), &[]).await;
    relay.refusal().await.to_string()
}

#[sqlx::test(migrations = "../migrations")]
async fn each_setting_that_breaks_the_protocol_is_refused_with_the_line_to_change(pool: PgPool) {
    let outbox = Outbox::new(&pool);
    let fit = fit();
    #[rustfmt::skip]
    let unfit = [
        (Config { allow_atomic_publish: false, ..fit.clone() },
         "allow_atomic false, and must have true; change it with `nats stream edit EVENTS --allow-batch`"),
        (Config { allow_rollup: false, ..fit.clone() },
         "allow_rollup_hdrs false, and must have true; change it with `nats stream edit EVENTS --allow-rollup`"),
        (Config { allow_message_ttl: false, ..fit.clone() },
         "allow_msg_ttl false, and must have true; change it with `nats stream edit EVENTS --allow-msg-ttl`"),
        (Config { subjects: vec!["events.>".to_owned(), "more.>".to_owned()], ..fit.clone() },
         "subjects events.>, more.>, and must have events.>; change it with `nats stream edit EVENTS --subjects 'events.>'`"),
        (Config { storage: StorageType::Memory, ..fit.clone() },
         "storage memory, and must have file; change it with `nats stream rm EVENTS`"),
        (Config { retention: RetentionPolicy::Interest, ..fit.clone() },
         "retention interest, and must have limits; change it with `nats stream rm EVENTS`"),
        (Config { max_messages_per_subject: 5, ..fit.clone() },
         "max_msgs_per_subject 5, and must have -1; change it with `nats stream edit EVENTS --max-msgs-per-subject=-1`"),
        (Config { max_age: Duration::from_hours(73), ..fit.clone() },
         "max_age 73h, and must have at most 72h, OUTBOX_RETENTION_HOURS; change it with `nats stream edit EVENTS --max-age=72h`"),
        (Config { max_age: Duration::ZERO, ..fit.clone() }, "max_age unlimited"),
        (Config { no_ack: true, ..fit.clone() },
         "no_ack true, and must have false; change it with `nats stream edit EVENTS --ack`"),
    ];
    for (config, words) in unfit {
        let refusal = refusal_of(&outbox, config).await;
        assert!(refusal.contains(words), "{refusal}");
    }
}
