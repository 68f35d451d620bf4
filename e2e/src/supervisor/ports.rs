//! Which ports the stack listens on, all on the loopback address.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};

use super::nats::NatsPorts;

/// The ports of one stack. Gateways and relays: one port an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// What players connect to.
    pub gateways: Vec<u16>,
    /// The gateways' metrics and health.
    pub gateway_ops: Vec<u16>,
    /// The relays' metrics and health.
    pub relay_ops: Vec<u16>,
    /// Postgres.
    pub postgres: u16,
    /// NATS.
    pub nats: u16,
    /// NATS's monitoring, over HTTP.
    pub nats_monitor: u16,
}

impl Default for Ports {
    /// The documented ports of `cargo xtask play`.
    fn default() -> Self {
        Self {
            gateways: vec![8080, 8081],
            gateway_ops: vec![9100, 9101],
            relay_ops: vec![9110, 9111],
            postgres: 8110,
            nats: 8111,
            nats_monitor: 8112,
        }
    }
}

impl Ports {
    /// Moves all ports: gateways N, N+1; their ops ports N+10, N+11; the relays' N+20, N+21;
    /// Postgres N+30; NATS N+31; its monitoring N+32.
    ///
    /// # Errors
    /// A first port that leaves no room for the others.
    pub fn from(first: u16) -> Result<Self> {
        if !(1024..=u16::MAX - 32).contains(&first) {
            bail!(
                "ports cannot start at {first}: give a number between 1024 and {}",
                u16::MAX - 32
            );
        }
        Ok(Self {
            gateways: vec![first, first + 1],
            gateway_ops: vec![first + 10, first + 11],
            relay_ops: vec![first + 20, first + 21],
            postgres: first + 30,
            nats: first + 31,
            nats_monitor: first + 32,
        })
    }

    /// Ports that nobody listens on, as many as a stack of that size needs.
    ///
    /// # Errors
    /// The system has no free port.
    pub fn free(gateways: usize, relays: usize) -> Result<Self> {
        let mut numbers = free_ports(gateways * 2 + relays + 3)?.into_iter();
        let mut next = |count: usize| numbers.by_ref().take(count).collect::<Vec<_>>();
        Ok(Self {
            gateways: next(gateways),
            gateway_ops: next(gateways),
            relay_ops: next(relays),
            postgres: next(1)[0],
            nats: next(1)[0],
            nats_monitor: next(1)[0],
        })
    }

    /// Those of NATS.
    #[must_use]
    pub fn of_nats(&self) -> NatsPorts {
        NatsPorts {
            clients: self.nats,
            monitor: self.nats_monitor,
        }
    }

    /// Fails with one sentence if somebody else listens on one of the ports.
    ///
    /// # Errors
    /// Names the first port that is taken, and what it is for.
    pub fn check_free(&self, private_postgres: bool, private_nats: bool) -> Result<()> {
        let mut uses: Vec<(String, u16)> = Vec::new();
        let numbered = |name: &str, ports: &[u16]| {
            ports
                .iter()
                .enumerate()
                .map(|(i, port)| (format!("{name} {}", i + 1), *port))
                .collect::<Vec<_>>()
        };
        uses.extend(numbered("gateway", &self.gateways));
        uses.extend(numbered("the ops port of gateway", &self.gateway_ops));
        uses.extend(numbered("the ops port of relay", &self.relay_ops));
        if private_postgres {
            uses.push(("Postgres".to_owned(), self.postgres));
        }
        if private_nats {
            uses.push(("NATS".to_owned(), self.nats));
            uses.push(("NATS's monitoring".to_owned(), self.nats_monitor));
        }
        for (name, port) in uses {
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
                bail!(
                    "port {port} ({name}) is taken by another program: end that one, or move all \
                     ports with --ports-from N"
                );
            }
        }
        Ok(())
    }
}

/// Below the ports that systems give to outgoing connections: one of those would take the port of a
/// program that is down for a moment.
const SEARCHED: std::ops::Range<u16> = 16_384..32_768;

/// So many ports that nobody listens on, no two alike, and not given to this process before until
/// all others were.
///
/// # Errors
/// The system has no free port.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>> {
    static START: LazyLock<u16> = LazyLock::new(|| rand::random_range(SEARCHED));
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    let mut free = Vec::with_capacity(count);
    for _ in SEARCHED {
        if free.len() == count {
            break;
        }
        let step = TRIED.fetch_add(1, Ordering::Relaxed) + usize::from(*START - SEARCHED.start);
        let port = SEARCHED.start + u16::try_from(step % SEARCHED.len())?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            free.push(port);
        }
    }
    if free.len() < count {
        bail!("no {count} free ports from {} on", SEARCHED.start);
    }
    Ok(free)
}

/// A port on the loopback address.
#[must_use]
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::{Ports, loopback};

    #[test]
    fn moves_all_ports_by_the_documented_steps() {
        let ports = Ports::from(20000).expect("room");
        assert_eq!(ports.gateways, [20000, 20001]);
        assert_eq!(ports.gateway_ops, [20010, 20011]);
        assert_eq!(ports.relay_ops, [20020, 20021]);
        assert_eq!((ports.postgres, ports.nats), (20030, 20031));
        assert_eq!(ports.nats_monitor, 20032);
        assert!(Ports::from(80).is_err() && Ports::from(65530).is_err());
    }

    #[test]
    fn names_a_taken_port_and_its_use() {
        let mut ports = Ports::free(2, 2).expect("free ports");
        ports.check_free(true, true).expect("all free");
        let taken = std::net::TcpListener::bind(loopback(0)).expect("a port");
        ports.relay_ops[1] = taken.local_addr().expect("bound").port();
        let said = ports.check_free(true, true).expect_err("taken").to_string();
        assert!(said.contains("the ops port of relay 2"), "{said}");
    }
}
