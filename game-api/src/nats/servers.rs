//! Which servers are tried, and in which order. Pure.

use async_nats::ServerAddr;

/// Servers that one has named that are tried: those of a large cluster.
const NAMED_MAX: usize = 64;

/// The servers of the settings, and those that the connected one has named last.
#[derive(Debug)]
pub(super) struct Servers {
    configured: Vec<ServerAddr>,
    named: Vec<ServerAddr>,
    /// The one that was connected last.
    last: Option<ServerAddr>,
}

impl Servers {
    /// Those of the settings.
    pub(super) const fn new(configured: Vec<ServerAddr>) -> Self {
        Self {
            configured,
            named: Vec::new(),
            last: None,
        }
    }

    /// A server let this client in.
    pub(super) fn connected(&mut self, server: ServerAddr) {
        self.last = Some(server);
    }

    /// The connected server says which others there are. They take the place of those that were
    /// named before: who is not named any more is gone. If it was reached over TLS, so are they.
    pub(super) fn name(&mut self, others: &[String], encrypted: bool) {
        if others.is_empty() {
            return;
        }
        let scheme = if encrypted { "tls" } else { "nats" };
        let named = others.iter().take(NAMED_MAX);
        self.named = named
            .filter_map(|other| format!("{scheme}://{other}").parse().ok())
            .collect();
    }

    /// Each once: the one that was connected last, those of the settings, those that were named.
    pub(super) fn in_turn(&self) -> Vec<ServerAddr> {
        let mut servers: Vec<ServerAddr> = Vec::new();
        let all = self.last.iter().chain(&self.configured).chain(&self.named);
        for server in all {
            if !servers.iter().any(|known| is_same(known, server)) {
                servers.push(server.clone());
            }
        }
        servers
    }
}

/// Settings may have a password in an address, and a server names itself without.
fn is_same(one: &ServerAddr, other: &ServerAddr) -> bool {
    one.host() == other.host() && one.port() == other.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(urls: &[&str]) -> Servers {
        Servers::new(urls.iter().map(|url| url.parse().unwrap()).collect())
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn in_turn(servers: &Servers) -> Vec<String> {
        let turn = servers.in_turn().into_iter();
        turn.map(|server| format!("{}:{}", server.host(), server.port()))
            .collect()
    }

    #[test]
    fn the_last_one_is_tried_first_and_each_once() {
        let mut servers = servers(&["nats://user:secret@a", "nats://user:secret@b:4223"]);
        assert_eq!(in_turn(&servers), ["a:4222", "b:4223"]);
        servers.name(&named(&["c:1", "a:4222", "[::1]:2"]), false);
        servers.connected("nats://c:1".parse().unwrap());
        assert_eq!(in_turn(&servers), ["c:1", "a:4222", "b:4223", "::1:2"]);
    }

    #[test]
    fn who_is_named_no_more_is_forgotten_and_the_settings_never_are() {
        let mut servers = servers(&["a"]);
        for round in 0..1000 {
            let names: Vec<String> = (0..100).map(|i| format!("n{round}-{i}:1")).collect();
            servers.name(&names, false);
        }
        let turn = in_turn(&servers);
        assert_eq!(turn.len(), 1 + NAMED_MAX);
        assert_eq!([&turn[0], &turn[1]], ["a:4222", "n999-0:1"]);
        // A server that stands alone names nobody; who was there may come back.
        servers.name(&[], false);
        assert_eq!(in_turn(&servers).len(), 1 + NAMED_MAX);
    }

    #[test]
    fn whoever_is_named_over_an_encrypted_connection_is_told_no_password_in_clear() {
        let mut servers = servers(&["tls://a"]);
        servers.name(&named(&["b:4222"]), true);
        assert!(servers.in_turn().iter().all(ServerAddr::tls_required));
    }
}
