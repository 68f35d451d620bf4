//! The conventions that every call follows: who calls, strict bodies, limits, origins, the trace of
//! a request, and the loop that accepts connections.

mod accept;
pub mod body;
pub mod caller;
pub mod extract;
pub mod json;
pub mod limits;
pub mod observe;
pub mod origin;
pub mod serve;
pub mod transport;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::Extensions;

/// The address of the peer: what limits and trust go by. `X-Forwarded-For` is not read, since
/// whoever connects could write it; behind a proxy all clients share the proxy's address, and the
/// per-address limits are set accordingly.
#[must_use]
pub fn peer(extensions: &Extensions) -> IpAddr {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| {
            info.0.ip().to_canonical()
        })
}
