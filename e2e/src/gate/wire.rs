//! HTTP as it stands on the wire. An ordinary client hides what a viewer could read: the order of
//! headers, lengths, the bytes of a body before they are parsed.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing that is asked for takes longer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The longest answer: a long poll of a whole game.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A comment that says nothing.
const EMPTY_COMMENT: &str = ":\n\n";

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    /// The gateway, such as `127.0.0.1:8080`.
    pub(super) address: &'a str,
    /// `GET` or `POST`.
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) path: &'a str,
    /// The access token; none for who is not signed in.
    pub(super) token: Option<&'a str>,
    /// A JSON body.
    pub(super) body: Option<String>,
}

impl Asked<'_> {
    fn text(&self, connection: &str) -> String {
        let Self {
            address,
            method,
            path,
            token,
            body,
        } = self;
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let body = body.as_deref().unwrap_or_default();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{}connection: {connection}\r\n\
             content-length: {}\r\n\r\n{body}",
            token.unwrap_or_default(),
            body.len()
        )
    }
}

/// The whole answer, from the status line to the last byte.
pub(super) async fn ask(asked: &Asked<'_>) -> Result<String> {
    Asking::begin(asked).await?.answer().await
}

/// A request whose answer is still to come.
#[derive(Debug)]
pub(super) struct Asking {
    what: String,
    stream: TcpStream,
}

impl Asking {
    /// Sends a request.
    pub(super) async fn begin(asked: &Asked<'_>) -> Result<Self> {
        let what = format!("{} {}", asked.method, asked.path);
        let sent = timeout(ANSWER_MAX, async {
            let mut stream = TcpStream::connect(asked.address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(asked.text("close").as_bytes()).await?;
            anyhow::Ok(stream)
        });
        let sent = sent
            .await
            .with_context(|| format!("{what} was not taken"))?;
        let stream = sent.with_context(|| what.clone())?;
        Ok(Self { what, stream })
    }

    /// Waits for the answer.
    pub(super) async fn answer(self) -> Result<String> {
        let Self { what, stream } = self;
        let answered = timeout(ANSWER_MAX, async {
            let mut answer = Vec::new();
            let limit = u64::try_from(ANSWER_BYTES_MAX)?;
            stream.take(limit).read_to_end(&mut answer).await?;
            anyhow::Ok(answer)
        });
        let answer = answered
            .await
            .with_context(|| format!("{what} was not answered"))?
            .with_context(|| what.clone())?;
        String::from_utf8(answer).context("an answer that is no text")
    }
}

/// A stream of server-sent events.
#[derive(Debug)]
pub(super) struct EventStream {
    stream: TcpStream,
    /// Status line and headers.
    pub(super) head: String,
    /// What has come and was not taken yet, still in HTTP's chunks.
    chunked: Vec<u8>,
    /// The same out of the chunks.
    text: String,
}

impl EventStream {
    /// Opens a stream.
    pub(super) async fn open(asked: &Asked<'_>) -> Result<Self> {
        let mut opened = Self {
            stream: TcpStream::connect(asked.address).await?,
            head: String::new(),
            chunked: Vec::new(),
            text: String::new(),
        };
        let text = asked.text("keep-alive");
        opened.stream.write_all(text.as_bytes()).await?;
        loop {
            let end = find(&opened.chunked, b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = opened.chunked.drain(..end + 4).collect();
                opened.head = String::from_utf8(head)?;
                return Ok(opened);
            }
            opened.more().await?;
        }
    }

    /// The next event, as its lines stand on the wire. Comments, which come by the clock and say
    /// nothing, are left out.
    pub(super) async fn next(&mut self) -> Result<String> {
        let event = timeout(ANSWER_MAX, self.event()).await;
        event.context("an event stream says nothing")?
    }

    async fn event(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                if event == EMPTY_COMMENT {
                    continue;
                }
                return Ok(event);
            }
            if !self.unchunk()? {
                self.more().await?;
            }
        }
    }

    /// Takes a chunk that is there as a whole; says whether there was one.
    fn unchunk(&mut self) -> Result<bool> {
        let Some(line) = find(&self.chunked, b"\r\n") else {
            return Ok(false);
        };
        let size = std::str::from_utf8(&self.chunked[..line])?;
        let size = usize::from_str_radix(size, 16).context("a chunk's size")?;
        let end = line + 2 + size;
        if self.chunked.len() < end + 2 {
            return Ok(false);
        }
        self.text
            .push_str(std::str::from_utf8(&self.chunked[line + 2..end])?);
        self.chunked.drain(..end + 2);
        Ok(true)
    }

    async fn more(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).await?;
        if count == 0 {
            bail!("an event stream ended");
        }
        self.chunked.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
