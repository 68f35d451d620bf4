//! What the end of a game reveals, and so is not compared: the view of its last frame, and in the
//! record what others saw. Everything else stays what it was: earlier frames above all.

use serde_json::{Map, Value};

use super::transcript::Entry;
use crate::client::protocol::{Side, ViewClass};

/// The frame that revealed everything, and whose views the record is compared in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revealed {
    /// The last frame's number.
    pub(super) n: u64,
    /// Who was not to notice any difference.
    pub(super) class: ViewClass,
}

/// What the record keeps of an event that everyone knew of.
const RECORDED: [&str; 5] = ["at_ms", "by", "kind", "ply", "seq"];

impl Revealed {
    /// Leaves out what the end has revealed.
    pub(super) fn unsee(&self, entry: &mut Entry) {
        let (head, body) = match entry.text.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 ") => (Some(head), body),
            _ => (None, entry.text.as_str()),
        };
        let is_record = body.starts_with("{\"complete\":");
        let unseen = if is_record {
            self.record(body)
        } else {
            self.frames(body)
        };
        let Some(unseen) = unseen else {
            return;
        };
        entry.text = match head {
            Some(head) => {
                let length = format!("content-length: {}", body.len());
                let now = format!("content-length: {}", unseen.len());
                format!("{}\r\n\r\n{unseen}", head.replace(&length, &now))
            }
            None => unseen,
        };
    }

    /// A text without the views of the last frame; `None` if there are none in it.
    fn frames(&self, text: &str) -> Option<String> {
        let last = [',', '}'].map(|end| format!("\"n\":{}{end}", self.n));
        let at = last.iter().filter_map(|last| text.find(last)).min()?;
        let (before, mut rest) = text.split_at(at);
        let mut unseen = masked_digests(before);
        while let Some(view) = rest.find(VIEW) {
            let (before, value) = rest.split_at(view + VIEW.len());
            unseen.push_str(before);
            unseen.push('#');
            rest = &value[value_len(value)..];
        }
        unseen.push_str(rest);
        Some(unseen)
    }

    /// A record without what was hidden; `None` if it is not as it is expected to be.
    fn record(&self, body: &str) -> Option<String> {
        let mut record: Map<String, Value> = serde_json::from_str(body).ok()?;
        // As it was written: else what is hidden in its form would be lost here.
        if serde_json::to_string(&record).ok()? != body {
            return None;
        }
        let classes: &[&str] = match self.class {
            ViewClass::Seat(Side::White) => &["white", "public"],
            ViewClass::Seat(Side::Black) => &["black", "public"],
            ViewClass::Public => &["public"],
        };
        let events = record.get_mut("events")?.as_array_mut()?;
        let last = events.len().checked_sub(1)?;
        for (at, event) in events.iter_mut().enumerate() {
            for (name, value) in event.as_object_mut()?.iter_mut() {
                match name.as_str() {
                    "views" if at < last => {
                        let views = value.as_object_mut()?;
                        let hidden = views
                            .iter_mut()
                            .filter(|(class, _)| !classes.contains(&class.as_str()));
                        hidden.for_each(|(_, view)| *view = Value::Null);
                    }
                    name if RECORDED.contains(&name) => {}
                    _ => *value = Value::Null,
                }
            }
        }
        serde_json::to_string(&record).ok()
    }
}

const VIEW: &str = "\"view\":";
const DIGEST: &str = "\"digest\":\"";

/// A text with its digests made equal, of which there is one at most.
fn masked_digests(text: &str) -> String {
    let Some(at) = text.find(DIGEST) else {
        return text.to_owned();
    };
    let (before, digest) = text.split_at(at + DIGEST.len());
    let end = digest.find('"').unwrap_or(digest.len());
    format!("{before}{}{}", "#".repeat(end), &digest[end..])
}

/// The bytes of the JSON value at the beginning of a text.
fn value_len(text: &str) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unseen(text: &str) -> String {
        let mut entry = Entry {
            what: String::new(),
            text: text.to_owned(),
        };
        let class = ViewClass::Seat(Side::White);
        Revealed { n: 12, class }.unsee(&mut entry);
        entry.text
    }

    #[test]
    fn the_last_frame_alone_is_unseen() {
        let poll = r#"{"frames":[{"n":1,"view":{"a":1}},{"n":12,"event":{},"view":{"b":["}"]}}],"cursor":"c"}"#;
        let equal =
            r#"{"frames":[{"n":1,"view":{"a":1}},{"n":12,"event":{},"view":#}],"cursor":"c"}"#;
        assert_eq!(unseen(poll), equal);
        let game = r#"{"digest":"ab","game":{"id":1},"n":12,"now_ms":3,"view":{"board":"x"}}"#;
        let equal = r###"{"digest":"##","game":{"id":1},"n":12,"now_ms":3,"view":#}"###;
        assert_eq!(unseen(game), equal);
        let earlier = r#"{"n":120,"view":{"a":1}}"#;
        assert_eq!(unseen(earlier), earlier);
    }

    #[test]
    fn a_length_stays_the_bodys() {
        let answer = |length, body: &str| {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
        };
        let body = r#"{"n":12,"view":{"a":1}}"#;
        let equal = r#"{"n":12,"view":#}"#;
        assert_eq!(unseen(&answer(23, body)), answer(17, equal));
        assert_eq!(unseen(&answer(24, body)), answer(24, equal));
    }

    #[test]
    fn of_a_record_stays_what_the_viewer_saw() {
        let record = r#"{"complete":true,"events":[{"kind":"moved","move":{"uci":"e2e4"},"views":{"black":1,"public":2,"white":3}},{"kind":"ended","views":{"black":4,"public":5,"white":6}}]}"#;
        let equal = r#"{"complete":true,"events":[{"kind":"moved","move":null,"views":{"black":null,"public":2,"white":3}},{"kind":"ended","views":null}]}"#;
        assert_eq!(unseen(record), equal);
    }
}
