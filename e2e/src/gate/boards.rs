//! What a viewer is told of a game by the lobby and by `me`, which show the games of all pairs that
//! are being played and come by the clock: every form of what concerns this game, each once.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::transcript::{Channel, Entry};

/// The topics that are no games.
pub(super) const TOPICS: [&str; 2] = ["lobby", "me"];

#[derive(Deserialize)]
struct Board<'a> {
    #[serde(borrow, default)]
    games: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    challenges: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    events: Vec<Notice<'a>>,
}

#[derive(Deserialize)]
struct Notice<'a> {
    #[serde(borrow)]
    game: &'a RawValue,
}

/// How the game stands in a message of a board, as it is written there; nothing if the message is
/// about others.
pub(super) fn shown<'a>(text: &'a str, game: &str) -> Result<Vec<&'a str>> {
    let board: Board<'a> = serde_json::from_str(text).with_context(|| text.to_owned())?;
    let told = board.events.into_iter().map(|notice| notice.game);
    let lists = board.games.into_iter().chain(board.challenges);
    let all = lists.chain(told).map(RawValue::get);
    let id = format!("\"id\":\"{game}\"");
    Ok(all.filter(|shown| shown.contains(&id)).collect())
}

/// Whether a message shows the game with this status.
pub(super) fn shows(text: &str, game: &str, status: &str) -> bool {
    let status = format!("\"status\":\"{status}\"");
    shown(text, game).is_ok_and(|shown| shown.iter().any(|shown| shown.contains(&status)))
}

/// An answer that counts what is there, whatever the numbers.
pub(super) fn counted(text: &str) -> Result<String> {
    let (head, body) = text.split_once("\r\n\r\n").context("an answer")?;
    Ok(format!("{}\r\n\r\n{}", without_length(head), bare(body)))
}

/// An answer that shows the game among others: without these, and without where the next page
/// begins.
pub(super) fn listed(text: &str, game: &str) -> Result<String> {
    let (head, body) = text.split_once("\r\n\r\n").context("an answer")?;
    let shown: Vec<String> = shown(body, game)?.into_iter().map(uncounted).collect();
    let rest = bare(body).replace("\"cursor\":null,", "");
    let rest = match rest.split_once("\"cursor\":\"") {
        Some((before, after)) => {
            let (_, after) = after.split_once("\",").context("a list's cursor")?;
            format!("{before}{after}")
        }
        None => rest,
    };
    let (head, shown) = (without_length(head), shown.join("\n"));
    Ok(format!("{head}\r\n\r\n{shown}{rest}"))
}

/// Where a list says that it goes on, if that is not where its last game stands: whatever the cursor
/// says beside when and under which id that game was made, it may not say.
pub(super) fn leads_elsewhere(text: &str) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Listed {
        id: String,
        created_at: String,
    }
    #[derive(Deserialize)]
    struct Page {
        games: Vec<Listed>,
        cursor: Option<String>,
    }
    let (_, body) = text.split_once("\r\n\r\n").context("an answer")?;
    let page: Page = serde_json::from_str(body).with_context(|| body.to_owned())?;
    let Some(cursor) = page.cursor else {
        return Ok(None);
    };
    let last = page.games.last().context("a page of no games goes on")?;
    let place = format!("{}.{}", microseconds(&last.created_at)?, last.id);
    Ok((cursor != place).then_some(cursor))
}

/// Microseconds since 1970 of a time such as `2026-11-29T13:22:13.5Z`.
fn microseconds(time: &str) -> Result<i64> {
    let bad = || format!("{time} is no time");
    let number = |text: &str| text.parse::<i64>().with_context(bad);
    let (date, clock) = time.split_once('T').with_context(bad)?;
    let clock = clock.strip_suffix('Z').with_context(bad)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [date, clock] = [(date, '-'), (clock, ':')].map(|(text, mark)| {
        let numbers: Result<Vec<i64>> = text.split(mark).map(number).collect();
        numbers
    });
    let (&[year, month, day], &[hour, minute, second]) = (&date?[..], &clock?[..]) else {
        return Err(anyhow::Error::msg(bad()));
    };
    // Days since 1970, of years that begin in March (Howard Hinnant, days_from_civil).
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Ok(seconds * 1_000_000 + number(&format!("{fraction:0<6}"))?)
}

fn without_length(head: &str) -> String {
    let lines = head.split("\r\n");
    let others: Vec<&str> = lines
        .filter(|line| !line.starts_with("content-length"))
        .collect();
    others.join("\r\n")
}

/// The forms of what was told: of the game, and of messages without the games in them.
pub(super) fn channel(told: &[String], game: &str) -> Result<Channel> {
    let mut forms = BTreeSet::new();
    for text in told {
        for shown in shown(text, game)? {
            forms.insert(("the game on a board", uncounted(shown)));
        }
        forms.insert(("a board without games", bare(text)));
    }
    let entries = forms.into_iter().map(|(what, text)| Entry {
        what: what.to_owned(),
        text,
    });
    Ok(entries.collect())
}

/// Who is there is counted by the clock.
pub(super) fn uncounted(text: &str) -> String {
    let text = text.replace("true", "false");
    match text.split_once("\"watching\":") {
        Some((before, after)) => {
            let after = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{before}\"watching\":#{after}")
        }
        None => text,
    }
}

/// A message without what stands in its lists, without its counts, and without what tells the whole
/// from a change: who reads too late is shown the whole again.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for letter in text.chars() {
        let closes = !quoted && letter == ']';
        depth -= usize::from(closes);
        if depth == 0 && !(letter.is_ascii_digit() && bare.ends_with('#')) {
            bare.push(if letter.is_ascii_digit() { '#' } else { letter });
        }
        depth += usize::from(!quoted && letter == '[');
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
    }
    [
        ("\"gone\":[],", ""),
        ("\"challenges\":[],", ""),
        ("\"events\":[]", "\"games\":[]"),
        ("\"event\"", "\"snapshot\""),
    ]
    .iter()
    .fold(bare, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOBBY: &str = r#"{"games":[{"id":"a","status":"open","seats":{"black":false,"white":true},"watching":12},{"id":"b","name":"]\"["}],"gone":["c"],"stats":{"games":3,"players":44},"topic":"lobby","type":"event"}"#;
    const WHOLE: &str =
        r#"{"games":[],"stats":{"games":1,"players":2},"topic":"lobby","type":"snapshot"}"#;
    const NOTICE: &str = r#"{"events":[{"game":{"id":"a","status":"finished"},"kind":"ended"}],"topic":"me","type":"event"}"#;

    #[test]
    fn what_concerns_a_game_is_found_as_it_is_written() {
        assert_eq!(
            shown(NOTICE, "a").expect("JSON"),
            [r#"{"id":"a","status":"finished"}"#]
        );
        assert!(shown(LOBBY, "c").expect("JSON").is_empty());
        assert!(shows(LOBBY, "a", "open") && !shows(LOBBY, "b", "open"));
        assert!(shows(NOTICE, "a", "finished"));
    }

    #[test]
    fn a_list_is_compared_in_the_game_alone() {
        let answer = |length, cursor, games| {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{{\"cursor\":{cursor},\"games\":[{games}]}}"
            )
        };
        let list = |text: &str| listed(text, "a").expect("a list");
        let alone = list(&answer(12, "null", r#"{"id":"a","watching":3}"#));
        let others = r#"{"id":"b"},{"id":"a","watching":12}"#;
        assert_eq!(list(&answer(345, r#""17.b""#, others)), alone);
        let more = r#"{"id":"a","ply":1,"watching":3}"#;
        assert_ne!(list(&answer(12, "null", more)), alone);
        let head = "HTTP/1.1 200 OK\r\n\r\n";
        let form = r#"{"id":"a","watching":#}{"games":[]}"#;
        assert_eq!(alone, format!("{head}{form}"));
    }

    #[test]
    fn a_list_goes_on_where_its_last_game_stands() {
        let page = |cursor: &str| {
            format!(
                "HTTP/1.1 200 OK\r\n\r\n{{\"cursor\":{cursor},\"games\":[{{\"id\":\"a\",\"created_at\":\"1970-01-01T00:00:00Z\"}},{{\"id\":\"b\",\"created_at\":\"2024-02-29T23:59:58.5Z\"}}]}}"
            )
        };
        let elsewhere = |cursor: &str| leads_elsewhere(&page(cursor)).expect("a page");
        assert_eq!(elsewhere("null"), None);
        assert_eq!(elsewhere("\"1709251198500000.b\""), None);
        for other in [
            "1709251198500001.b",
            "1709251198500000.a",
            "1709251198500000.b7",
        ] {
            assert_eq!(elsewhere(&format!("\"{other}\"")).as_deref(), Some(other));
        }
    }

    #[test]
    fn a_change_and_the_whole_have_one_form_and_anything_more_is_another() {
        let told = [LOBBY.to_owned(), WHOLE.to_owned()];
        let forms = channel(&told, "a").expect("JSON");
        let texts: Vec<&str> = forms.iter().map(|entry| entry.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                r#"{"games":[],"stats":{"games":#,"players":#},"topic":"lobby","type":"snapshot"}"#,
                r#"{"id":"a","status":"open","seats":{"black":false,"white":false},"watching":#}"#,
            ]
        );
        let more = WHOLE.replace("\"topic\"", "\"ply\":3,\"topic\"");
        let told = [WHOLE.to_owned(), more];
        assert_eq!(channel(&told, "a").expect("JSON").len(), 2);
        let notice = [NOTICE.to_owned()];
        let bare = &channel(&notice, "z").expect("JSON")[0].text;
        assert_eq!(bare, r#"{"games":[],"topic":"me","type":"snapshot"}"#);
        let own = r#"{"challenges":[{"id":"c"}],"games":[],"topic":"me","type":"snapshot"}"#;
        assert_eq!(
            &channel(&[own.to_owned()], "z").expect("JSON")[0].text,
            bare
        );
        assert_eq!(shown(own, "c").expect("JSON"), [r#"{"id":"c"}"#]);
    }
}
