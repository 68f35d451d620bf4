//! One connection: opened by hand, without anything that a client of a benchmark does not need.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::frames::{FrameReader, PING, PONG, TEXT};

/// What is read in one go. One buffer a thread serves all sockets.
const READ_BYTES: usize = 64 * 1024;
/// The head of an answer to an upgrade is far shorter.
const HEAD_BYTES_MAX: usize = 4096;
/// Loopback addresses that clients come from: each has some 28,000 ports.
const SOURCES: usize = 16;
/// The least that every host takes (RFC 9293 §3.7.1).
const NARROW_SEGMENT_BYTES: u32 = 536;
/// The system makes it what it allows at least.
const NARROW_BUFFER_BYTES: usize = 1024;
/// RFC 6455's own example of a nonce.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// And of what a server answers to it.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Where and as whom to connect.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    /// The server.
    pub(crate) to: SocketAddr,
    /// Which client this is: decides the address that it comes from.
    pub(crate) nth: usize,
    /// The path, where the server speaks WebSocket; none for bare TCP.
    pub(crate) path: Option<Arc<str>>,
    /// An access token; none for a spectator.
    pub(crate) bearer: Option<Arc<str>>,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    reader: FrameReader,
}

impl Wire {
    /// Connects, and upgrades where there is a path.
    pub(crate) async fn open(dial: &Dial) -> Result<Self> {
        Self::over(connect(dial.to, dial.nth).await?, dial).await
    }

    /// The same with buffers so small that what is not read soon stands in the server's way.
    pub(crate) async fn open_narrow(dial: &Dial) -> Result<Self> {
        Self::over(connect_narrow(dial.to, dial.nth)?, dial).await
    }

    async fn over(stream: TcpStream, dial: &Dial) -> Result<Self> {
        let mut wire = Self {
            stream,
            reader: FrameReader::default(),
        };
        if let Some(path) = &dial.path {
            wire.upgrade(path, dial.bearer.as_deref()).await?;
        }
        Ok(wire)
    }

    async fn upgrade(&mut self, path: &str, bearer: Option<&str>) -> Result<()> {
        let authorization = bearer
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{authorization}\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(512);
        let end = loop {
            if self.stream.read_buf(&mut head).await? == 0 || head.len() > HEAD_BYTES_MAX {
                bail!("no answer to an upgrade");
            }
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !head.starts_with(b"HTTP/1.1 101") {
            bail!("refused: {}", String::from_utf8_lossy(&head));
        }
        // What came with the head is at most the welcome, which nobody reads.
        self.reader.feed(&head[end..], |_, _| {});
        Ok(())
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Waits for something to come and calls `each` with every whole frame of it; pings are
    /// answered. False once the connection is over.
    pub(crate) async fn receive(&mut self, mut each: impl FnMut(u8, &[u8]) + Send) -> bool {
        let mut pings = 0;
        let reader = &mut self.reader;
        let went_on = read(&self.stream, |bytes| {
            reader.feed(bytes, |opcode, payload| {
                pings += u32::from(opcode == PING);
                each(opcode, payload);
            });
        });
        let mut went_on = went_on.await;
        for _ in 0..pings {
            went_on &= self.stream.write_all(&PONG).await.is_ok();
        }
        went_on
    }

    /// Waits for a message that begins so.
    pub(crate) async fn until(&mut self, beginning: &[u8]) -> Result<()> {
        let mut came = false;
        while !came {
            let open = self.receive(|opcode, text| {
                came |= opcode == TEXT && text.starts_with(beginning);
            });
            if !open.await && !came {
                bail!("the server closed before it answered");
            }
        }
        Ok(())
    }

    /// Waits for something to come and gives how much it was; 0 once the connection is over.
    pub(crate) async fn count(&mut self) -> usize {
        let mut count = 0;
        read(&self.stream, |bytes| count = bytes.len()).await;
        count
    }

    /// Waits without reading until the connection is over or the task is dropped.
    pub(crate) async fn hold(self) {
        let _ = self.stream.ready(tokio::io::Interest::ERROR).await;
    }
}

/// Waits for something to come and hands it on. False once the connection is over.
async fn read(stream: &TcpStream, mut take: impl FnMut(&[u8]) + Send) -> bool {
    loop {
        if stream.readable().await.is_err() {
            return false;
        }
        let read = BUFFER.with_borrow_mut(|buffer| {
            let read = stream.try_read(buffer)?;
            take(&buffer[..read]);
            Ok::<usize, io::Error>(read)
        });
        match read {
            Ok(read) => return read > 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
}

/// Connects from one of many loopback addresses.
async fn connect(to: SocketAddr, nth: usize) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(source(nth))?;
    let stream = socket.connect(to).await.context("a client's connection")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The sender's buffer follows from the size of a segment, which is 64 KiB on the loopback device
/// unless a smaller one is asked for.
fn connect_narrow(to: SocketAddr, nth: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_tcp_mss(NARROW_SEGMENT_BYTES)?;
    socket.set_recv_buffer_size(NARROW_BUFFER_BYTES)?;
    socket.bind(&source(nth).into())?;
    socket
        .connect(&to.into())
        .context("a client's connection")?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into())?)
}

fn source(nth: usize) -> SocketAddr {
    let last = u8::try_from(nth % SOURCES).unwrap_or(0) + 2;
    (Ipv4Addr::new(127, 0, 0, last), 0).into()
}
