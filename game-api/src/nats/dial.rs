//! One connection to a NATS server: opened, encrypted where the server or its address asks for it,
//! and let in.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_nats::ServerAddr;
use async_nats::rustls::pki_types::ServerName;
use async_nats::rustls::{ClientConfig, RootCertStore, crypto};
use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::protocol::{self, Malformed, Op};

/// To a server that accepts and says nothing.
const DIAL_MAX: Duration = Duration::from_secs(2);
/// Read in one go; a gateway has one such connection.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// What a gateway needs of a connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection that the server has let in.
pub(super) struct Dialled {
    pub(super) wire: Box<dyn Wire>,
    /// What came and is not read yet.
    pub(super) buffer: BytesMut,
    /// Other servers of its cluster.
    pub(super) neighbours: Vec<String>,
    /// Whether it is spoken to over TLS.
    pub(super) encrypted: bool,
}

/// Why a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("the server cannot be reached")]
    Io(#[from] io::Error),
    #[error("the server did not answer in time")]
    Slow(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the server said {0}")]
    Refused(String),
    #[error("the server's name is none that a certificate can have")]
    Name,
}

/// What a server says of itself.
#[derive(Default, Deserialize)]
struct Info {
    #[serde(default)]
    tls_required: bool,
    #[serde(default)]
    connect_urls: Vec<String>,
}

/// What it is told of the client.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the protocol's own members")]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'a str,
    lang: &'a str,
    version: &'a str,
    protocol: u8,
    headers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
}

/// Who connects.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) credentials: Option<(String, String)>,
}

/// Connects to the first address of a server that lets this client in.
pub(super) async fn dial(server: &ServerAddr, identity: &Identity) -> Result<Dialled, DialError> {
    let mut failure = DialError::Io(io::ErrorKind::NotFound.into());
    for address in timeout(DIAL_MAX, server.socket_addrs()).await?? {
        let attempt = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            enter(Box::new(stream), server, identity).await
        };
        match timeout(DIAL_MAX, attempt).await {
            Ok(Ok(dialled)) => return Ok(dialled),
            Ok(Err(error)) => failure = error,
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

async fn enter(
    mut wire: Box<dyn Wire>,
    server: &ServerAddr,
    identity: &Identity,
) -> Result<Dialled, DialError> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut info = greeting(&mut wire, &mut buffer).await?;
    let encrypted = info.tls_required || server.tls_required();
    if encrypted {
        wire = encrypt(wire, server.host()).await?;
        buffer.clear();
    }
    let credentials = identity.credentials.as_ref();
    let connect = Connect {
        verbose: false,
        pedantic: false,
        tls_required: encrypted,
        name: &identity.name,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        protocol: 1,
        headers: true,
        user: credentials.map(|(user, _)| user.as_str()),
        pass: credentials.map(|(_, pass)| pass.as_str()),
    };
    let connect = serde_json::to_string(&connect).map_err(io::Error::from)?;
    let hello = format!("CONNECT {connect}\r\nPING\r\n");
    wire.write_all(hello.as_bytes()).await?;
    wire.flush().await?;
    if let Some(later) = let_in(&mut wire, &mut buffer).await? {
        info.connect_urls = later;
    }
    Ok(Dialled {
        wire,
        buffer,
        neighbours: info.connect_urls,
        encrypted,
    })
}

async fn greeting(wire: &mut Box<dyn Wire>, buffer: &mut BytesMut) -> Result<Info, DialError> {
    loop {
        if let Some((op, used)) = protocol::first(buffer)? {
            let Op::Info(info) = op else {
                return Err(Malformed.into());
            };
            let info = serde_json::from_slice(info).map_err(|_| Malformed)?;
            buffer.advance(used);
            return Ok(info);
        }
        more(wire, buffer).await?;
    }
}

/// Waits for the answer to the first ping: by then the server has judged the credentials. Gives the
/// servers of its cluster if it says anew which they are.
async fn let_in(
    wire: &mut Box<dyn Wire>,
    buffer: &mut BytesMut,
) -> Result<Option<Vec<String>>, DialError> {
    let mut later = None;
    loop {
        while let Some((op, used)) = protocol::first(buffer)? {
            match op {
                Op::Err(error) => return Err(DialError::Refused(error.to_owned())),
                Op::Pong => {
                    buffer.advance(used);
                    return Ok(later);
                }
                Op::Info(info) => later = Some(neighbours(info)),
                _ => {}
            }
            buffer.advance(used);
        }
        more(wire, buffer).await?;
    }
}

/// The servers of its cluster, as a server says in an `INFO` that comes when they change.
pub(super) fn neighbours(info: &[u8]) -> Vec<String> {
    let info: Info = serde_json::from_slice(info).unwrap_or_default();
    info.connect_urls
}

async fn more(wire: &mut Box<dyn Wire>, buffer: &mut BytesMut) -> io::Result<()> {
    match wire.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Speaks TLS from here on, with a server that an authority of this machine vouches for.
async fn encrypt(wire: Box<dyn Wire>, host: &str) -> Result<Box<dyn Wire>, DialError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| DialError::Name)?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, wire)
        .await?;
    Ok(Box::new(stream))
}
