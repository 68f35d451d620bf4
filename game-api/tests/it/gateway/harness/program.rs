//! One instance as a process of its own, so that its memory is not that of the tests.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use sqlx::{ConnectOptions as _, PgPool};
use tokio::net::TcpStream;

use super::nats::free_port;
use super::{NatsServer, until};
use crate::harness::KEY;

/// The program, ended when dropped.
pub(in crate::gateway) struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    pub(in crate::gateway) async fn start(pool: &PgPool, nats: &NatsServer) -> Self {
        let database = pool.connect_options().to_url_lossy().to_string();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = Command::new(env!("CARGO_BIN_EXE_game-api"))
            .env_clear()
            .envs([
                ("DATABASE_URL", database.as_str()),
                ("NATS_URL", &nats.url()),
                ("FOGLINE_KEYS", KEY),
                ("LISTEN_ADDR", &address.to_string()),
                ("OPS_ADDR", "127.0.0.1:0"),
                ("GATEWAY_SOCKETS_PER_PLAYER", "10000"),
                // What is freed is given back at once, so that memory is what is in use.
                ("MIMALLOC_PURGE_DELAY", "0"),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the program listens", async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        Self { child, address }
    }

    pub(in crate::gateway) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its own resident memory, bytes: file-backed pages, such as its code, are left out.
    pub(in crate::gateway) fn memory_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let anonymous = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = anonymous.and_then(|value| value.split_whitespace().next());
        kib.unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
