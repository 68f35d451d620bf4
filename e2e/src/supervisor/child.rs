//! A supervised child: watched, restarted when it dies, ended when asked; and the faults that tests
//! and chaos runs put it through.

use std::fmt::Write as _;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::budget::RestartBudget;
use super::process::{Ended, InWords, Killer, Launch, Process};
use super::readiness::Readiness;

/// Requests that wait for a child's turn; callers wait for the answer, so few ever stand here.
const REQUESTS_MAX: usize = 16;
/// Lines of a failed child's log that are shown.
const LOG_LINES_SHOWN: usize = 25;

/// What a child is, and how it is started, asked and ended.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Its name in messages, such as `relay 2`.
    pub name: String,
    /// How it is started.
    pub launch: Launch,
    /// When it is ready.
    pub readiness: Readiness,
    /// How long it may take to become ready.
    pub ready_deadline: Duration,
    /// The signal that asks it to end.
    pub end_signal: Signal,
    /// How long it may take to end when asked.
    pub end_deadline: Duration,
}

/// Where a child stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Started, and not known to be ready.
    Starting {
        /// Its process id.
        pid: i32,
    },
    /// Ready.
    Up {
        /// Its process id.
        pid: i32,
    },
    /// Not running: ended on request, or between a death and the restart.
    Down,
    /// Died too often, or never became ready: it is not restarted any more. Why, in a sentence.
    GivenUp(String),
}

enum Request {
    Start,
    End {
        hold: oneshot::Sender<Option<Ended>>,
    },
    Kill {
        restart: bool,
        done: oneshot::Sender<()>,
    },
    Signal {
        signal: Signal,
        done: oneshot::Sender<()>,
    },
}

impl Request {
    /// Answers a request to a child that does not run: there is nothing to be done.
    fn decline(self) {
        match self {
            Self::Start => {}
            Self::End { hold } => {
                let _ = hold.send(None);
            }
            Self::Kill { done, .. } | Self::Signal { done, .. } => {
                let _ = done.send(());
            }
        }
    }
}

/// A handle to a supervised child. When the handle is dropped, the child is killed.
#[derive(Debug)]
pub struct Child {
    name: String,
    launch: Launch,
    ready_deadline: Duration,
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
    running: Running,
    deaths: Deaths,
    supervision: JoinSet<()>,
}

/// How often a child has ended without having been asked to.
type Deaths = Arc<AtomicU64>;

/// The process that runs now, for whoever must kill it without a runtime: a panicking test.
type Running = Arc<Mutex<Option<Killer>>>;

impl Drop for Child {
    fn drop(&mut self) {
        self.supervision.abort_all();
        if let Some(killer) = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            killer.kill();
        }
    }
}

impl Child {
    /// Starts a child and its supervision; does not wait until it is ready.
    #[must_use]
    pub fn start(spec: ChildSpec) -> Self {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (states, state) = watch::channel(State::Down);
        let name = spec.name.clone();
        let launch = spec.launch.clone();
        let ready_deadline = spec.ready_deadline;
        let (running, deaths) = (Running::default(), Deaths::default());
        let mut supervision = JoinSet::new();
        let task = Supervision {
            spec,
            requests: inbox,
            states,
            running: Arc::clone(&running),
            deaths: Arc::clone(&deaths),
            budget: RestartBudget::default(),
            was_ready_before: false,
        };
        supervision.spawn(task.run());
        Self {
            name,
            launch,
            ready_deadline,
            requests,
            state,
            running,
            deaths,
            supervision,
        }
    }

    /// How often it has ended without having been asked to, by signal or by itself.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it stands now, and every change.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        match *self.state.borrow() {
            State::Starting { pid } | State::Up { pid } => Some(pid),
            State::Down | State::GivenUp(_) => None,
        }
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// It was given up, or the deadline passed; with the last lines of its log.
    pub async fn ready(&self) -> Result<()> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| matches!(state, State::Up { .. } | State::GivenUp(_)));
        match tokio::time::timeout(self.ready_deadline, settled).await {
            Ok(Ok(settled)) => match &*settled {
                State::GivenUp(why) => bail!("{why}"),
                _ => Ok(()),
            },
            Ok(Err(_)) => bail!("{} is not supervised any more", self.name),
            Err(_) => bail!(
                "{} was not ready within {} s; its last words:\n{}",
                self.name,
                self.ready_deadline.as_secs(),
                self.log_tail()
            ),
        }
    }

    /// Asks it to end, waits until it has (or kills it at its deadline), and leaves it down. Gives
    /// how it ended, if it was running.
    pub async fn end(&self) -> Option<Ended> {
        self.ask(|hold| Request::End { hold }).await.flatten()
    }

    /// Starts it again after [`Child::end`] or [`Child::kill_and_hold`], and waits until it is ready.
    ///
    /// # Errors
    /// As [`Child::ready`].
    pub async fn start_again(&self) -> Result<()> {
        let mut state = self.state.clone();
        let _ = self.requests.send(Request::Start).await;
        let _ = state.wait_for(|state| *state != State::Down).await;
        self.ready().await
    }

    /// Ends it, and starts it again.
    ///
    /// # Errors
    /// As [`Child::ready`].
    pub async fn restart(&self) -> Result<()> {
        self.end().await;
        self.start_again().await
    }

    /// `kill -9`, and lets the supervisor restart it. Returns when it is dead.
    pub async fn kill(&self) {
        self.ask(|done| Request::Kill {
            restart: true,
            done,
        })
        .await;
    }

    /// `kill -9`, and keeps it down. Returns when it is dead.
    pub async fn kill_and_hold(&self) {
        self.ask(|done| Request::Kill {
            restart: false,
            done,
        })
        .await;
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub async fn freeze(&self) {
        self.ask(|done| Request::Signal {
            signal: Signal::STOP,
            done,
        })
        .await;
    }

    /// SIGCONT.
    pub async fn thaw(&self) {
        self.ask(|done| Request::Signal {
            signal: Signal::CONT,
            done,
        })
        .await;
    }

    /// The file that all its lives write to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.launch.log_tail(LOG_LINES_SHOWN)
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (done, answer) = oneshot::channel();
        self.requests.send(request(done)).await.ok()?;
        answer.await.ok()
    }
}

/// The task behind a [`Child`].
struct Supervision {
    spec: ChildSpec,
    requests: mpsc::Receiver<Request>,
    states: watch::Sender<State>,
    running: Running,
    deaths: Deaths,
    budget: RestartBudget,
    was_ready_before: bool,
}

/// Why a running child stopped running.
enum Over {
    Died(ExitStatus),
    NotReady,
    Wanted { restart: bool },
    NobodyCares,
}

type BoxedWait = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Supervision {
    async fn run(mut self) {
        loop {
            let over = match self.spec.launch.start() {
                Ok(process) => self.watch(process).await,
                Err(error) => return self.give_up(format!("{}: {error:#}", self.spec.name)).await,
            };
            let restart = match over {
                Over::NobodyCares => return,
                Over::Wanted { restart } => restart,
                Over::NotReady => {
                    let seconds = self.spec.ready_deadline.as_secs();
                    return self
                        .give_up(self.with_log(&format!("was not ready within {seconds} s")))
                        .await;
                }
                Over::Died(status) => match self.after_death(status).await {
                    Ok(()) => true,
                    Err(why) => return self.give_up(why).await,
                },
            };
            if !restart && !self.wait_for_start().await {
                return;
            }
        }
    }

    /// Watches a running process until it runs no more.
    async fn watch(&mut self, mut process: Process) -> Over {
        let pid = process.pid();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(process.killer());
        self.states.send_replace(State::Starting { pid });
        let started = Instant::now();
        let readiness = self.spec.readiness.clone();
        let mut ready: BoxedWait = Box::pin(async move { readiness.wait().await });
        let too_late = tokio::time::sleep(self.spec.ready_deadline);
        tokio::pin!(too_late);
        let mut is_ready = false;
        loop {
            tokio::select! {
                biased;
                status = process.exited() => {
                    self.deaths.fetch_add(1, Ordering::Relaxed);
                    self.states.send_replace(State::Down);
                    return Over::Died(status);
                }
                request = self.requests.recv() => match self.obey(request, process).await {
                    Ok(still_running) => process = still_running,
                    Err(over) => return over,
                },
                () = &mut ready, if !is_ready => {
                    is_ready = true;
                    self.states.send_replace(State::Up { pid });
                    if self.was_ready_before {
                        tracing::info!("{} is ready again after {:.1} s", self.spec.name, started.elapsed().as_secs_f32());
                    }
                    self.was_ready_before = true;
                }
                // Later on it may wait for another part of the stack that is down.
                () = &mut too_late, if !self.was_ready_before => {
                    drop(process);
                    self.states.send_replace(State::Down);
                    return Over::NotReady;
                }
            }
        }
    }

    /// Does what is asked of a running process. `Err` when it runs no more.
    async fn obey(
        &mut self,
        request: Option<Request>,
        mut process: Process,
    ) -> Result<Process, Over> {
        match request {
            None => {
                drop(process);
                Err(Over::NobodyCares)
            }
            Some(Request::Start) => Ok(process),
            Some(Request::Signal { signal, done }) => {
                tracing::info!("{} gets {signal:?}", self.spec.name);
                process.signal_all(signal);
                let _ = done.send(());
                Ok(process)
            }
            Some(Request::Kill { restart, done }) => {
                tracing::info!("{} gets kill -9", self.spec.name);
                process.signal_all(Signal::KILL);
                process.exited().await;
                self.states.send_replace(State::Down);
                let _ = done.send(());
                Err(Over::Wanted { restart })
            }
            Some(Request::End { hold }) => {
                let ended = process
                    .end(self.spec.end_signal, self.spec.end_deadline)
                    .await;
                self.states.send_replace(State::Down);
                if ended.killed {
                    tracing::warn!(
                        "{} did not end within {} s and was killed",
                        self.spec.name,
                        self.spec.end_deadline.as_secs()
                    );
                } else if !ended.status.success() {
                    tracing::warn!(
                        "{} {} when asked to end",
                        self.spec.name,
                        InWords(ended.status)
                    );
                }
                let _ = hold.send(Some(ended));
                Err(Over::Wanted { restart: false })
            }
        }
    }

    /// Says that it died, and waits as long as the budget says; or why it is given up.
    async fn after_death(&mut self, status: ExitStatus) -> Result<(), String> {
        let what = InWords(status);
        if !self.was_ready_before {
            return Err(self.with_log(&format!("{what} before it was ready")));
        }
        let Some((count, delay)) = self.budget.take(Instant::now()) else {
            let limit = RestartBudget::in_words();
            return Err(self.with_log(&format!(
                "{what}; it was restarted {limit} already and is left down"
            )));
        };
        let limit = RestartBudget::in_words();
        tracing::warn!(
            "{} {what}: restarting it ({count}, at most {limit})",
            self.spec.name
        );
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Answers requests while the child is down; whether it shall start again.
    async fn wait_for_start(&mut self) -> bool {
        loop {
            match self.requests.recv().await {
                None => return false,
                Some(Request::Start) => return true,
                Some(request) => request.decline(),
            }
        }
    }

    /// Says why, and answers requests until nobody asks any more.
    async fn give_up(&mut self, why: String) {
        if self.was_ready_before {
            tracing::error!("{why}");
        }
        self.states.send_replace(State::GivenUp(why));
        while let Some(request) = self.requests.recv().await {
            request.decline();
        }
    }

    fn with_log(&self, what: &str) -> String {
        let mut text = format!("{} {what}", self.spec.name);
        let tail = self.spec.launch.log_tail(LOG_LINES_SHOWN);
        if !tail.is_empty() {
            let _ = write!(text, "; its last words:\n{}", tail.trim_end());
        }
        text
    }
}

/// Waits until one of several children is given up.
///
/// # Errors
/// Always, with why.
pub async fn first_given_up(states: Vec<watch::Receiver<State>>) -> Result<()> {
    let waits = states.into_iter().map(|state| Box::pin(given_up(state)));
    let (why, _, _) = futures_util::future::select_all(waits).await;
    bail!("{why}")
}

async fn given_up(mut state: watch::Receiver<State>) -> String {
    loop {
        if let State::GivenUp(why) = &*state.borrow_and_update() {
            return why.clone();
        }
        if state.changed().await.is_err() {
            // Ended with its stack.
            return std::future::pending().await;
        }
    }
}
