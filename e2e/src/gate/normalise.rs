//! What may differ between two runs of one and the same game: what is random, and what is time.
//! All of it stands in [`DECLARED`], and everything else is compared byte for byte.

use std::collections::HashMap;

/// How a declared place is made equal. The number of bytes stays, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Each character of the member's value becomes `#`.
    Mask,
    /// The member's value becomes one `#`, whatever its length.
    MaskLength,
    /// The member's value becomes `cursor <k>`, k being its place among the different cursors of
    /// this viewer in the order in which they came: which are equal stays visible, and so does
    /// their length.
    Cursor,
}

/// A member of JSON whose value may differ.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    /// The member's name.
    pub member: &'static str,
    /// How its value is made equal.
    pub how: How,
    /// Why it may differ.
    pub why: &'static str,
}

/// The members whose values may differ. Beside them: the game's id and its code, by value; the
/// headers of [`HEADERS`]; an SSE event's `id:`, which is a cursor; `content-length`, which becomes
/// the length of the body after all this if it was that of the body before.
pub const DECLARED: [Declared; 10] = [
    Declared {
        member: "at_ms",
        how: How::Mask,
        why: "the time of an event, which is when somebody moved",
    },
    Declared {
        member: "now_ms",
        how: How::Mask,
        why: "the time of sending",
    },
    Declared {
        member: "white_ms",
        how: How::Mask,
        why: "a clock's reading: how long somebody thought",
    },
    Declared {
        member: "black_ms",
        how: How::Mask,
        why: "a clock's reading: how long somebody thought",
    },
    Declared {
        member: "created_at",
        how: How::MaskLength,
        why: "a time, written without zeros at its end",
    },
    Declared {
        member: "cursor",
        how: How::Cursor,
        why: "sealed together with the game's id; see `census` for what it must not show",
    },
    Declared {
        member: "trace_id",
        how: How::Mask,
        why: "random",
    },
    Declared {
        member: "code",
        how: How::Mask,
        why: "random, and shown to the seats alone",
    },
    Declared {
        member: "after_ms",
        how: How::MaskLength,
        why: "random: when to come back to another gateway",
    },
    Declared {
        member: "digest of a view with a clock",
        how: How::Mask,
        why: "a hash over the clock's readings; without a clock it is compared",
    },
];

/// Headers whose values may differ: the time, what is random, and what answers a random key.
pub const HEADERS: [&str; 3] = ["date", "traceparent", "sec-websocket-accept"];

/// What is random in one game, and known to whoever plays it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The game's id.
    pub(super) game: String,
    /// Whether the game has a clock.
    pub(super) clocked: bool,
}

/// The cursors of one game, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    places: HashMap<String, usize>,
    list: Vec<String>,
}

impl Cursors {
    fn name(&mut self, cursor: &str) -> String {
        let next = self.list.len();
        let place = *self.places.entry(cursor.to_owned()).or_insert_with(|| {
            self.list.push(cursor.to_owned());
            next
        });
        // As long as the cursor, so that a longer one is noticed.
        let name = format!("cursor {place} ");
        format!("{name:#<width$}", width = cursor.len())
    }

    /// The different cursors.
    pub(super) fn into_list(self) -> Vec<String> {
        self.list
    }
}

/// A text with all that is declared made equal.
pub(super) fn normalise(text: &str, known: &Known, cursors: &mut Cursors) -> String {
    let text = text.replace(&known.game, &mask(&known.game));
    let (head, body) = match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 ") => (Some(head), body),
        _ => (None, text.as_str()),
    };
    let normal_body = event_ids(&members(body, known, cursors), cursors);
    let Some(head) = head else {
        return normal_body;
    };
    let lines = head.split("\r\n").map(|line| {
        let Some((name, value)) = line.split_once(": ") else {
            return line.to_owned();
        };
        if HEADERS.contains(&name) {
            return format!("{name}: {}", mask(value));
        }
        if name == "content-length" && value == body.len().to_string() {
            return format!("{name}: {}", normal_body.len());
        }
        line.to_owned()
    });
    let lines: Vec<String> = lines.collect();
    format!("{}\r\n\r\n{normal_body}", lines.join("\r\n"))
}

/// Whatever the characters are, one `#` for each.
fn mask(value: &str) -> String {
    "#".repeat(value.chars().count())
}

/// The values of the declared members.
fn members(text: &str, known: &Known, cursors: &mut Cursors) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    // A member's name ends with `":`; what comes before it is copied.
    while let Some(at) = rest.find("\":") {
        let (before, after) = rest.split_at(at + 2);
        let name = &before[..at];
        let name = &name[name.rfind('"').map_or(0, |quote| quote + 1)..];
        normal.push_str(before);
        rest = after;
        let Some(how) = how(name, known) else {
            continue;
        };
        let (quoted, value) = scalar(rest);
        rest = &rest[value.len() + 2 * usize::from(quoted)..];
        if value == "null" && !quoted {
            normal.push_str(value);
            continue;
        }
        let quote = if quoted { "\"" } else { "" };
        let equal = match how {
            How::Mask => mask(value),
            How::MaskLength => "#".to_owned(),
            How::Cursor => cursors.name(value),
        };
        normal.extend([quote, &equal, quote]);
    }
    normal.push_str(rest);
    normal
}

fn how(name: &str, known: &Known) -> Option<How> {
    if name == "digest" {
        return known.clocked.then_some(How::Mask);
    }
    let declared = DECLARED.iter().find(|declared| declared.member == name);
    declared.map(|declared| declared.how)
}

/// The text or number at the beginning of `rest`, and whether it stands in quotes.
fn scalar(rest: &str) -> (bool, &str) {
    if let Some(inside) = rest.strip_prefix('"') {
        let end = inside.find('"').unwrap_or(inside.len() - 1);
        return (true, &inside[..end]);
    }
    let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
    (false, &rest[..end])
}

/// The cursors that are ids of server-sent events.
fn event_ids(text: &str, cursors: &mut Cursors) -> String {
    if !text.starts_with("event: ") {
        return text.to_owned();
    }
    let lines = text
        .split('\n')
        .map(|line| match line.strip_prefix("id: ") {
            Some(cursor) => format!("id: {}", cursors.name(cursor)),
            None => line.to_owned(),
        });
    let lines: Vec<String> = lines.collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAME: &str = "0198a5c1-0000-7000-8000-000000000001";

    fn normal(text: &str) -> String {
        let known = Known {
            game: GAME.to_owned(),
            clocked: false,
        };
        normalise(text, &known, &mut Cursors::default())
    }

    #[test]
    fn what_is_declared_is_made_equal_and_nothing_else_is() {
        let text = format!(
            r#"{{"topic":"game:{GAME}","n":3,"cursor":"AbC-","at_ms":1700,"view":{{"ply":1,"clock":{{"white_ms":5000}}}},"digest":"ab"}}"#
        );
        assert_eq!(
            normal(&text),
            r#"{"topic":"game:####################################","n":3,"cursor":"cursor 0 ","at_ms":####,"view":{"ply":1,"clock":{"white_ms":####}},"digest":"ab"}"#
        );
    }

    #[test]
    fn which_cursors_are_equal_stays_visible() {
        let text = r#"{"cursor":"aaaaaaaaaaaa"}{"cursor":"bbbbbbbbbbbb"}{"cursor":"aaaaaaaaaaaa"}"#;
        assert_eq!(
            normal(text),
            r#"{"cursor":"cursor 0 ###"}{"cursor":"cursor 1 ###"}{"cursor":"cursor 0 ###"}"#
        );
    }

    #[test]
    fn a_length_that_is_not_the_bodys_stays_as_it_is() {
        let answer = |length| {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\ndate: x\r\n\r\n{{\"created_at\":\"now\"}}"
            )
        };
        let equal =
            "HTTP/1.1 200 OK\r\ncontent-length: 18\r\ndate: #\r\n\r\n{\"created_at\":\"#\"}";
        assert_eq!(normal(&answer(20)), equal);
        assert!(normal(&answer(21)).contains("content-length: 21"));
    }

    #[test]
    fn an_events_id_is_a_cursor() {
        let text = "event: event\nid: AbCdefghijk\ndata: {\"cursor\":\"AbCdefghijk\"}\n\n";
        let equal = "event: event\nid: cursor 0 ##\ndata: {\"cursor\":\"cursor 0 ##\"}\n\n";
        assert_eq!(normal(text), equal);
    }
}
