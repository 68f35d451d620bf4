//! The database's log.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

/// Pause between two looks at the outbox.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One event of a game's log.
#[derive(Clone, Debug)]
pub struct LogRow {
    /// Its sequence number: 1, 2, 3 …
    pub seq: i64,
    /// Its id, the same in the stream.
    pub event_id: Uuid,
    /// The command that made it.
    pub command_id: Uuid,
    /// `created`, `joined`, `moved`, …
    pub kind: String,
    /// Which seat caused it.
    pub by: Option<String>,
    /// The move, where it was one.
    pub uci: Option<String>,
    /// How many frames each class had been sent after it: white, black, public.
    pub numbers: [i64; 3],
}

/// The logs of some games, in the order of their sequence numbers.
///
/// # Errors
/// Postgres refuses.
pub async fn read_log(pool: &PgPool, games: &[Uuid]) -> Result<HashMap<Uuid, Vec<LogRow>>> {
    let rows = sqlx::query(
        "select e.game_id, e.seq, e.event_id, e.command_id, e.kind, e.by, e.action,
                e.n_white, e.n_black, e.n_public
         from unnest($1::uuid[]) as wanted (id)
         join game_events e on e.shard = fogline_shard('game.' || wanted.id) and e.game_id = wanted.id
         order by e.game_id, e.seq",
    )
    .bind(games)
    .fetch_all(pool)
    .await
    .context("the log cannot be read")?;
    let mut games: HashMap<Uuid, Vec<LogRow>> = HashMap::new();
    for row in rows {
        let action: String = row.try_get("action")?;
        let action: serde_json::Value = serde_json::from_str(&action).unwrap_or_default();
        games
            .entry(row.try_get("game_id")?)
            .or_default()
            .push(LogRow {
                seq: row.try_get("seq")?,
                event_id: row.try_get("event_id")?,
                command_id: row.try_get("command_id")?,
                kind: row.try_get("kind")?,
                by: row.try_get("by")?,
                uci: action
                    .get("uci")
                    .and_then(|uci| uci.as_str())
                    .map(str::to_owned),
                numbers: [
                    row.try_get("n_white")?,
                    row.try_get("n_black")?,
                    row.try_get("n_public")?,
                ],
            });
    }
    Ok(games)
}

/// Waits until everything that was committed of some games is published.
///
/// # Errors
/// It is not by the deadline, or something of it is dead.
pub async fn outbox_is_empty(pool: &PgPool, games: &[Uuid], deadline: Duration) -> Result<()> {
    let subjects: Vec<String> = games
        .iter()
        .map(|game| format!("events.game.{game}"))
        .collect();
    let count = async |table: &str| {
        let question = format!("select count(*) from {table} where subject = any($1)");
        sqlx::query_scalar::<_, i64>(AssertSqlSafe(question))
            .bind(&subjects)
            .fetch_one(pool)
            .await
            .with_context(|| format!("{table} cannot be read"))
    };
    let empty = async {
        while count("outbox_events").await? > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::Ok(())
    };
    if let Ok(done) = tokio::time::timeout(deadline, empty).await {
        done?;
    } else {
        let left = count("outbox_events").await?;
        bail!(
            "after {} s, {left} events are not published",
            deadline.as_secs()
        );
    }
    match count("outbox_dead").await? {
        0 => Ok(()),
        dead => bail!("{dead} events could not be published and stand in outbox_dead"),
    }
}
