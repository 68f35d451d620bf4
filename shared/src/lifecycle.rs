//! The one supervised way to spawn, and an orderly end: soft token (drain), tracker, deadline,
//! hard token. A worker that panics or ends early stops the process with an error.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A worker that panicked or ended before it was told to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("worker {worker} {what}")]
pub struct WorkerFailed {
    /// The worker's name.
    pub worker: &'static str,
    /// What it did: `panicked: …` or `ended early`.
    pub what: String,
}

/// The process's tasks and how they are told to stop. Clones share one life.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tracker: TaskTracker,
    failure: Arc<Mutex<Option<WorkerFailed>>>,
}

impl Lifecycle {
    /// A life that has just begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when draining begins: finish what is in flight, take nothing new.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// Cancelled when the deadline of the drain has passed: stop at once.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Begins the drain.
    pub fn drain(&self) {
        self.soft.cancel();
    }

    /// Runs a worker that must live until the drain. A panic or an early end is a failure of the
    /// process.
    pub fn spawn_worker(
        &self,
        name: &'static str,
        worker: impl Future<Output = ()> + Send + 'static,
    ) {
        let life = self.clone();
        self.spawn_tracked(async move {
            let ended = AssertUnwindSafe(worker).catch_unwind().await;
            match ended {
                Err(panic) => life.fail(name, format!("panicked: {}", panic_text(&*panic))),
                Ok(()) if !life.soft.is_cancelled() => life.fail(name, "ended early".to_owned()),
                Ok(()) => {}
            }
        });
    }

    /// Runs a task that ends by itself (a connection, a room). A panic is a failure of the process.
    pub fn spawn_task(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let life = self.clone();
        self.spawn_tracked(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                life.fail(name, format!("panicked: {}", panic_text(&*panic)));
            }
        });
    }

    /// Waits for SIGTERM, SIGINT or a failed worker, then drains: at most `deadline` until the
    /// hard token, and one second more for what heeds it.
    ///
    /// # Errors
    /// The first worker that failed.
    pub async fn run_until_signal(&self, deadline: Duration) -> Result<(), WorkerFailed> {
        tokio::select! {
            () = self.soft.cancelled() => {}
            name = stop_signal() => tracing::info!(signal = name, "draining"),
        }
        self.finish(deadline).await
    }

    /// Drains now and waits for the tasks.
    ///
    /// # Errors
    /// The first worker that failed.
    pub async fn finish(&self, deadline: Duration) -> Result<(), WorkerFailed> {
        /// Tasks only have to notice the hard token; what takes longer is abandoned.
        const HARD_STOP_MAX: Duration = Duration::from_secs(1);
        self.soft.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks = self.tracker.len(),
                "drain deadline passed, stopping what is left"
            );
            self.hard.cancel();
            let _ = tokio::time::timeout(HARD_STOP_MAX, self.tracker.wait()).await;
        }
        self.hard.cancel();
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        failure.map_or(Ok(()), Err)
    }

    fn spawn_tracked(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    fn fail(&self, worker: &'static str, what: String) {
        let failed = WorkerFailed { worker, what };
        tracing::error!(%failed, "a worker failed, the process stops");
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(failed);
        self.soft.cancel();
    }
}

async fn stop_signal() -> &'static str {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_ends_early_stops_the_process_with_its_name() {
        let life = Lifecycle::new();
        life.spawn_worker("sweeper", async {});
        let failure = life
            .run_until_signal(Duration::from_secs(5))
            .await
            .unwrap_err();
        assert_eq!(failure.to_string(), "worker sweeper ended early");
    }

    #[tokio::test]
    async fn a_panic_is_reported_with_its_message() {
        let life = Lifecycle::new();
        life.spawn_task("room", async { panic!("boom") });
        let failure = life
            .run_until_signal(Duration::from_secs(5))
            .await
            .unwrap_err();
        assert_eq!(failure.to_string(), "worker room panicked: boom");
    }

    #[tokio::test]
    async fn what_ignores_the_drain_gets_the_hard_token() {
        let life = Lifecycle::new();
        let hard = life.stopping();
        life.spawn_task("stubborn", async move { hard.cancelled().await });
        assert!(life.finish(Duration::from_millis(10)).await.is_ok());
    }
}
