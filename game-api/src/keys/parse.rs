//! Reading `FOGLINE_KEYS`.

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use shared::env::{BadVariable, Env, required_secret};

use super::{KEY_BYTES, Keys};

/// The variable's name.
const VARIABLE: &str = "FOGLINE_KEYS";
/// More keys than a rotation ever needs; every one of them may be tried on each token.
const KEYS_MAX: usize = 16;
/// A key's id is a short name for operators.
const ID_CHARS_MAX: usize = 32;

/// Takes what `openssl rand -base64 32` and its like write, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Keys {
    /// The keys of `FOGLINE_KEYS`: `id:base64,id:base64,…`, 32 bytes each, at most 16. The first
    /// seals, all open.
    ///
    /// # Errors
    /// A sentence that names the variable and the key's place in the list, never its bytes.
    pub fn from_env(env: &dyn Env) -> Result<Self, BadVariable> {
        let list = required_secret(
            env,
            VARIABLE,
            "id:base64,… with 32 random bytes a key, the same on every instance, for example \
             k1:$(openssl rand -base64 32)",
        )?;
        parse(&list).map_err(|problem| BadVariable::new(VARIABLE, problem))
    }
}

fn parse(list: &SecretString) -> Result<Keys, String> {
    let mut ids = HashSet::new();
    let mut keys = Vec::new();
    for (index, entry) in list.expose_secret().split(',').enumerate() {
        let place = index + 1;
        let (id, bytes) =
            parse_key(entry.trim()).map_err(|problem| format!("key {place} {problem}"))?;
        if !ids.insert(id.to_owned()) {
            return Err(format!("key {place} has an id that is there twice: {id:?}"));
        }
        if keys.contains(&bytes) {
            return Err(format!("key {place} is there twice"));
        }
        keys.push(bytes);
    }
    if keys.len() > KEYS_MAX {
        return Err(format!("holds {} keys, more than {KEYS_MAX}", keys.len()));
    }
    match keys.split_first() {
        Some((first, others)) => Ok(Keys::new(*first, others)),
        None => Err("holds no key".to_owned()),
    }
}

fn parse_key(entry: &str) -> Result<(&str, [u8; KEY_BYTES]), String> {
    let (id, text) = entry
        .split_once(':')
        .ok_or("is not of the form id:base64")?;
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(known) {
        return Err(format!(
            "must have an id of 1 to {ID_CHARS_MAX} letters, digits, _ or -"
        ));
    }
    let bytes = BASE64
        .decode(text)
        .map_err(|_| format!("({id}) is not base64"))?;
    let length = bytes.len();
    let bytes = bytes
        .try_into()
        .map_err(|_| format!("({id}) is {length} bytes long, not {KEY_BYTES}"))?;
    Ok((id, bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::keys::Purpose;

    const ONES: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWOS: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

    fn read(value: &str) -> Result<Keys, String> {
        let env = HashMap::from([(VARIABLE.to_owned(), value.to_owned())]);
        Keys::from_env(&env).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let both = read(&format!("new:{TWOS}, old:{ONES}")).unwrap();
        let old = read(&format!("old:{ONES}")).unwrap();
        let new = read(&format!("other-name:{TWOS}")).unwrap();
        assert!(
            both.open(Purpose::Access, &old.seal(Purpose::Access, b"x"))
                .is_ok()
        );
        assert!(
            new.open(Purpose::Access, &both.seal(Purpose::Access, b"x"))
                .is_ok()
        );
    }

    #[test]
    fn a_bad_list_is_a_sentence_that_shows_no_key() {
        let cases = [
            (String::new(), "is not set"),
            (ONES.to_owned(), "key 1 is not of the form id:base64"),
            (format!("k:{ONES},"), "key 2 is not of the form"),
            (format!(":{ONES}"), "key 1 must have an id"),
            ("k:AQEB".to_owned(), "key 1 (k) is 3 bytes long, not 32"),
            ("k:%%%".to_owned(), "key 1 (k) is not base64"),
            (
                format!("k:{ONES},k:{TWOS}"),
                "key 2 has an id that is there twice",
            ),
            (format!("k:{ONES},l:{ONES}"), "key 2 is there twice"),
        ];
        for (list, expected) in cases {
            let sentence = read(&list).unwrap_err();
            assert!(sentence.starts_with("FOGLINE_KEYS: "), "{sentence}");
            assert!(sentence.contains(expected), "{sentence}");
            assert!(!sentence.contains("AQEBAQ"), "{sentence}");
        }
    }
}
