//! References for the gateway: servers that do nothing but send bytes to sockets. Each is a process of
//! its own, as a gateway is, so that what it uses can be read from the operating system.

mod tcp;
mod ws;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use e2e::provision::RunAs;
use e2e::supervisor::{Launch, Ports, Process, loopback};
use tokio::net::{TcpSocket, TcpStream};

/// As many as a gateway lets wait to be accepted.
const BACKLOG: u32 = 4096;

/// Arguments of the hidden `cargo xtask bare`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What it speaks
    #[arg(long, value_enum)]
    kind: Kind,

    /// Where it listens, on the loopback address
    #[arg(long)]
    port: u16,

    /// Bytes of what it sends, without the head of a WebSocket frame
    #[arg(long)]
    bytes: usize,

    /// How often a second it sends to one room, the rooms in turn; 0 for never
    #[arg(long)]
    per_second: u32,
}

/// What a bare server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Bytes over TCP, written to all sockets by one loop: nothing costs less.
    Tcp,
    /// WebSocket, a task for each socket, rooms by path; a frame is made once and shared.
    Ws,
}

/// Serves until it is killed.
pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let address = loopback(args.port);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    match args.kind {
        Kind::Tcp => tcp::serve(listener, args.bytes, args.per_second).await,
        Kind::Ws => ws::serve(listener, args.bytes, args.per_second).await,
    }
}

/// A bare server that runs; it is killed when this is dropped.
pub(crate) struct Bare {
    process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Bare {
    /// Starts one and waits until it listens; its log goes into `dir`.
    pub(crate) async fn start(
        dir: &Path,
        kind: Kind,
        bytes: usize,
        per_second: u32,
    ) -> Result<Self> {
        let port = Ports::free(1, 0)?.gateways[0];
        let kind = match kind {
            Kind::Tcp => "tcp",
            Kind::Ws => "ws",
        };
        let args =
            format!("bare --kind {kind} --port {port} --bytes {bytes} --per-second {per_second}");
        let launch = Launch {
            program: std::env::current_exe().context("this program's own path")?,
            args: args.split(' ').map(str::to_owned).collect(),
            env: vec![],
            env_prefixes_removed: vec![],
            dir: dir.to_path_buf(),
            log: dir.join(format!("bare-{kind}-{port}.log")),
            run_as: RunAs::Caller,
        };
        let bare = Self {
            process: launch.start()?,
            address: loopback(port),
        };
        while TcpStream::connect(bare.address).await.is_err() {
            tokio::time::sleep(super::swarm::LOOK_EVERY).await;
        }
        Ok(bare)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }
}
