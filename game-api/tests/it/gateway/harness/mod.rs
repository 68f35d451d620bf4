//! Gateways in this process, a NATS server of the test's own, a relay's stand-in, and a client.

mod instance;
mod nats;
#[cfg(target_os = "linux")]
mod program;
mod socket;

use std::time::Duration;

use serde_json::Value;
use sqlx::PgPool;
use tokio::time::{Instant, sleep};

pub(super) use self::instance::{Instance, Player};
pub(super) use self::nats::NatsServer;
#[cfg(target_os = "linux")]
pub(super) use self::program::Program;
pub(super) use self::socket::Socket;

/// Nothing in these tests takes long; what has not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a condition that nothing announces.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
pub(super) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    until_within(PATIENCE, what, condition).await;
}

/// The same for what takes its time.
pub(super) async fn until_within(
    patience: Duration,
    what: &str,
    condition: impl AsyncFn() -> bool,
) {
    let deadline = Instant::now() + patience;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(LOOK_EVERY).await;
    }
}

/// Lets a client's end of a connection vanish: its kernel drops all that comes, before TCP sees it,
/// so that nothing is acknowledged, answered or reset, as when a machine has lost its network.
#[cfg(target_os = "linux")]
pub(super) fn vanish(stream: &tokio::net::TcpStream) {
    use socket2::{SockFilter, SockRef};
    /// A program of the packet filter that takes nothing of any packet: `BPF_RET | BPF_K`, 0.
    const TAKES_NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(stream)
        .attach_filter(&[TAKES_NOTHING])
        .unwrap();
}

/// Does what relays do, but for what a test leaves out: publishes the rows whose number `chosen`
/// says yes to, and takes all of them out. Gives how many there were.
pub(super) async fn relay(
    pool: &PgPool,
    nats: &NatsServer,
    chosen: impl Fn(usize) -> bool,
) -> usize {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let rows: Vec<(String, String, i64)> =
        sqlx::query_as("select subject, payload::text, id from outbox_events order by id")
            .fetch_all(pool)
            .await
            .unwrap();
    let count = rows.len();
    for (number, (subject, payload, id)) in rows.into_iter().enumerate() {
        if chosen(number) {
            client.publish(subject, payload.into()).await.unwrap();
        }
        sqlx::query("delete from outbox_events where id = $1")
            .bind(id)
            .execute(pool)
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    count
}

/// The numbers of frames.
pub(super) fn numbers(frames: &[Value]) -> Vec<i64> {
    frames
        .iter()
        .map(|frame| frame["n"].as_i64().unwrap())
        .collect()
}

/// The kinds of the events of frames.
pub(super) fn kinds(frames: &[Value]) -> Vec<&str> {
    frames
        .iter()
        .map(|frame| frame["event"]["kind"].as_str().unwrap())
        .collect()
}
