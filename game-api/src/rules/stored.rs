//! What a ruleset keeps of a game, in a form that only the ruleset reads.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// JSON that a ruleset has made, as text. Every event of a ring holds some: as a tree of values it
/// would take up several times the room, and be taken apart twice. Clones share it.
#[derive(Clone)]
pub struct Stored(Arc<RawValue>);

impl Stored {
    /// The JSON of what has text keys and finite numbers.
    #[must_use]
    pub fn of(value: &impl Serialize) -> Self {
        let text = serde_json::value::to_raw_value(value).unwrap_or_else(|error| {
            unreachable!("what a ruleset keeps has text keys and finite numbers: {error}");
        });
        Self(text.into())
    }

    /// The JSON of nothing, `null`.
    #[must_use]
    pub fn none() -> Self {
        static NONE: LazyLock<Stored> = LazyLock::new(|| Stored::of(&()));
        NONE.clone()
    }

    /// What it is the JSON of.
    ///
    /// # Errors
    /// It is the JSON of something else.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.text())
    }

    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

impl From<Value> for Stored {
    fn from(value: Value) -> Self {
        Self::of(&value)
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It holds what players must not see, and may not reach a log.
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}

impl Serialize for Stored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_the_same_json_wherever_it_comes_from() {
        #[derive(Deserialize)]
        struct Within {
            x: Stored,
        }
        let value = json!({"a": [1, "é\n"], "b": {"c": null}});
        let stored = Stored::from(value.clone());
        assert_eq!(stored.decode::<Value>().unwrap(), value);
        let text = json!({ "x": stored }).to_string();
        let from_text: Within = serde_json::from_str(&text).unwrap();
        let from_tree: Within = serde_json::from_value(json!({ "x": value })).unwrap();
        assert_eq!(from_text.x.text(), stored.text());
        assert_eq!(from_tree.x.text(), stored.text());
    }

    #[test]
    fn what_it_holds_is_not_said() {
        assert_eq!(format!("{:?}", Stored::from(json!("x"))), "Stored { .. }");
    }
}
