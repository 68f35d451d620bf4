//! What a client says over the WebSocket. Pure: text in, a message or a refusal out.

use serde::Deserialize;
use serde_json::{Map, Value};
use shared::ids::{CommandId, GameId};
use uuid::Uuid;

use crate::gateway::frame;
use crate::http::extract::parse_uuid;
use crate::http::json::{Unambiguous, UnambiguousObject};
use crate::problem::{Problem, Reason};

/// Bytes of a `ref`, which is given back in every answer.
const REF_BYTES_MAX: usize = 64;
/// A refusal's sentence may quote what was sent; no more of it than this.
const DETAIL_CHARS_MAX: usize = 300;

/// What one can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `game:<id>`
    Game(GameId),
    /// `lobby`: the public games that wait for a player.
    Lobby,
    /// `me`: the player's own games.
    Me,
}

impl Topic {
    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Game(game) => frame::topic(game),
            Self::Lobby => "lobby".to_owned(),
            Self::Me => "me".to_owned(),
        }
    }
}

/// One message with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Inbound {
    /// The client's name for it.
    pub reference: String,
    /// What is asked for.
    pub request: Request,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// To be told of a topic; of a game from the cursor on, and of a private one with its code.
    Subscribe {
        /// The topic.
        topic: Topic,
        /// Where the client was.
        cursor: Option<String>,
        /// The game's code.
        code: Option<String>,
    },
    /// To be told no more.
    Unsubscribe {
        /// The topic.
        topic: Topic,
    },
    /// To act in a game.
    Command {
        /// The game.
        game: GameId,
        /// The client's name for the command, for ever.
        command_id: CommandId,
        /// The `n` acted upon.
        at: Option<i64>,
        /// The action.
        action: Map<String, Value>,
    },
    /// To be answered.
    Ping,
}

/// A message that cannot be served, with its `ref` where it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The message's name, if it has a valid one.
    pub reference: Option<String>,
    /// Why.
    pub problem: Problem,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Subscribe {
        topic: String,
        cursor: Option<String>,
        code: Option<String>,
    },
    Unsubscribe {
        topic: String,
    },
    Command {
        game: String,
        command_id: String,
        at: Option<i64>,
        action: Map<String, Value>,
    },
    Ping {},
}

/// A command as nearly all are written: no escapes where there is nothing to escape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainCommand<'a> {
    r#type: &'a str,
    r#ref: &'a str,
    game: &'a str,
    command_id: &'a str,
    at: Option<i64>,
    action: UnambiguousObject,
}

/// Reads a text message.
///
/// # Errors
/// [`Refused`] with reason `invalid`, or `not_found` for a topic of no kind that is served.
pub fn parse(text: &str) -> Result<Inbound, Refused> {
    // Most messages are commands, and are read without a tree of values. Whatever else one is, or
    // is wrong with it, the long way says.
    match plain_command(text) {
        Some(inbound) => Ok(inbound),
        None => parse_any(text),
    }
}

fn plain_command(text: &str) -> Option<Inbound> {
    // Of an array, members would be taken in their order.
    if !text.starts_with('{') {
        return None;
    }
    let plain: PlainCommand<'_> = serde_json::from_str(text).ok()?;
    if plain.r#type != "command" || plain.r#ref.len() > REF_BYTES_MAX {
        return None;
    }
    Some(Inbound {
        reference: plain.r#ref.to_owned(),
        request: Request::Command {
            game: GameId(parse_uuid(plain.game)?),
            command_id: CommandId(parse_uuid(plain.command_id)?),
            at: plain.at,
            action: plain.action.0,
        },
    })
}

fn parse_any(text: &str) -> Result<Inbound, Refused> {
    let mut value = match serde_json::from_str(text) {
        Ok(Unambiguous(Value::Object(members))) => members,
        Ok(Unambiguous(_)) => return Err(invalid(None, "a message is a JSON object")),
        Err(error) => return Err(invalid(None, &format!("the message is no JSON: {error}"))),
    };
    let reference = match value.remove("ref") {
        Some(Value::String(text)) if text.len() <= REF_BYTES_MAX => text,
        Some(Value::String(_)) => return Err(invalid(None, "a ref has at most 64 bytes")),
        Some(_) => return Err(invalid(None, "a ref is a string")),
        None => return Err(invalid(None, "a message has a ref")),
    };
    let wire = serde_json::from_value::<Wire>(Value::Object(value))
        .map_err(|error| invalid(Some(&reference), &error.to_string()))?;
    match request(wire) {
        Ok(request) => Ok(Inbound { reference, request }),
        Err(problem) => Err(Refused {
            reference: Some(reference),
            problem,
        }),
    }
}

fn request(wire: Wire) -> Result<Request, Problem> {
    Ok(match wire {
        Wire::Subscribe {
            topic,
            cursor,
            code,
        } => Request::Subscribe {
            topic: topic_of(&topic)?,
            cursor,
            code,
        },
        Wire::Unsubscribe { topic } => Request::Unsubscribe {
            topic: topic_of(&topic)?,
        },
        Wire::Command {
            game,
            command_id,
            at,
            action,
        } => Request::Command {
            game: GameId(uuid("game", &game)?),
            command_id: CommandId(uuid("command_id", &command_id)?),
            at,
            action,
        },
        Wire::Ping {} => Request::Ping,
    })
}

fn topic_of(topic: &str) -> Result<Topic, Problem> {
    match topic.split_once(':') {
        Some(("game", id)) => Ok(Topic::Game(GameId(uuid("the topic's id", id)?))),
        None if topic == "lobby" => Ok(Topic::Lobby),
        None if topic == "me" => Ok(Topic::Me),
        _ => Err(Problem::new(
            Reason::NotFound,
            "there is no such topic; the topics are game:<id>, lobby and me",
        )),
    }
}

fn uuid(what: &str, text: &str) -> Result<Uuid, Problem> {
    parse_uuid(text).ok_or_else(|| Problem::new(Reason::Invalid, format!("{what} is no UUID")))
}

fn invalid(reference: Option<&str>, detail: &str) -> Refused {
    Refused {
        reference: reference.map(str::to_owned),
        problem: Problem::new(
            Reason::Invalid,
            detail.chars().take(DETAIL_CHARS_MAX).collect::<String>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ID: &str = "019a1b2c-0000-7000-8000-000000000000";

    fn refused(message: &Value) -> (Option<String>, Reason, String) {
        let refused = parse(&message.to_string()).unwrap_err();
        (
            refused.reference,
            refused.problem.reason,
            refused.problem.detail,
        )
    }

    #[test]
    fn each_message_of_the_protocol_is_read() {
        let game = GameId(ID.parse().unwrap());
        let cases = [
            (
                json!({"type": "subscribe", "ref": "a", "topic": format!("game:{ID}"), "cursor": "0"}),
                Request::Subscribe {
                    topic: Topic::Game(game),
                    cursor: Some("0".to_owned()),
                    code: None,
                },
            ),
            (
                json!({"type": "unsubscribe", "ref": "a", "topic": format!("game:{ID}")}),
                Request::Unsubscribe {
                    topic: Topic::Game(game),
                },
            ),
            (
                json!({"type": "command", "ref": "a", "game": ID, "command_id": ID,
                    "action": {"type": "resign"}}),
                Request::Command {
                    game,
                    command_id: CommandId(ID.parse().unwrap()),
                    at: None,
                    action: json!({"type": "resign"}).as_object().unwrap().clone(),
                },
            ),
            (json!({"type": "ping", "ref": "a"}), Request::Ping),
        ];
        for (message, request) in cases {
            let inbound = parse(&message.to_string()).unwrap();
            assert_eq!(
                inbound,
                Inbound {
                    reference: "a".to_owned(),
                    request
                }
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_under_the_messages_ref() {
        let topic = format!("game:{ID}");
        let command = json!({"type": "command", "ref": "r", "game": ID, "command_id": ID});
        let with = |name: &str, value: Value| {
            let mut command = command.clone();
            command[name] = value;
            command
        };
        for (message, expected) in [
            (
                json!({"type": "dance", "ref": "r"}),
                "unknown variant `dance`",
            ),
            (json!({"ref": "r"}), "missing field `type`"),
            (
                json!({"type": "ping", "ref": "r", "loud": true}),
                "unknown field `loud`",
            ),
            (
                json!({"type": "subscribe", "ref": "r"}),
                "missing field `topic`",
            ),
            (
                json!({"type": "subscribe", "ref": "r", "topic": topic, "cursor": 5}),
                "invalid type",
            ),
            (
                json!({"type": "subscribe", "ref": "r", "topic": "game:7"}),
                "id is no UUID",
            ),
            (command.clone(), "missing field `action`"),
            (with("action", json!("resign")), "invalid type"),
        ] {
            let (reference, reason, detail) = refused(&message);
            assert_eq!(
                (reference.as_deref(), reason),
                (Some("r"), Reason::Invalid),
                "{message}"
            );
            assert!(detail.contains(expected), "{message}: {detail}");
        }
        let (_, reason, _) = refused(&json!({"type": "subscribe", "ref": "r", "topic": "moon"}));
        assert_eq!(reason, Reason::NotFound);
    }

    #[test]
    fn a_ref_that_cannot_be_given_back_is_refused_without_one() {
        for message in [
            json!({"type": "ping"}),
            json!({"type": "ping", "ref": 5}),
            json!({"type": "ping", "ref": "x".repeat(65)}),
            json!([1, 2]),
        ] {
            let (reference, reason, _) = refused(&message);
            assert_eq!((reference, reason), (None, Reason::Invalid), "{message}");
        }
        assert_eq!(parse("{").unwrap_err().reference, None);
        // Which of the two was meant is anybody's guess, also of two refs.
        let twice = format!(
            r#"{{"type":"command","ref":"r","game":"{ID}","command_id":"{ID}",
                "action":{{"type":"resign","type":"abort"}}}}"#
        );
        for message in [twice.as_str(), r#"{"type":"ping","ref":"a","ref":"b"}"#] {
            let refused = parse(message).unwrap_err();
            assert_eq!(refused.problem.reason, Reason::Invalid);
            assert!(
                refused.problem.detail.contains("duplicate field"),
                "{message}"
            );
        }
    }

    /// A command with some members changed, left out or written twice.
    fn commands() -> impl Strategy<Value = String> {
        let values = prop::sample::select(vec![
            r#""command""#.to_owned(),
            r#""r""#.to_owned(),
            r#""r\u0041""#.to_owned(),
            format!(r#""{ID}""#),
            format!(r#""{{{ID}}}""#),
            "null".to_owned(),
            "7".to_owned(),
            "7.0".to_owned(),
            "99999999999999999999".to_owned(),
            r#"{"type":"resign"}"#.to_owned(),
            r#"{"type":"resign","type":"abort"}"#.to_owned(),
        ]);
        let names = ["type", "ref", "game", "command_id", "at", "action", "loud"];
        let right = [
            r#""command""#.to_owned(),
            r#""r""#.to_owned(),
            format!(r#""{ID}""#),
            format!(r#""{ID}""#),
            "3".to_owned(),
            r#"{"type":"move","uci":"e2e4"}"#.to_owned(),
        ];
        let changes = prop::collection::vec((0..names.len(), values, any::<bool>()), 0..3);
        changes.prop_map(move |changes| {
            let mut members: Vec<(&str, String)> = names.into_iter().zip(right.clone()).collect();
            for (name, value, instead) in changes {
                if instead {
                    members.retain(|(known, _)| *known != names[name]);
                }
                members.push((names[name], value));
            }
            let members = members
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
    }

    #[test]
    fn a_command_as_clients_write_it_is_read_the_short_way() {
        let message = format!(
            r#"{{"type":"command","ref":"r","game":"{ID}","command_id":"{ID}","action":{{}}}}"#
        );
        assert!(plain_command(&message).is_some());
    }

    proptest! {
        #[test]
        fn the_short_way_reads_what_the_long_way_reads(text in commands()) {
            if let Some(inbound) = plain_command(&text) {
                prop_assert_eq!(Ok(inbound), parse_any(&text));
            }
        }

        #[test]
        fn whatever_comes_is_read_or_refused(text in ".{0,200}") {
            let _ = parse(&text);
        }
    }
}
