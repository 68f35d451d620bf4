//! Relays: within the test's process, or as a process of their own that can be killed and frozen.

use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use outbox_relay::config::Config;
use outbox_relay::error::RelayError;
use shared::lifecycle::Lifecycle;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::{Outbox, until};

/// How long a relay in a test waits for an answer of the broker: short, since some tests swallow
/// answers.
const ANSWER_TIMEOUT_MS: &str = "1000";

fn variables(outbox: &Outbox, nats: &str, more: &[(&str, &str)]) -> HashMap<String, String> {
    let mut env = HashMap::from([
        ("DATABASE_URL".to_owned(), outbox.url()),
        ("NATS_URL".to_owned(), nats.to_owned()),
        (
            "OUTBOX_PUBLISH_TIMEOUT_MS".to_owned(),
            ANSWER_TIMEOUT_MS.to_owned(),
        ),
    ]);
    env.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    env
}

/// A relay within the test's process.
pub(crate) struct Relay {
    life: Lifecycle,
    ops: String,
    running: JoinSet<Result<(), RelayError>>,
}

impl Relay {
    pub(crate) async fn start(outbox: &Outbox, nats: &str, more: &[(&str, &str)]) -> Self {
        let config = Config::from_env(&variables(outbox, nats, more)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ops = format!("http://{}", listener.local_addr().unwrap());
        let life = Lifecycle::new();
        let mut running = JoinSet::new();
        running.spawn(outbox_relay::run(config, listener, life.clone()));
        Self { life, ops, running }
    }

    pub(crate) async fn until_ready(&self) {
        until("the relay is ready", || async {
            self.readiness().await.0 == 200
        })
        .await;
    }

    pub(crate) async fn readiness(&self) -> (u16, String) {
        get(&format!("{}/readyz", self.ops)).await
    }

    /// All that the ops port shows.
    pub(crate) async fn metrics(&self) -> String {
        get(&format!("{}/metrics", self.ops)).await.1
    }

    /// The value of a series on the ops port.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        metric(&self.ops, series).await
    }

    /// As SIGTERM does.
    pub(crate) async fn drain(mut self) {
        self.life.drain();
        self.running.join_next().await.unwrap().unwrap().unwrap();
    }

    /// Waits until the relay ends by itself; gives why.
    pub(crate) async fn refusal(mut self) -> RelayError {
        let ended = tokio::time::timeout(super::PATIENCE, self.running.join_next()).await;
        ended
            .expect("the relay ends by itself")
            .unwrap()
            .unwrap()
            .unwrap_err()
    }
}

/// A relay as a process of its own, with its log in a file.
pub(crate) struct Process {
    child: Child,
    log: NamedTempFile,
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("relay {:?} logged:\n{}", self.child.id(), self.log());
        }
    }
}

impl Process {
    pub(crate) fn start(outbox: &Outbox, nats: &str, more: &[(&str, &str)]) -> Self {
        let log = NamedTempFile::new().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
            .env_clear()
            .envs(variables(outbox, nats, more))
            .env("OPS_ADDR", "127.0.0.1:0")
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(log.reopen().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Where its ops port is; it logs the address.
    async fn ops(&self) -> String {
        const BEFORE: &str = "ops.addr=";
        self.until_logged(BEFORE).await;
        let log = self.log();
        let (_, rest) = log.split_once(BEFORE).unwrap();
        let address = rest.split_whitespace().next().unwrap();
        format!("http://{address}")
    }

    pub(crate) async fn metric(&self, series: &str) -> f64 {
        metric(&self.ops().await, series).await
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    pub(crate) async fn until_logged(&self, words: &str) {
        until(&format!("the relay logs {words:?}"), || {
            std::future::ready(self.log().contains(words))
        })
        .await;
    }

    /// Waits until a failure of that kind is counted and the line about it is in the log.
    pub(crate) async fn until_failed(&self, kind: &str, words: &str) {
        let series = format!("outbox_failures_total{{kind=\"{kind}\"}}");
        until(&format!("{series} is counted"), || async {
            self.metric(&series).await >= 1.0
        })
        .await;
        self.until_logged(words).await;
    }

    /// Waits until it ends by itself; gives its exit code and its log.
    pub(crate) async fn refusal(mut self) -> (Option<i32>, String) {
        let ended = tokio::time::timeout(super::PATIENCE, self.child.wait()).await;
        let status = ended.expect("the relay ends by itself").unwrap();
        (status.code(), self.log())
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn signal(&self, name: &str) {
        signal(self.child.id().unwrap(), name).await;
    }

    pub(crate) async fn wait(mut self) -> ExitStatus {
        tokio::time::timeout(super::PATIENCE, self.child.wait())
            .await
            .expect("the process ends")
            .unwrap()
    }
}

/// Runs an operator's command; gives its exit code and what it printed.
pub(crate) async fn command(outbox: &Outbox, nats: &str, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .env_clear()
        .envs(variables(outbox, nats, &[]))
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text)
}

/// Sends a signal to a process that the test has started.
pub(crate) async fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status()
        .await
        .unwrap();
    assert!(status.success());
}

async fn get(url: &str) -> (u16, String) {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    match client.get(url).send().await {
        Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap()),
        Err(_) => (0, String::new()),
    }
}

async fn metric(ops: &str, series: &str) -> f64 {
    let (_, text) = get(&format!("{ops}/metrics")).await;
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
        .unwrap_or(f64::NAN)
}
