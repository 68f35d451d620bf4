//! `dead list|show|retry|skip|drop`.

use std::io::{self, Write};

use sqlx::PgPool;
use uuid::Uuid;

use super::{CommandError, DeadCommand, Found, Output, print_json};
use crate::dead::repo::{Letter, drop_letter, letters, retry, skip};

pub(super) async fn execute(pool: &PgPool, what: DeadCommand) -> Result<Found, CommandError> {
    match what {
        DeadCommand::List { limit, output } => list(pool, limit, output).await,
        DeadCommand::Show { event_id, output } => show(pool, event_id, output).await,
        DeadCommand::Retry { event_id, output } => {
            done(retry(pool, event_id).await?, event_id, "retried", output)
        }
        DeadCommand::Skip { event_id, output } => {
            done(skip(pool, event_id).await?, event_id, "skipped", output)
        }
        DeadCommand::Drop { event_id, output } => done(
            drop_letter(pool, event_id).await?,
            event_id,
            "dropped",
            output,
        ),
    }
}

async fn list(pool: &PgPool, limit: i64, output: Output) -> Result<Found, CommandError> {
    let letters = letters(pool, None, limit).await?;
    if output.json {
        print_json(&letters)?;
    } else {
        let mut out = io::stdout().lock();
        if letters.is_empty() {
            writeln!(out, "no dead letters")?;
        }
        for letter in &letters {
            let blocked = if letter.blocks_key {
                format!("blocks its key, {} wait", letter.waiting)
            } else {
                "its key goes on".to_owned()
            };
            writeln!(
                out,
                "{}  {}  key {}",
                letter.event_id, letter.dead_at, letter.key
            )?;
            writeln!(out, "    {} ({blocked})", letter.reason)?;
        }
    }
    Ok(if letters.is_empty() {
        Found::Well
    } else {
        Found::Attention
    })
}

async fn show(pool: &PgPool, event_id: Uuid, output: Output) -> Result<Found, CommandError> {
    let found = letters(pool, Some(event_id), 1).await?;
    let letter = found.first().ok_or(CommandError::NoLetter(event_id))?;
    if output.json {
        print_json(letter)?;
    } else {
        print_letter(letter)?;
    }
    Ok(Found::Well)
}

fn print_letter(letter: &Letter) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    for (label, value) in [
        ("event", letter.event_id.to_string()),
        ("key", letter.key.clone()),
        ("subject", letter.subject.clone()),
        ("type", letter.r#type.clone()),
        ("appended", letter.created_at.clone()),
        ("given up", letter.dead_at.clone()),
        ("refused", format!("{} times", letter.attempt_count)),
        ("reason", letter.reason.clone()),
        ("blocks", letter.blocks_key.to_string()),
        ("waiting", letter.waiting.to_string()),
    ] {
        writeln!(out, "{label:<10}{value}")?;
    }
    writeln!(out, "\n{}", letter.payload)?;
    Ok(())
}

fn done(was: bool, event_id: Uuid, what: &str, output: Output) -> Result<Found, CommandError> {
    if !was {
        return Err(CommandError::NoLetter(event_id));
    }
    if output.json {
        print_json(&serde_json::json!({ "event_id": event_id, "done": what }))?;
    } else {
        writeln!(io::stdout().lock(), "{what} {event_id}")?;
    }
    Ok(Found::Well)
}
