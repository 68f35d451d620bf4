//! `status`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::repo::{RelayLine, ShardLine, relays, shards};
use super::{CommandError, Found, Output, for_people, print_json};
use crate::backlog::repo::{dead, oldest_age_seconds};
use crate::identity::repo::load;

#[derive(Debug, Serialize)]
struct Status {
    outbox: Uuid,
    pending: i64,
    oldest_pending_age_seconds: f64,
    dead: i64,
    stream_created: Option<String>,
    stream_last_seq_known: i64,
    stream_generation: i64,
    shards_unverified: usize,
    shards_unowned: usize,
    relays: Vec<RelayLine>,
    shards: Vec<ShardLine>,
}

pub(super) async fn print(
    pool: &PgPool,
    by_shard: bool,
    output: Output,
) -> Result<Found, CommandError> {
    let identity = load(pool).await?;
    let lines = shards(pool).await?;
    let status = Status {
        outbox: identity.outbox,
        pending: lines.iter().map(|line| line.pending).sum(),
        oldest_pending_age_seconds: oldest_age_seconds(pool).await?,
        dead: dead(pool).await?,
        stream_created: identity.stream_created,
        stream_last_seq_known: identity.stream_last_seq,
        stream_generation: identity.generation,
        shards_unverified: lines.iter().filter(|line| !line.verified).count(),
        shards_unowned: lines.iter().filter(|line| line.lapsed).count(),
        relays: relays(pool).await?,
        shards: lines,
    };
    if output.json {
        print_json(&status)?;
    } else {
        io::stdout()
            .lock()
            .write_all(text(&status, by_shard).as_bytes())?;
    }
    let well = status.dead == 0 && status.shards_unowned == 0 && status.shards_unverified == 0;
    Ok(if well { Found::Well } else { Found::Attention })
}

/// At most 80 columns.
fn text(status: &Status, by_shard: bool) -> String {
    let age = |seconds: f64| for_people(Duration::from_secs_f64(seconds.max(0.0)));
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{label:<10}{value}");
    };
    line("outbox", status.outbox.to_string());
    let oldest = if status.pending == 0 {
        String::new()
    } else {
        format!(
            ", the oldest for {}",
            age(status.oldest_pending_age_seconds)
        )
    };
    line("waiting", format!("{}{oldest}", status.pending));
    let hint = if status.dead == 0 {
        ""
    } else {
        ", see `outbox-relay dead list`"
    };
    line("dead", format!("{}{hint}", status.dead));
    let stream = match &status.stream_created {
        None => "not seen yet".to_owned(),
        Some(created) => format!(
            "made {}, generation {}, {}",
            created.get(..19).unwrap_or(created),
            status.stream_generation,
            match status.shards_unverified {
                0 => "verified".to_owned(),
                count => format!("{count} of 64 shards not verified"),
            }
        ),
    };
    line("stream", stream);
    if status.shards_unowned > 0 {
        line(
            "unowned",
            format!(
                "{} of 64 shards: nobody publishes them",
                status.shards_unowned
            ),
        );
    }
    let _ = writeln!(
        text,
        "\n{:<50} {:>6}  {:>10}",
        "RELAY", "SHARDS", "LAST SEEN"
    );
    for relay in &status.relays {
        let seen = age(relay.seen_seconds);
        let _ = writeln!(text, "{:<50} {:>6}  {seen:>10}", relay.owner, relay.shards);
    }
    if status.relays.is_empty() {
        text.push_str("none\n");
    }
    if by_shard {
        let _ = writeln!(
            text,
            "\n{:>5} {:>7} {:>12} {:>8} {:>8}  OWNER",
            "SHARD", "EPOCH", "FENCE", "WAITING", "OLDEST"
        );
        for shard in &status.shards {
            let oldest = shard.oldest_seconds.map_or("-".to_owned(), age);
            let owner = match (&shard.owner, shard.lapsed) {
                (Some(owner), false) => owner.as_str(),
                _ => "nobody",
            };
            let _ = writeln!(
                text,
                "{:>5} {:>7} {:>12} {:>8} {oldest:>8}  {:.34}",
                shard.shard, shard.epoch, shard.fence_seq, shard.pending, owner
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_fits_eighty_columns() {
        let shard = |number| ShardLine {
            shard: number,
            owner: Some("a-rather-long-host-name-of-forty-chars-xx-0123abcd".to_owned()),
            epoch: 123_456,
            lapsed: false,
            fence_seq: 123_456_789_012,
            verified: true,
            pending: 12_345_678,
            oldest_seconds: Some(90_000.0),
        };
        let status = Status {
            outbox: Uuid::nil(),
            pending: 12_345_678,
            oldest_pending_age_seconds: 90_000.0,
            dead: 3,
            stream_created: Some("2026-01-31T12:00:00.123456789Z".to_owned()),
            stream_last_seq_known: 5,
            stream_generation: 2,
            shards_unverified: 64,
            shards_unowned: 12,
            relays: vec![RelayLine {
                owner: "a-rather-long-host-name-of-forty-chars-xx-0123abcd".to_owned(),
                shards: 64,
                seen_seconds: 100_000.0,
            }],
            shards: (0..64).map(shard).collect(),
        };
        let page = text(&status, true);
        assert_eq!(page.lines().count(), 5 + 3 + 2 + 64);
        for line in page.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(page.contains("waiting   12345678, the oldest for 1d 01h"));
    }
}
