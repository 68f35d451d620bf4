//! Who a program runs as: Postgres refuses to run as root.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::PostgresBinaries;
use crate::environment;

/// Accounts that Postgres may run under, the better one first.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// Who a program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// Whoever runs the tools.
    Caller,
    /// An unprivileged account, where root runs the tools.
    Account {
        /// Its name.
        name: String,
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
    /// Root, but in a user namespace in which it is an ordinary user and has no privilege. For a
    /// clone below a directory that no other account can enter (`/root`): nothing has to move.
    UserNamespace {
        /// The `unshare` program of util-linux.
        unshare: PathBuf,
    },
}

impl RunAs {
    /// Who Postgres with its files in `dir` runs as; `dir` is handed to that account.
    ///
    /// # Errors
    /// Where root runs the tools, and neither an account nor a user namespace will do.
    pub fn for_postgres(binaries: &PostgresBinaries, dir: &Path) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Caller);
        }
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        for account in ACCOUNTS.iter().filter_map(|name| account(&accounts, name)) {
            let Self::Account { uid, gid, .. } = &account else {
                continue;
            };
            chown(dir, Some(*uid), Some(*gid))
                .with_context(|| format!("{} cannot change its owner", dir.display()))?;
            if account.can_use(binaries, dir) {
                return Ok(account);
            }
        }
        chown(dir, Some(0), Some(0))
            .with_context(|| format!("{} cannot change its owner", dir.display()))?;
        if let Some(unshare) = environment::on_path("unshare") {
            let namespace = Self::UserNamespace { unshare };
            if namespace.can_use(binaries, dir) {
                tracing::info!(
                    "no other account can enter {}: Postgres runs in a user namespace, without privileges",
                    dir.display()
                );
                return Ok(namespace);
            }
        }
        bail!(
            "Postgres does not run as root, and neither {} can enter {}: clone to a directory that \
             every user can enter, or run this as an ordinary user",
            ACCOUNTS.join(" nor "),
            dir.display()
        )
    }

    /// A command that runs `program` as this, in a process group of its own, and, where util-linux
    /// is at hand, is killed by the kernel when its parent dies, however that dies.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut words: Vec<&OsStr> = Vec::new();
        if let Self::UserNamespace { unshare } = self {
            words.push(unshare.as_os_str());
            words.extend(["--user", "--map-user=1000", "--map-group=1000", "--"].map(OsStr::new));
        }
        let setpriv = environment::on_path("setpriv");
        if let Some(setpriv) = &setpriv {
            words.push(setpriv.as_os_str());
            words.extend(["--pdeathsig", "KILL", "--"].map(OsStr::new));
        }
        words.push(program.as_os_str());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).process_group(0);
        if let Self::Account { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Tried rather than reasoned: permissions, mounts and namespaces have too many corners.
    fn can_use(&self, binaries: &PostgresBinaries, dir: &Path) -> bool {
        let succeeds = |command: &mut Command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        succeeds(self.command(&binaries.program("postgres")).arg("--version"))
            && succeeds(
                self.command(Path::new("/bin/sh"))
                    .args(["-c", "cd -- \"$0\" && test -w ."])
                    .arg(dir),
            )
    }
}

/// An account by name, from the text of `/etc/passwd`.
fn account(passwd: &str, name: &str) -> Option<RunAs> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(RunAs::Account {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{RunAs, account};

    #[test]
    fn finds_an_account_by_its_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgresql:x:7:8::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        let expected = RunAs::Account {
            name: "postgres".to_owned(),
            uid: 101,
            gid: 104,
        };
        assert_eq!(account(passwd, "postgres"), Some(expected));
        assert_eq!(account(passwd, "nobody"), None);
    }
}
