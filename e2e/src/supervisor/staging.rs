//! Where a nats-server puts atomic batches that are not complete yet.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Where a nats-server with one replica stages the messages of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// Beside the stream, the server's default: it writes and syncs a small store for each batch.
    Disk,
    /// In memory, as deployments mount it (docs/outbox.md).
    Memory,
}

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// Has a server that does not run yet stage the batches of the stream `EVENTS` in memory, until what
/// is returned is dropped. A server that recovers the stream goes back to its own directory.
///
/// # Errors
/// There is no file system in memory, or no right to write to it or to the server's store.
pub(super) fn stage_in_memory(store: &Path) -> Result<TempDir> {
    let staged = tempfile::Builder::new()
        .prefix("fogline-staged-")
        .tempdir_in(MEMORY)
        .with_context(|| format!("{MEMORY} cannot be written to"))?;
    let stream = store.join("jetstream/$G/streams/EVENTS");
    fs::create_dir_all(&stream)
        .and_then(|()| symlink(staged.path(), stream.join("batches")))
        .with_context(|| format!("{} cannot be written to", stream.display()))?;
    Ok(staged)
}
