//! A private nats-server with JetStream, and one user for each part it plays.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use super::child::{Child, ChildSpec};
use super::ports::loopback;
use super::postgres::Durability;
use super::process::Launch;
use super::readiness::Readiness;
use super::run_dir::RunDir;
use super::secret;
use super::staging::{Staging, stage_in_memory};
use crate::provision::{NatsServer, RunAs};

/// nats-server starts in milliseconds. After `kill -9` it reads through a stream whose messages may
/// have a TTL before it greets: half a minute for half a million of them, on a busy machine.
const READY_DEADLINE: Duration = Duration::from_mins(5);
/// It writes what it has and closes its clients.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// The name of a lone server.
const NAME: &str = "nats-server";

/// The password of the user for whoever wants to look.
const READER_PASSWORD: &str = "reader";

/// Addresses of a nats-server, one for each part that is played.
#[derive(Clone, Debug)]
pub struct NatsAddresses {
    /// For the gateways.
    pub gateway_url: String,
    /// For the relays.
    pub relay_url: String,
    /// For the tests: reads the stream.
    pub auditor_url: String,
    /// For whoever wants to look: it reads and changes nothing.
    pub reader_url: Option<String>,
    /// The servers' monitoring, where it is open, and what a power cut may take away from them.
    pub monitoring: Option<Monitoring>,
}

/// Where a nats-server's monitoring is, and what it will show.
#[derive(Clone, Debug)]
pub struct Monitoring {
    /// Such as `http://127.0.0.1:8112`.
    pub url: String,
    /// What a power cut may take away.
    pub durability: Durability,
}

impl NatsAddresses {
    /// What a relay is told of the servers' monitoring.
    pub(super) fn monitoring_env(&self) -> Vec<(&'static str, &str)> {
        let Some(monitoring) = &self.monitoring else {
            return vec![];
        };
        let mut env = vec![("OUTBOX_NATS_MONITOR_URL", monitoring.url.as_str())];
        if monitoring.durability == Durability::Kill {
            env.push(("OUTBOX_ALLOW_LAZY_FSYNC", "true"));
        }
        env
    }
}

/// The ports of a private nats-server.
#[derive(Clone, Copy, Debug)]
pub struct NatsPorts {
    /// For clients.
    pub clients: u16,
    /// For its monitoring.
    pub monitor: u16,
}

/// A private nats-server that runs.
#[derive(Debug)]
pub struct Nats {
    /// Its supervision.
    pub child: Child,
    /// Where it is reached.
    pub addresses: NatsAddresses,
    /// What it stages in memory; goes with the server.
    pub staged: Option<TempDir>,
}

/// A user of the server: what it may publish, what of that it may not, what it may subscribe to.
pub(super) struct User {
    name: &'static str,
    password: String,
    publish_allowed: &'static [&'static str],
    publish_denied: &'static [&'static str],
    subscribe_allowed: &'static [&'static str],
}

/// What would empty, change or remove a stream, or what it holds.
const DESTRUCTIVE: &[&str] = &[
    "$JS.API.STREAM.DELETE.>",
    "$JS.API.STREAM.PURGE.>",
    "$JS.API.STREAM.MSG.DELETE.>",
    "$JS.API.STREAM.UPDATE.>",
    "$JS.API.STREAM.RESTORE.>",
    "$JS.API.STREAM.SNAPSHOT.>",
];

/// Connects to one of the nats-servers of a list separated by commas, with the user and the password
/// that the first URL holds: `async-nats` takes them from its options alone.
///
/// # Errors
/// The URL is none, or the server refuses.
pub async fn connect(urls: &str) -> Result<async_nats::Client> {
    let addresses = urls
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<async_nats::ServerAddr>, _>>()
        .context("a NATS URL")?;
    let mut options = async_nats::ConnectOptions::new();
    if let Some(address) = addresses.first()
        && let (Some(user), Some(password)) = (address.username(), address.password())
    {
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    options
        .connect(addresses)
        .await
        .context("NATS cannot be connected to")
}

impl Nats {
    /// Writes the configuration, starts the server and waits until it greets.
    ///
    /// # Errors
    /// The configuration cannot be written, or the server does not start.
    pub async fn start(
        server: &NatsServer,
        run_dir: &RunDir,
        ports: NatsPorts,
        durability: Durability,
        staging: Staging,
    ) -> Result<Self> {
        let users = users();
        let node = Node {
            server,
            run_dir,
            users: &users,
            durability,
        };
        let monitor = format!("http: \"{}\"\n", loopback(ports.monitor));
        let staged = match staging {
            Staging::Disk => None,
            Staging::Memory => Some(stage_in_memory(&store_of(&run_dir.path().join(NAME)))?),
        };
        let child = Child::start(node.spec(NAME, ports.clients, &monitor)?);
        child.ready().await?;
        let monitoring = Monitoring {
            url: format!("http://{}", loopback(ports.monitor)),
            durability,
        };
        Ok(Self {
            child,
            staged,
            addresses: NatsAddresses {
                monitoring: Some(monitoring),
                ..addresses(&[ports.clients], &users)
            },
        })
    }
}

fn store_of(home: &Path) -> PathBuf {
    home.join("store")
}

/// What nats-servers of one run have in common.
pub(super) struct Node<'a> {
    pub(super) server: &'a NatsServer,
    pub(super) run_dir: &'a RunDir,
    pub(super) users: &'a [User],
    pub(super) durability: Durability,
}

impl Node<'_> {
    /// A server that is to be started, its configuration written: with `more`, what is its own.
    pub(super) fn spec(&self, name: &str, port: u16, more: &str) -> Result<ChildSpec> {
        let home = self.run_dir.path().join(name);
        fs::create_dir_all(&home).with_context(|| format!("{} cannot be made", home.display()))?;
        let config = home.join("nats.conf");
        let store = store_of(&home).display().to_string();
        let text = configuration(name, port, &store, self.users, self.durability) + more;
        fs::write(&config, text)
            .with_context(|| format!("{} cannot be written", config.display()))?;
        Ok(ChildSpec {
            name: name.to_owned(),
            launch: Launch {
                program: self.server.program.clone(),
                args: vec!["--config".to_owned(), config.display().to_string()],
                env: vec![],
                env_prefixes_removed: vec![],
                dir: home,
                log: self.run_dir.logs().join(format!("{name}.log")),
                run_as: RunAs::Caller,
            },
            readiness: Readiness::Nats(loopback(port)),
            ready_deadline: READY_DEADLINE,
            end_signal: Signal::TERM,
            end_deadline: END_DEADLINE,
        })
    }
}

/// Where servers on these ports are reached, as lists separated by commas.
pub(super) fn addresses(ports: &[u16], users: &[User]) -> NatsAddresses {
    let url = |name: &str| {
        let password = users
            .iter()
            .find(|user| user.name == name)
            .map_or("", |user| &user.password);
        let urls: Vec<String> = ports
            .iter()
            .map(|port| format!("nats://{name}:{password}@{}", loopback(*port)))
            .collect();
        urls.join(",")
    };
    NatsAddresses {
        gateway_url: url("gateway"),
        relay_url: url("relay"),
        auditor_url: url("auditor"),
        reader_url: Some(url("reader")),
        monitoring: None,
    }
}

/// The users, with passwords of this run.
pub(super) fn users() -> [User; 4] {
    [
        User {
            name: "gateway",
            password: secret::password(),
            publish_allowed: &["outbox.wake"],
            publish_denied: &[],
            subscribe_allowed: &["events.game.*", "_INBOX.>"],
        },
        User {
            name: "relay",
            password: secret::password(),
            // As in deploy/nats.conf.
            publish_allowed: &[
                "events.>",
                "replay.>",
                "outbox.leases",
                "$JS.API.STREAM.INFO.EVENTS",
                "$JS.API.STREAM.CREATE.EVENTS",
                "$JS.API.STREAM.MSG.GET.EVENTS",
                "$JS.API.CONSUMER.CREATE.EVENTS",
                "$JS.API.CONSUMER.CREATE.EVENTS.>",
                "$JS.API.CONSUMER.MSG.NEXT.EVENTS.>",
                "$JS.API.CONSUMER.INFO.EVENTS.>",
                "$JS.API.CONSUMER.DELETE.EVENTS.>",
            ],
            publish_denied: DESTRUCTIVE,
            subscribe_allowed: &["_INBOX.>", "outbox.wake", "outbox.leases"],
        },
        User {
            name: "auditor",
            password: secret::password(),
            publish_allowed: &["$JS.API.>", "$JS.ACK.>"],
            publish_denied: DESTRUCTIVE,
            subscribe_allowed: &[">"],
        },
        User {
            name: "reader",
            password: READER_PASSWORD.to_owned(),
            // As the observer in deploy/nats.conf.
            publish_allowed: &[
                "$JS.API.INFO",
                "$JS.API.STREAM.NAMES",
                "$JS.API.STREAM.LIST",
                "$JS.API.STREAM.INFO.EVENTS",
                "$JS.API.STREAM.MSG.GET.EVENTS",
                "$JS.API.DIRECT.GET.EVENTS",
                "$JS.API.DIRECT.GET.EVENTS.>",
            ],
            publish_denied: &[],
            subscribe_allowed: &["events.>", "outbox.>", "_INBOX.>"],
        },
    ]
}

/// Without `sync_interval: always` the server acknowledges what a power cut then loses.
fn configuration(
    name: &str,
    port: u16,
    store: &str,
    users: &[User],
    durability: Durability,
) -> String {
    let sync = match durability {
        Durability::PowerCut => "  sync_interval: always\n",
        Durability::Kill => "",
    };
    let mut text = format!(
        "listen: \"{}\"\n\
         server_name: {name}\n\
         jetstream {{\n  store_dir: {}\n{sync}}}\n\
         authorization {{\n  users: [\n",
        loopback(port),
        quoted(store)
    );
    for user in users {
        let _ = writeln!(
            text,
            "    {{ user: {}, password: {}, permissions: {{\n      \
               publish: {{ allow: {}, deny: {} }}\n      subscribe: {{ allow: {} }} }} }}",
            quoted(user.name),
            quoted(&user.password),
            list(user.publish_allowed),
            list(user.publish_denied),
            list(user.subscribe_allowed)
        );
    }
    text.push_str("  ]\n}\n");
    text
}

fn list(subjects: &[&str]) -> String {
    let subjects: Vec<String> = subjects.iter().map(|subject| quoted(subject)).collect();
    format!("[{}]", subjects.join(", "))
}

/// Single quotes: `$` stays what it is.
fn quoted(text: &str) -> String {
    format!("'{text}'")
}

#[cfg(test)]
mod tests {
    use super::{Durability, User, configuration, users};
    use crate::environment::workspace_root;

    #[test]
    fn only_the_relay_may_publish_events_and_nobody_may_empty_the_stream() {
        for user in &users() {
            let publishes = user.publish_allowed.contains(&"events.>");
            assert_eq!(publishes, user.name == "relay", "{}", user.name);
            let destroys = |subject: &&str| {
                let wild = *subject == "$JS.API.>" && user.publish_denied != super::DESTRUCTIVE;
                wild || ["DELETE.EVENTS", "PURGE", "UPDATE"]
                    .iter()
                    .any(|verb| subject.contains(&format!("STREAM.{verb}")))
            };
            assert!(!user.publish_allowed.iter().any(destroys), "{}", user.name);
        }
        let text = configuration("nats", 4222, "/store", &users(), Durability::PowerCut);
        assert!(text.contains("sync_interval: always"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    /// What is tried here is what is deployed: the same subjects for the same parts.
    #[test]
    fn users_may_do_what_their_namesakes_in_deployment_may() {
        let text = std::fs::read_to_string(workspace_root().join("deploy/nats.conf"))
            .expect("deploy/nats.conf");
        let text: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .collect();
        let quoted = |text: &str| {
            let mut found: Vec<String> = text
                .split('"')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            found.sort();
            found
        };
        let denied = text
            .split("relay_denied = [")
            .nth(1)
            .and_then(|rest| rest.split(']').next())
            .expect("a list");
        for (name, here) in [
            ("relay", "relay"),
            ("gateway", "gateway"),
            ("observer", "reader"),
        ] {
            let block = text
                .split(&format!("user: {name},"))
                .nth(1)
                .and_then(|rest| rest.split("user:").next());
            let mut deployed = quoted(block.expect("the user"));
            if name == "relay" {
                deployed.extend(quoted(denied));
                deployed.sort();
            }
            let users = users();
            let user: &User = users
                .iter()
                .find(|user| user.name == here)
                .expect("the user");
            let mut own: Vec<String> = [
                user.publish_allowed,
                user.publish_denied,
                user.subscribe_allowed,
            ]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
            own.sort();
            assert_eq!(own, deployed, "{name}");
        }
    }
}
