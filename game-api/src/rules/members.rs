//! The members of a JSON object, as text.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;
use serde_json::{Map, Value};

/// Most objects of the protocol have no more members.
const MEMBERS_USUAL: usize = 12;

/// The members of a JSON object, each written once: an object that is only sent needs no tree of
/// values, whose every member is an allocation.
#[derive(Clone, Debug, Default)]
pub struct Members {
    text: Vec<u8>,
    /// In the order of their names.
    named: Vec<Named>,
}

#[derive(Clone, Debug)]
struct Named {
    name: Cow<'static, str>,
    at: Range<usize>,
}

impl Members {
    /// No members, and room for so many bytes of their values.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            named: Vec::with_capacity(MEMBERS_USUAL),
        }
    }

    /// Puts a member; it replaces one of the same name.
    pub fn put(&mut self, name: impl Into<Cow<'static, str>>, value: &impl Serialize) {
        self.put_text(name, |text| write_json(text, value));
    }

    /// Puts a member whose value `write` appends as JSON.
    pub fn put_text(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let from = self.text.len();
        write(&mut self.text);
        let named = Named {
            name: name.into(),
            at: from..self.text.len(),
        };
        match self.find(&named.name) {
            Ok(at) => self.named[at] = named,
            Err(at) => self.named.insert(at, named),
        }
    }

    /// Takes a member away.
    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            self.named.remove(at);
        }
    }

    /// Appends the object, its members in the order of their names.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (nth, Named { name, at }) in self.named.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            write_json(out, name);
            out.push(b':');
            out.extend_from_slice(&self.text[at.clone()]);
        }
        out.push(b'}');
    }

    /// The object as a tree.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        let mut text = Vec::with_capacity(self.text.len());
        self.write_to(&mut text);
        serde_json::from_slice(&text)
            .unwrap_or_else(|error| unreachable!("each value was written as JSON: {error}"))
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.named
            .binary_search_by(|named| named.name.as_ref().cmp(name))
    }
}

impl From<Map<String, Value>> for Members {
    fn from(map: Map<String, Value>) -> Self {
        let mut members = Self::default();
        for (name, value) in map {
            members.put(name, &value);
        }
        members
    }
}

/// Appends the JSON of what has text keys and finite numbers.
pub fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    if let Err(error) = serde_json::to_writer(out, value) {
        unreachable!("what is sent has text keys and finite numbers: {error}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(members: &Members) -> String {
        let mut text = Vec::new();
        members.write_to(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn members_are_written_by_name_whatever_their_order() {
        let mut members = Members::default();
        members.put("turn", &"white");
        members.put("board", &"??");
        members.put_text("moves", |out| out.extend_from_slice(br#"["e2e4"]"#));
        assert_eq!(
            text(&members),
            r#"{"board":"??","moves":["e2e4"],"turn":"white"}"#
        );
    }

    #[test]
    fn a_member_is_there_once_and_can_be_taken_away() {
        let mut members = Members::default();
        members.put("a", &1);
        members.put("b", &2);
        members.put("a", &json!(null));
        members.remove("b");
        members.remove("c");
        assert_eq!(text(&members), r#"{"a":null}"#);
    }

    #[test]
    fn tree_and_text_are_the_same_object() {
        let tree = json!({"b": [1, "é\"\n"], "a\"": {"c": 1.5}, "": null});
        let map = tree.as_object().unwrap();
        let members = Members::from(map.clone());
        assert_eq!(&members.to_map(), map);
        assert_eq!(text(&members), tree.to_string());
    }
}
