//! The supervisor's promises, on a child that needs nothing else: nats-server.

use std::time::{Duration, Instant};

use e2e::supervisor::{Child, State};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::harness::nats;

/// `kill -9` by somebody else; returns when the supervisor has noticed.
async fn die(child: &Child) {
    let mut states = child.states();
    let pid = Pid::from_raw(child.pid().expect("running")).expect("a pid");
    states.borrow_and_update();
    kill_process(pid, Signal::KILL).expect("killed");
    states.changed().await.expect("noticed");
}

#[tokio::test]
async fn a_child_that_dies_is_back_within_a_second_five_times_and_then_given_up() {
    let (_run_dir, nats) = nats().await;
    for nth in 1..=5 {
        let before = nats.child.pid().expect("running");
        die(&nats.child).await;
        let died = Instant::now();
        nats.child.ready().await.expect("back");
        assert!(
            died.elapsed() < Duration::from_millis(1500),
            "restart {nth} took {:?}",
            died.elapsed()
        );
        assert_ne!(nats.child.pid(), Some(before));
    }
    die(&nats.child).await;
    let why = nats.child.ready().await.expect_err("given up").to_string();
    assert!(
        why.contains("left down") && why.contains("Server is ready"),
        "{why}"
    );
    assert!(matches!(*nats.child.states().borrow(), State::GivenUp(_)));
}

#[tokio::test]
async fn what_is_ended_on_purpose_stays_down_until_it_is_started() {
    let (_run_dir, nats) = nats().await;
    nats.child.end().await;
    assert_eq!(nats.child.pid(), None);
    nats.child.start_again().await.expect("started");
    nats.child.freeze().await;
    nats.child.thaw().await;
    nats.child.kill_and_hold().await;
    assert_eq!(nats.child.pid(), None);
    nats.child.start_again().await.expect("started");
}

#[tokio::test]
async fn a_dropped_stack_leaves_no_process_and_no_directory() {
    let (run_dir, nats) = nats().await;
    let pid = Pid::from_raw(nats.child.pid().expect("running")).expect("a pid");
    let path = run_dir.path().to_path_buf();
    drop(nats);
    assert!(test_kill_process(pid).is_err(), "still there");
    drop(run_dir);
    assert!(!path.exists());
}
