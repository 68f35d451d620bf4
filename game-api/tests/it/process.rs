//! The program itself: its help, its exit codes, its end.

use std::process::Stdio;
use std::time::Duration;

use sqlx::{ConnectOptions as _, PgPool};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::KEY;

/// Longer than any start and end takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program with no variable but these.
fn game_api(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_game-api"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Exit code, standard output, standard error.
async fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn help_lists_the_variables_of_each_command() {
    let (code, text, _) = run(game_api(&["--help"], &[])).await;
    assert_eq!(code, Some(0));
    for variable in game_api::config::VARIABLES {
        assert!(text.contains(variable.name), "{}", variable.name);
    }
    let (code, text, _) = run(game_api(&["migrate", "--help"], &[])).await;
    assert_eq!(code, Some(0));
    assert!(text.contains("--roles") && text.contains("FOGLINE_RELAY_PASSWORD"));
    assert!(!text.contains("FOGLINE_KEYS"));
}

#[tokio::test]
async fn a_bad_variable_is_code_64_and_a_sentence() {
    let good = [
        ("DATABASE_URL", "postgres://nobody:secret@127.0.0.1:1/none"),
        ("NATS_URL", "nats://127.0.0.1:1"),
        ("FOGLINE_KEYS", KEY),
    ];
    for (name, value) in [
        ("FOGLINE_KEYS", "k:c2VjcmV0"),
        ("LISTEN_ADDR", "nowhere"),
        ("DATABASE_URL", ""),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("LOG_FORMAT", "xml"),
    ] {
        let mut variables = good.to_vec();
        variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"));
        variables.push((name, value));
        let (code, _, errors) = run(game_api(&[], &variables)).await;
        assert_eq!(code, Some(64), "{name}: {errors}");
        assert!(errors.contains(name), "{errors}");
        assert!(
            !errors.contains("secret") && !errors.contains("c2VjcmV0"),
            "{errors}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_code_1() {
    let unreachable = [
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
        ("MIGRATE_WAIT_MS", "100"),
    ];
    let (code, _, errors) = run(game_api(&["migrate"], &unreachable)).await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("Postgres could not be reached"), "{errors}");
}

#[sqlx::test(migrations = false)]
async fn it_migrates_serves_and_ends_on_sigterm(pool: PgPool) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let (code, _, errors) = run(game_api(&["migrate"], &[("DATABASE_URL", &url)])).await;
    assert_eq!(code, Some(0), "{errors}");
    let variables = [
        ("DATABASE_URL", url.as_str()),
        ("NATS_URL", "nats://127.0.0.1:1"),
        ("FOGLINE_KEYS", KEY),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("OPS_ADDR", "127.0.0.1:0"),
    ];
    let mut child = game_api(&[], &variables).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = async {
        while let Some(line) = errors.next_line().await.unwrap() {
            if line.contains("ready") && !line.contains("not ready") {
                return;
            }
        }
        panic!("it ended before it was ready");
    };
    timeout(PATIENCE, ready).await.unwrap();
    let pid = child.id().unwrap().to_string();
    let signalled = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(signalled.unwrap().success());
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}
