//! A nats-server that can be ended, restarted and frozen.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::until;

/// A NATS server, ended when dropped.
pub(in crate::gateway) struct NatsServer {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl NatsServer {
    pub(in crate::gateway) async fn start() -> Self {
        Self::start_on(free_port()).await
    }

    async fn start_on(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(binary())
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server: set FOGLINE_NATS_SERVER or put it on PATH");
        let server = Self {
            child,
            port,
            _directory: directory,
        };
        until("the NATS server listens", async || {
            TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        server
    }

    pub(in crate::gateway) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends the server; gives back how to start it again on the same port.
    pub(in crate::gateway) fn stop(self) -> u16 {
        self.port
    }

    pub(in crate::gateway) async fn restart(port: u16) -> Self {
        Self::start_on(port).await
    }

    /// Freezes or thaws the server: connections stay open, nothing is answered.
    pub(in crate::gateway) fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that stays the server's own while it is down: systems give outgoing connections others.
pub(super) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(16_384..32_768);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment what to run"
)]
fn binary() -> String {
    std::env::var("FOGLINE_NATS_SERVER").unwrap_or_else(|_| "nats-server".to_owned())
}
