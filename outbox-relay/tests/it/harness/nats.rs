//! A nats-server of the test's own, on a port of its own choosing, that can be killed, frozen and
//! started again on the same port and data.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::Ordering;

use shared::env::{Env, ProcessEnv};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::until;

pub(crate) struct NatsServer {
    dir: TempDir,
    port: u16,
    /// Where its monitoring is, if it has one.
    monitor: Option<String>,
    child: Option<Child>,
    /// Whether anybody may connect.
    open: bool,
}

impl NatsServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(|store| {
            format!("jetstream {{ store_dir: \"{store}\", sync_interval: always }}\n")
        })
        .await
    }

    /// With monitoring, and with what `jetstream` says beside its directory.
    pub(crate) async fn start_monitored(jetstream: &str) -> Self {
        Self::start_with(|store| {
            format!(
                "http: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{store}\"\n{jetstream}\n}}\n"
            )
        })
        .await
    }

    /// With the configuration that is committed for deployments, but for port and directory.
    pub(crate) async fn start_as_deployed() -> Self {
        let deployed = include_str!("../../../../deploy/nats.conf");
        Self::start_with(|store| {
            deployed
                .replace("store_dir: /data", &format!("store_dir: \"{store}\""))
                .replace("http_port: 8222", "")
                .replace("port: 4222", "")
        })
        .await
    }

    async fn start_with(config: impl Fn(&str) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("js").display().to_string();
        let text = config(&store);
        let open = !text.contains("authorization");
        std::fs::write(dir.path().join("nats.conf"), text).unwrap();
        let mut server = Self {
            dir,
            port: 0,
            monitor: None,
            child: None,
            open,
        };
        server.spawn("-1");
        let dir = server.dir.path().to_owned();
        let found = std::sync::atomic::AtomicU16::new(0);
        until("nats-server has written its ports file", || {
            let port = ports_file(&dir).and_then(|ports| port_of(&ports));
            let port = port.unwrap_or(0);
            found.store(port, Ordering::SeqCst);
            std::future::ready(port != 0)
        })
        .await;
        server.port = found.load(Ordering::SeqCst);
        server.monitor = ports_file(server.dir.path())
            .and_then(|ports| Some(ports["monitoring"][0].as_str()?.to_owned()));
        if server.open {
            server.answers().await;
        }
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn monitor(&self) -> &str {
        self.monitor.as_deref().expect("it was started with one")
    }

    pub(crate) async fn client_as(&self, user: &str) -> async_nats::Client {
        let options = async_nats::ConnectOptions::new()
            .user_and_password(user.to_owned(), format!("{user}-secret"));
        options.connect(self.url()).await.unwrap()
    }

    pub(crate) fn url_as(&self, user: &str) -> String {
        format!("nats://{user}:{user}-secret@127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.unwrap()
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.unwrap();
        }
    }

    /// Changes its configuration, for its next start.
    pub(crate) fn configure(&self, change: impl FnOnce(String) -> String) {
        let path = self.dir.path().join("nats.conf");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, change(text)).unwrap();
    }

    /// Again, on the same port, with what it had stored.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        self.spawn(&self.port.to_string());
        self.answers().await;
    }

    /// Again, on the same port, with nothing stored.
    pub(crate) async fn restart_empty(&mut self) {
        self.kill().await;
        std::fs::remove_dir_all(self.dir.path().join("js")).unwrap();
        self.restart().await;
    }

    /// A copy of what is stored, as a backup would have it.
    pub(crate) async fn copy_data(&mut self) -> TempDir {
        self.kill().await;
        let copy = tempfile::tempdir().unwrap();
        cp(&self.dir.path().join("js"), copy.path()).await;
        self.restart().await;
        copy
    }

    /// The copy in place of what is stored.
    pub(crate) async fn restore_data(&mut self, copy: &TempDir) {
        self.kill().await;
        let store = self.dir.path().join("js");
        std::fs::remove_dir_all(&store).unwrap();
        std::fs::create_dir(&store).unwrap();
        cp(copy.path(), &store).await;
        self.restart().await;
    }

    /// What a power cut leaves of a store that was not flushed: the last bytes of the newest file of
    /// messages are gone.
    pub(crate) async fn lose_power(&mut self, bytes: u64) {
        self.kill().await;
        let dir = self.dir.path().join("js/jetstream/$G/streams/EVENTS/msgs");
        let files = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let blocks = files.filter(|path| path.extension().is_some_and(|end| end == "blk"));
        let number = |path: &PathBuf| -> u64 {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            stem.parse().unwrap()
        };
        let newest = blocks.max_by_key(number).unwrap();
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(newest)
            .unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length.checked_sub(bytes).unwrap()).unwrap();
        // Written at an orderly end alone, and then not true any more.
        let _ = std::fs::remove_file(dir.join("index.db"));
        self.restart().await;
    }

    /// `SIGSTOP`: connections stay open and nobody answers.
    pub(crate) async fn freeze(&self) {
        self.signal("STOP").await;
    }

    /// `SIGCONT`.
    pub(crate) async fn thaw(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.as_ref().and_then(Child::id).unwrap();
        super::relay::signal(pid, name).await;
    }

    fn spawn(&mut self, port: &str) {
        let dir = self.dir.path();
        let config = dir.join("nats.conf");
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let child = Command::new(binary())
            .args([
                "-c",
                config.to_str().unwrap(),
                "-a",
                "127.0.0.1",
                "-p",
                port,
            ])
            .args(["--ports_file_dir", dir.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(log)
            .envs([
                ("NATS_RELAY_PASSWORD", "relay-secret"),
                ("NATS_GATEWAY_PASSWORD", "gateway-secret"),
                ("NATS_OBSERVER_PASSWORD", "observer-secret"),
            ])
            .kill_on_drop(true)
            .spawn()
            .expect("nats-server 2.12 or later must be on PATH or named by FOGLINE_NATS_SERVER");
        self.child = Some(child);
    }

    async fn answers(&self) {
        let url = self.url();
        until("nats-server and its JetStream answer", || async {
            let Ok(client) = async_nats::connect(&url).await else {
                return false;
            };
            let context = async_nats::jetstream::new(client);
            context.query_account().await.is_ok()
        })
        .await;
    }
}

async fn cp(from: &std::path::Path, to: &std::path::Path) {
    let status = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()
        .await;
    assert!(status.unwrap().success());
}

fn binary() -> PathBuf {
    ProcessEnv
        .get("FOGLINE_NATS_SERVER")
        .map_or_else(|| PathBuf::from("nats-server"), PathBuf::from)
}

/// The ports that the server has chosen, once it has written them down.
fn ports_file(dir: &std::path::Path) -> Option<serde_json::Value> {
    let file = std::fs::read_dir(dir)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| entry.path().extension().is_some_and(|ext| ext == "ports"))?;
    let text = std::fs::read_to_string(file.path()).ok()?;
    serde_json::from_str(&text).ok()
}

fn port_of(ports: &serde_json::Value) -> Option<u16> {
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}
