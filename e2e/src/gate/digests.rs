//! Digests. In a game with a clock they differ with what the clock shows, so that comparing two games
//! says nothing of them: there, as everywhere, each must be the hash of a view that the viewer is
//! shown.

use std::collections::HashSet;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The first digest in these texts that is of none of the views in them.
pub(super) fn of_no_view<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let (mut views, mut digests) = (HashSet::new(), Vec::new());
    for text in texts {
        for value in json_of(text) {
            walk(&value, &mut views, &mut digests);
        }
    }
    digests.into_iter().find(|digest| !views.contains(digest))
}

/// What stands in an answer, a server-sent event or a message.
fn json_of(text: &str) -> Vec<Value> {
    let body = match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 ") => body,
        _ => text,
    };
    if body.starts_with('{') {
        return serde_json::from_str(body).into_iter().collect();
    }
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

fn walk(value: &Value, views: &mut HashSet<String>, digests: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("view", view) => {
                        views.insert(digest(view));
                    }
                    ("digest", Value::String(digest)) => digests.push(digest.clone()),
                    _ => walk(value, views, digests),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, views, digests)),
        _ => {}
    }
}

/// The hash of a view as RFC 8785 writes it.
fn digest(view: &Value) -> String {
    let mut canonical = String::new();
    write_canonical(view, &mut canonical);
    Sha256::digest(canonical)
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Members in order, nothing between them. A view has whole numbers, and no names but of ASCII.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (nth, (name, value)) in members.into_iter().enumerate() {
                text.push_str(if nth == 0 { "" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (nth, item) in items.iter().enumerate() {
                text.push_str(if nth == 0 { "" } else { "," });
                write_canonical(item, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_a_view_that_is_shown_somewhere() {
        let view = r#"{"b":[1,"é"],"a":{"d":null,"c":true}}"#;
        let frame = format!(r#"{{"type":"event","view":{view}}}"#);
        let event = format!("event: event\nid: x\ndata: {frame}\n\n");
        let hash = digest(
            &serde_json::from_str(r#"{"a":{"c":true,"d":null},"b":[1,"é"]}"#).expect("JSON"),
        );
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{{\"n\":1,\"digest\":\"{hash}\"}}"
        );
        for shown in [&frame, &event] {
            assert_eq!(of_no_view([answer.as_str(), shown].into_iter()), None);
        }
        let other = frame.replace("true", "false");
        assert_eq!(
            of_no_view([answer.as_str(), other.as_str()].into_iter()),
            Some(hash)
        );
    }
}
