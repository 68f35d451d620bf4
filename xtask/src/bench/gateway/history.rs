//! What a long log costs: the same moves before and after it has grown to millions of events.

use std::time::Duration;

use anyhow::{Context as _, Result};
use e2e::load::Latencies;
use e2e::supervisor::Child;
use sqlx::PgPool;

use super::delivery::Pace;
use super::ground::Ground;
use super::table::Moved;
use crate::bench::machine::cpu_of_tree;
use crate::bench::report::{Bound, Budget, Report};
use crate::bench::{Load, rig};

/// Games; each makes a move when its turn has come.
const GAMES: u64 = 250;
/// Moves a second, of all games together.
const PER_SECOND: u64 = 500;
/// How long: some ten thousand events.
const LASTING: Duration = Duration::from_secs(20);
/// What is sent in the first seconds is not counted.
const WARMING: Duration = Duration::from_secs(5);
/// What the log has grown to then.
const EVENTS: u64 = 10_000_000;
/// Events of each game that is made up; each of the games that were played has as many.
const EVENTS_A_GAME: u64 = 40;
/// Games that are made up in one transaction.
const GAMES_AT_ONCE: u64 = 500;

/// Finished games of players that are nobody, after the pattern of one that was played.
const MAKE_GAMES: &str = "
with pattern as materialized (
    select g as game, g.shard, g.id from games g where g.seq > $2 order by g.id limit 1
), fresh as materialized (
    select gen_random_uuid() as id, gen_random_uuid() as white_id, gen_random_uuid() as black_id
    from generate_series(1, $1)
), placed as materialized (
    select f.*, fogline_shard('game.' || f.id) as shard from fresh f
), made as (
    insert into games
    select made.* from pattern g, placed p, jsonb_populate_record(g.game, jsonb_build_object(
        'shard', p.shard, 'id', p.id, 'code', left(p.id::text, 8), 'status', 'finished',
        'white_id', p.white_id, 'black_id', p.black_id, 'creator_id', p.white_id, 'running', null,
        'flag_at', null, 'turn_started_at', null, 'ended_at', statement_timestamp())) made
), results as (
    insert into game_results (shard, game_id, winner, reason, white_id, black_id, rated)
    select shard, id, 'white', 'king_captured', white_id, black_id, false from placed
), whose as (
    insert into player_games (player_id, game_id, status)
    select player_id, id, 'finished' from placed, unnest(array[white_id, black_id]) player_id
)
insert into game_events (shard, game_id, seq, event_id, command_id, kind, actor, by, action, payload,
                         n_white, n_black, n_public, white_ms, black_ms, running)
select p.shard, p.id, e.seq, gen_random_uuid(), gen_random_uuid(), e.kind, p.white_id, e.by, e.action,
       e.payload, e.n_white, e.n_black, e.n_public, e.white_ms, e.black_ms, e.running
from pattern g join game_events e on e.shard = g.shard and e.game_id = g.id and e.seq <= $2,
     placed p";

/// What moves took.
struct Cost {
    /// Processor time of gateways, relays and servers, microseconds a move.
    cpu_micros: f64,
    to_ack: Latencies,
    since_commit: Latencies,
}

pub(super) async fn measure(ground: &Ground, load: Load, report: &mut Report) -> Result<()> {
    let pool = rig::database(&ground.stack).await?;
    let pace = Pace {
        games: load.of(GAMES),
        per_second: load.of(PER_SECOND),
        lasting: LASTING,
        warming: WARMING,
    };
    let few = play(ground, pace).await?;
    tell(&pool, pace, &few, report).await?;
    grow(&pool, load.of(EVENTS)).await?;
    let many = play(ground, pace).await?;
    tell(&pool, pace, &many, report).await?;
    let millis = |latencies: &Latencies| latencies.percentile(50).as_secs_f64();
    for (name, ratio) in [
        ("processor time of a move", many.cpu_micros / few.cpu_micros),
        (
            "command to ack, p50",
            millis(&many.to_ack) / millis(&few.to_ack),
        ),
        (
            "commit to opponent, p50",
            millis(&many.since_commit) / millis(&few.since_commit),
        ),
    ] {
        report.budget(Budget {
            name: format!("{name}, many logged events ÷ few"),
            value: ratio,
            unit: "",
            must: Bound::AtMost(1.3),
            aim: Bound::AtMost(1.1),
        });
    }
    pool.close().await;
    Ok(())
}

async fn play(ground: &Ground, pace: Pace) -> Result<Cost> {
    let tables = pace.seat(ground).await?;
    let before = cpu(ground);
    let shown = pace.start(tables).end().await?;
    let used = cpu(ground).saturating_sub(before);
    // Those of the first seconds are not in what is shown, and cost as much.
    let moves = pace.per_second as f64 * pace.lasting.as_secs_f64();
    let of = |part: fn(&Moved) -> Duration| Latencies::new(shown.iter().map(part).collect());
    Ok(Cost {
        cpu_micros: used.as_secs_f64() * 1e6 / moves,
        to_ack: of(|shown| shown.to_ack),
        since_commit: of(|shown| shown.since_commit),
    })
}

/// The processor time of everything that serves.
fn cpu(ground: &Ground) -> Duration {
    let stack = &ground.stack;
    let services = stack.gateways.iter().chain(&stack.relays);
    let servers = [
        stack.postgres.as_ref().map(|postgres| &postgres.child),
        stack.nats.as_ref().map(|nats| &nats.child),
    ];
    services
        .chain(servers.into_iter().flatten())
        .filter_map(Child::pid)
        .map(cpu_of_tree)
        .sum()
}

/// Has the log grow to so many events, and the database settle.
async fn grow(pool: &PgPool, events: u64) -> Result<()> {
    let games = events / EVENTS_A_GAME;
    let mut made = 0;
    while made < games {
        let count = GAMES_AT_ONCE.min(games - made);
        sqlx::query(MAKE_GAMES)
            .bind(i64::try_from(count)?)
            .bind(i64::try_from(EVENTS_A_GAME)?)
            .execute(pool)
            .await
            .context("games could not be made up")?;
        made += count;
        if made.is_multiple_of(GAMES_AT_ONCE * 50) {
            tracing::info!("{made} of {games} games are made up");
        }
    }
    for statement in [
        "vacuum (analyze) game_events",
        "vacuum (analyze) games",
        "vacuum (analyze) player_games",
        "checkpoint",
    ] {
        sqlx::query(statement).execute(pool).await?;
    }
    Ok(())
}

async fn tell(pool: &PgPool, pace: Pace, cost: &Cost, report: &mut Report) -> Result<()> {
    let events: i64 = sqlx::query_scalar("select count(*) from game_events")
        .fetch_one(pool)
        .await?;
    report.section(format!(
        "{} moves/s in {} games, {events} events in the log in the end",
        pace.per_second, pace.games
    ));
    report.figure(
        "processor time of all but the load",
        cost.cpu_micros,
        "µs/move",
    );
    for (name, latencies) in [
        ("command to ack", &cost.to_ack),
        ("commit to opponent", &cost.since_commit),
    ] {
        for percent in [50, 99] {
            let millis = latencies.percentile(percent).as_secs_f64() * 1e3;
            report.figure(format!("{name}, p{percent}"), millis, "ms");
        }
    }
    Ok(())
}
