//! Which servers are tried, and in which order. Pure.

use async_nats::ServerAddr;

/// Servers that one has named that are tried: those of a large cluster.
const NAMED_MAX: usize = 64;

/// Named ones that are tried between two tries of those of the settings: they may be addresses that
/// only the servers themselves can reach, each of which takes its time to fail.
const NAMED_IN_A_ROW_MAX: usize = 4;

/// The servers of the settings, and those that the connected one has named last.
#[derive(Debug)]
pub(super) struct Servers {
    configured: Vec<ServerAddr>,
    named: Vec<ServerAddr>,
    /// The one whose connection was worth it last.
    last: Option<ServerAddr>,
    /// Those that let this client in and were of no use since then, the latest at the end.
    failed: Vec<ServerAddr>,
}

impl Servers {
    /// Those of the settings.
    pub(super) const fn new(configured: Vec<ServerAddr>) -> Self {
        Self {
            configured,
            named: Vec::new(),
            last: None,
            failed: Vec::new(),
        }
    }

    /// The connection to a server was worth it: the server is tried first, and whoever failed
    /// before is as good as any.
    pub(super) fn lasted(&mut self, server: ServerAddr) {
        self.failed.clear();
        self.last = Some(server);
    }

    /// A server let this client in, and was of no use: it is tried last until a connection lasts.
    pub(super) fn failed(&mut self, server: ServerAddr) {
        let known = self.known();
        self.failed
            .retain(|failed| !is_same(failed, &server) && is_among(&known, failed));
        self.failed.push(server);
    }

    /// The connected server says which others there are. They take the place of those that were
    /// named before, unless it says none. If it was reached over TLS, so are they.
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

    /// The last one whose connection was worth it, those of the settings, those that were named,
    /// and in the end those that failed, the longest ago first. Those of the settings come again
    /// after every few others.
    pub(super) fn in_turn(&self) -> Vec<ServerAddr> {
        let mut known = self.known();
        known.sort_by_key(|server| {
            self.failed
                .iter()
                .position(|failed| is_same(failed, server))
        });
        let mut configured = known.clone();
        configured.retain(|server| is_among(&self.configured, server));
        let mut turn = Vec::new();
        let mut in_a_row = 0;
        for server in known {
            if is_among(&configured, &server) {
                in_a_row = 0;
            } else if in_a_row == NAMED_IN_A_ROW_MAX {
                turn.extend_from_slice(&configured);
                in_a_row = 1;
            } else {
                in_a_row += 1;
            }
            turn.push(server);
        }
        turn
    }

    /// Each once.
    fn known(&self) -> Vec<ServerAddr> {
        let mut servers: Vec<ServerAddr> = Vec::new();
        for server in self.last.iter().chain(&self.configured).chain(&self.named) {
            if !is_among(&servers, server) {
                servers.push(server.clone());
            }
        }
        servers
    }
}

fn is_among(servers: &[ServerAddr], server: &ServerAddr) -> bool {
    servers.iter().any(|known| is_same(known, server))
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
        servers.lasted("nats://c:1".parse().unwrap());
        assert_eq!(in_turn(&servers), ["c:1", "a:4222", "b:4223", "::1:2"]);
        // Also when others are named than it.
        servers.name(&named(&["d:1"]), false);
        assert_eq!(in_turn(&servers), ["c:1", "a:4222", "b:4223", "d:1"]);
    }

    #[test]
    fn who_was_of_no_use_is_tried_last_until_a_connection_lasts() {
        let mut servers = servers(&["a", "b", "c"]);
        let address = |name: &str| name.parse::<ServerAddr>().unwrap();
        servers.lasted(address("a"));
        servers.failed(address("a"));
        assert_eq!(in_turn(&servers), ["b:4222", "c:4222", "a:4222"]);
        servers.failed(address("b"));
        assert_eq!(in_turn(&servers), ["c:4222", "a:4222", "b:4222"]);
        // All were of no use: in turn.
        servers.failed(address("c"));
        servers.failed(address("a"));
        assert_eq!(in_turn(&servers), ["b:4222", "c:4222", "a:4222"]);
        servers.lasted(address("b"));
        servers.failed(address("b"));
        assert_eq!(in_turn(&servers), ["a:4222", "c:4222", "b:4222"]);
        // Who is not known any more is not remembered for having failed.
        for round in 0..100 {
            servers.name(&named(&[&format!("n{round}:1")]), false);
            servers.failed(address(&format!("n{round}:1")));
        }
        assert_eq!(servers.failed.len(), 2);
    }

    #[test]
    fn the_settings_are_tried_again_after_every_few_that_were_named() {
        let mut servers = servers(&["a", "b"]);
        let names: Vec<String> = (0..NAMED_MAX).map(|i| format!("n{i}:1")).collect();
        servers.name(&names, false);
        // Also one that is of no use does not wait for all of them.
        servers.failed("b".parse().unwrap());
        let turn = in_turn(&servers);
        let is_named = |server: &String| server.starts_with('n');
        assert_eq!(turn[0], "a:4222");
        assert_eq!(turn[1..5], ["n0:1", "n1:1", "n2:1", "n3:1"]);
        assert_eq!(turn[5..8], ["a:4222", "b:4222", "n4:1"]);
        assert_eq!(turn.last().unwrap(), "b:4222");
        assert_eq!(turn.iter().filter(|one| is_named(one)).count(), NAMED_MAX);
        let mut rows = turn.chunk_by(|one, next| is_named(one) == is_named(next));
        assert!(rows.all(|row| row.len() <= NAMED_IN_A_ROW_MAX));
    }

    #[test]
    fn who_is_named_no_more_is_forgotten_and_the_settings_never_are() {
        let mut servers = servers(&["a"]);
        for round in 0..1000 {
            let names: Vec<String> = (0..100).map(|i| format!("n{round}-{i}:1")).collect();
            servers.name(&names, false);
        }
        let known = servers.known();
        assert_eq!(known.len(), 1 + NAMED_MAX);
        assert_eq!([known[0].host(), known[1].host()], ["a", "n999-0"]);
        // A server that stands alone names nobody; who was there may come back.
        servers.name(&[], false);
        assert_eq!(servers.known().len(), 1 + NAMED_MAX);
    }

    #[test]
    fn whoever_is_named_over_an_encrypted_connection_is_told_no_password_in_clear() {
        let mut servers = servers(&["tls://a"]);
        servers.name(&named(&["b:4222"]), true);
        assert!(servers.in_turn().iter().all(ServerAddr::tls_required));
    }
}
