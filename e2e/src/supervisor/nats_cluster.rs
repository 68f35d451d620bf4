//! Several nats-servers on this machine that replicate JetStream among them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::jetstream;
use futures_util::future::try_join_all;

use super::child::Child;
use super::nats::{NatsAddresses, Node, addresses, connect, users};
use super::nats_monitor::NatsMonitor;
use super::ports::{free_ports, loopback};
use super::postgres::Durability;
use super::run_dir::RunDir;
use crate::provision::NatsServer;

/// From the start of all nodes to an elected leader of the metadata.
const LEADER_DEADLINE: Duration = Duration::from_secs(30);
/// Between two questions whether there is one.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A cluster that runs.
#[derive(Debug)]
pub struct NatsCluster {
    /// Its nodes; the name of each is its server's name.
    pub nodes: Vec<Child>,
    /// Where they are reached: all of them in each list.
    pub addresses: NatsAddresses,
    /// What each says of itself.
    pub monitors: Vec<NatsMonitor>,
}

impl NatsCluster {
    /// Starts so many nodes and waits until JetStream has a leader.
    ///
    /// # Errors
    /// A node does not start, or they do not find each other.
    pub async fn start(
        server: &NatsServer,
        run_dir: &RunDir,
        nodes: usize,
        durability: Durability,
    ) -> Result<Self> {
        let ports = free_ports(nodes * 3)?;
        let (clients, others) = ports.split_at(nodes);
        let (routes, monitors) = others.split_at(nodes);
        let users = users();
        let common = Node {
            server,
            run_dir,
            users: &users,
            durability,
        };
        let nodes = (0..nodes)
            .map(|nth| {
                let name = format!("nats-{}", nth + 1);
                let monitor = format!("http: \"{}\"\n", loopback(monitors[nth]));
                let more = cluster_block(routes, nth) + &monitor;
                Ok(Child::start(common.spec(&name, clients[nth], &more)?))
            })
            .collect::<Result<Vec<_>>>()?;
        try_join_all(nodes.iter().map(Child::ready)).await?;
        let cluster = Self {
            nodes,
            addresses: addresses(clients, &users),
            monitors: monitors
                .iter()
                .map(|port| NatsMonitor::new(loopback(*port)))
                .collect(),
        };
        cluster.leader_elected().await?;
        Ok(cluster)
    }

    async fn leader_elected(&self) -> Result<()> {
        let client = connect(&self.addresses.auditor_url).await?;
        let context = jetstream::new(client);
        let answers = async {
            while context.query_account().await.is_err() {
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        match tokio::time::timeout(LEADER_DEADLINE, answers).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("the nodes of the NATS cluster have not elected a leader"),
        }
    }
}

/// Who stands in the cluster, for the node `nth` of those that listen for routes on `ports`.
fn cluster_block(ports: &[u16], nth: usize) -> String {
    let routes: Vec<String> = ports
        .iter()
        .map(|port| format!("\"nats://{}\"", loopback(*port)))
        .collect();
    format!(
        "cluster {{\n  name: fogline\n  listen: \"{}\"\n  routes: [{}]\n}}\n",
        loopback(ports[nth]),
        routes.join(", ")
    )
}

/// What the leader says of a stream's replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// The server that leads.
    pub leader: String,
    /// How many servers have all of the leader's log, the leader among them. That is not to have all
    /// of the stream: see [`NatsMonitor`].
    pub current: usize,
    /// The stream's last position.
    pub last_seq: u64,
}

impl Replicas {
    /// Asks.
    ///
    /// # Errors
    /// No answer, as while a leader is being elected.
    pub async fn of(context: &jetstream::Context, stream: &str) -> Result<Self> {
        let stream = context
            .get_stream(stream)
            .await
            .context("the stream does not answer")?;
        let cluster = stream
            .cached_info()
            .cluster
            .clone()
            .context("the stream stands on a server alone")?;
        let current = |peer: &&jetstream::stream::PeerInfo| peer.current && !peer.offline;
        Ok(Self {
            leader: cluster.leader.context("no leader")?,
            current: 1 + cluster.replicas.iter().filter(current).count(),
            last_seq: stream.cached_info().state.last_sequence,
        })
    }
}
