//! How many moves are accepted through WebSocket, with the load generator beside the server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use e2e::environment;
use e2e::provision::PostgresBinaries;
use sqlx::PgPool;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::ground::Ground;
use super::table::Table;
use crate::bench::report::{Bound, Budget, Report};
use crate::bench::{Load, rig};

/// Games in which somebody is always about to move.
const GAMES: usize = 500;
/// How long moves are counted, milliseconds.
const LASTING_MS: u64 = 15_000;
/// What is sent in the first seconds is not counted.
const WARMING: Duration = Duration::from_secs(5);
/// More than a game gets to in that time.
const MOVES_MAX: usize = 600;
/// Clients of pgbench.
const CLIENTS: u32 = 64;
/// Games of the reference.
const PGBENCH_GAMES: u32 = 5_000;

/// The tables of the reference: what a move reads and writes, and nothing else.
const TABLES: [&str; 4] = [
    "create table bench_games (id int primary key, seq bigint not null, state text not null)",
    "create table bench_events (game_id int, seq bigint, payload text not null,
        recorded_at timestamptz not null default statement_timestamp(), primary key (game_id, seq))",
    "create table bench_outbox (id bigint generated always as identity primary key,
        key text not null, payload text not null)",
    "insert into bench_games select n, 0, repeat('x', 400) from generate_series(1, $1) n",
];
/// The transaction: five statements, each a round trip.
const TRANSACTION: &str = "\
\\set game random(1, GAMES)
begin;
update bench_games set seq = seq + 1, state = repeat('y', 400) where id = :game returning seq \\gset
insert into bench_events (game_id, seq, payload) values (:game, :seq, repeat('z', 700));
insert into bench_outbox (key, payload) values ('game.' || :game, repeat('z', 900));
commit;
";

pub(super) async fn measure(ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
    // Fewer games would each get to more moves than a script has.
    let lasting = Duration::from_millis(load.of(LASTING_MS));
    report.section(format!(
        "moves in {GAMES} games, each player's next one as soon as the last was seen"
    ));
    let accepted = accepted(ground, lasting).await?;
    report.figure("accepted through WebSocket", accepted, "moves/s");
    for gateway in &ground.stack.gateways {
        gateway.end().await;
    }
    let reference = pgbench(ground, lasting).await?;
    report.figure(
        format!("pgbench, {CLIENTS} clients, five statements"),
        reference,
        "tx/s",
    );
    report.budget(Budget {
        name: "accepted moves/s ÷ pgbench".to_owned(),
        value: accepted / reference,
        unit: "",
        must: Bound::AtLeast(1.0),
        aim: Bound::AtLeast(2.0),
    });
    Ok(())
}

async fn accepted(ground: &Ground, lasting: Duration) -> Result<f64> {
    let tables = Table::seat(ground, [0, 0], GAMES, MOVES_MAX).await?;
    let from = Instant::now() + WARMING;
    let until = from + lasting;
    let mut playing = JoinSet::new();
    for mut table in tables {
        playing.spawn(async move {
            let mut counted = 0_u64;
            while Instant::now() < until {
                if table.play().await?.is_none() {
                    bail!("a game has no more moves");
                }
                let now = Instant::now();
                counted += u64::from(now >= from && now < until);
            }
            Ok(counted)
        });
    }
    let mut accepted = 0;
    while let Some(counted) = playing.join_next().await {
        accepted += counted.context("a game's task")??;
    }
    Ok(accepted as f64 / lasting.as_secs_f64())
}

async fn pgbench(ground: &Ground, lasting: Duration) -> Result<f64> {
    let pool = rig::database(&ground.stack).await?;
    make_tables(&pool).await?;
    pool.close().await;
    let dir = ground.stack.run_dir().path();
    let script = dir.join("transaction.sql");
    let transaction = TRANSACTION.replace("GAMES", &PGBENCH_GAMES.to_string());
    std::fs::write(&script, transaction).context("pgbench's script")?;
    let binaries = PostgresBinaries::provision(&environment::target_dir().join("tools"))?;
    let output = Command::new(binaries.bin_dir.join("pgbench"))
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={CLIENTS}"))
        .arg(format!("--time={}", lasting.as_secs().max(1)))
        .arg("--file")
        .arg(&script)
        .arg(&ground.stack.postgres_addresses.owner_url)
        .output()
        .await
        .context("pgbench stands beside the server and cannot be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tps = text.lines().find_map(|line| {
        let number = line.strip_prefix("tps = ")?.split(' ').next()?;
        number.parse().ok()
    });
    tps.with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("pgbench says no tps: {text}{said}")
    })
}

async fn make_tables(pool: &PgPool) -> Result<()> {
    let [games, events, outbox, rows] = TABLES;
    for statement in [games, events, outbox] {
        sqlx::query(statement).execute(pool).await?;
    }
    sqlx::query(rows)
        .bind(i32::try_from(PGBENCH_GAMES)?)
        .execute(pool)
        .await?;
    sqlx::query("checkpoint").execute(pool).await?;
    Ok(())
}
