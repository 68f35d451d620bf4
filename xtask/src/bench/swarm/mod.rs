//! The load generator's readers: thousands of sockets in this process, as cheap as can be, since they
//! share the machine with what they measure. Frames are told apart by their first bytes.

pub(crate) mod frames;
pub(crate) mod tally;
pub(crate) mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use tally::Tally;
use wire::{Dial, Wire};

/// Connections that are opened at a time: fewer than a listener's queue holds.
const OPENING_MAX: usize = 256;
/// All sockets are open and subscribed by then.
const OPEN_DEADLINE: Duration = Duration::from_mins(2);
/// One in so many sockets takes delays.
const TIMED_EVERY: usize = 16;
/// Between two looks at a count.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One socket.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// Where it connects.
    pub(crate) dial: Dial,
    /// What it says at the beginning.
    pub(crate) hello: Arc<[u8]>,
    /// What it does then.
    pub(crate) manner: Manner,
}

/// What a socket does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Reads frames of WebSocket.
    Frames,
    /// Counts bytes; so many make a frame.
    Bytes(u64),
    /// Never reads.
    Deaf,
}

/// Many sockets. They end when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Swarm {
    pub(crate) tally: Arc<Tally>,
    sockets: JoinSet<Result<()>>,
}

impl Swarm {
    /// Opens sockets, and waits until each has said its hello.
    ///
    /// # Errors
    /// One cannot be opened.
    pub(crate) async fn join(&mut self, visitors: impl Iterator<Item = Visitor>) -> Result<()> {
        let places = Arc::new(Semaphore::new(OPENING_MAX));
        let mut opening = JoinSet::new();
        for visitor in visitors {
            let places = Arc::clone(&places);
            opening.spawn(async move {
                let _place = places.acquire_owned().await?;
                let mut wire = match visitor.manner {
                    Manner::Deaf => Wire::open_narrow(&visitor.dial).await?,
                    Manner::Frames | Manner::Bytes(_) => Wire::open(&visitor.dial).await?,
                };
                wire.send(&visitor.hello).await?;
                anyhow::Ok((wire, visitor))
            });
        }
        while let Some(opened) = opening.join_next().await {
            let (wire, visitor) = opened.context("a socket's task")??;
            let tally = Arc::clone(&self.tally);
            self.sockets.spawn(follow(wire, visitor, tally));
        }
        Ok(())
    }

    /// Waits until so many subscriptions were answered in all.
    ///
    /// # Errors
    /// They are not in time, or a socket ended.
    pub(crate) async fn subscribed(&self, count: u64) -> Result<()> {
        let begun = Instant::now();
        loop {
            let subscribed = self.tally.subscribed.load(Ordering::Relaxed);
            if subscribed >= count {
                return Ok(());
            }
            let ended = self.tally.ended.load(Ordering::Relaxed);
            if ended > 0 || begun.elapsed() > OPEN_DEADLINE {
                bail!("{subscribed} of {count} sockets are subscribed, {ended} have ended");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until so many events have come in all.
    ///
    /// # Errors
    /// They have not by the deadline.
    pub(crate) async fn events(&self, count: u64, deadline: Duration) -> Result<()> {
        let begun = Instant::now();
        while self.tally.events() < count {
            if begun.elapsed() > deadline {
                let came = self.tally.events();
                bail!("{came} of {count} events came within {deadline:?}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

async fn follow(mut wire: Wire, visitor: Visitor, tally: Arc<Tally>) -> Result<()> {
    let timed = visitor.dial.nth.is_multiple_of(TIMED_EVERY);
    match visitor.manner {
        Manner::Frames => {
            while wire
                .receive(|opcode, payload| {
                    if opcode == frames::TEXT {
                        tally.text(payload, timed);
                    }
                })
                .await
            {}
        }
        Manner::Bytes(of_a_frame) => {
            let mut left = 0;
            loop {
                let count = wire.count().await;
                if count == 0 {
                    break;
                }
                left += count as u64;
                tally.events.fetch_add(left / of_a_frame, Ordering::Relaxed);
                left %= of_a_frame;
            }
        }
        Manner::Deaf => {
            wire.hold().await;
            return Ok(());
        }
    }
    tally.ended.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// The client's message that subscribes to a game.
pub(crate) fn subscribe(game: uuid::Uuid, cursor: Option<&str>) -> Arc<[u8]> {
    let cursor = cursor
        .map(|cursor| format!(r#","cursor":"{cursor}""#))
        .unwrap_or_default();
    let text = format!(r#"{{"type":"subscribe","ref":"s","topic":"game:{game}"{cursor}}}"#);
    frames::text(&text).into()
}
