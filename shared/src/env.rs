//! Readers of the environment. Configuration is read through [`Env`], so that no test touches the
//! process's own; a bad value is a [`BadVariable`], a sentence that names the variable.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

/// `EX_USAGE` of sysexits(3): the exit code for a bad variable.
pub const EXIT_BAD_CONFIGURATION: u8 = 64;

/// Where variables come from.
pub trait Env {
    /// The variable's value; unset and empty are the same.
    fn get(&self, name: &str) -> Option<String>;
}

/// The process's own environment.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl<S: std::hash::BuildHasher> Env for HashMap<String, String, S> {
    fn get(&self, name: &str) -> Option<String> {
        HashMap::get(self, name)
            .filter(|value| !value.is_empty())
            .cloned()
    }
}

/// A variable that is missing or has a value that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct BadVariable {
    /// The variable's name.
    pub name: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl BadVariable {
    /// A problem with the variable `name`.
    pub fn new(name: &str, problem: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            problem: problem.into(),
        }
    }
}

/// A variable that must be set.
pub fn required(env: &dyn Env, name: &str, what: &str) -> Result<String, BadVariable> {
    env.get(name)
        .ok_or_else(|| BadVariable::new(name, format!("is not set; give {what}")))
}

/// A secret that must be set; it never shows in a log.
pub fn required_secret(env: &dyn Env, name: &str, what: &str) -> Result<SecretString, BadVariable> {
    required(env, name, what).map(SecretString::from)
}

/// A value of any type that parses, or `default`.
pub fn parse_or<T>(env: &dyn Env, name: &str, default: T) -> Result<T, BadVariable>
where
    T: FromStr,
    T::Err: Display,
{
    let Some(text) = env.get(name) else {
        return Ok(default);
    };
    text.trim()
        .parse()
        .map_err(|error| BadVariable::new(name, format!("cannot use {text:?}: {error}")))
}

/// A whole number within `range`, or `default`.
pub fn number_or(
    env: &dyn Env,
    name: &str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, BadVariable> {
    let number = parse_or(env, name, default)?;
    if range.contains(&number) {
        return Ok(number);
    }
    let (low, high) = range.into_inner();
    Err(BadVariable::new(
        name,
        format!("must be a whole number from {low} to {high}, not {number}"),
    ))
}

/// A time given in whole milliseconds within `range_ms`, or `default_ms`.
pub fn millis_or(
    env: &dyn Env,
    name: &str,
    default_ms: u64,
    range_ms: std::ops::RangeInclusive<u64>,
) -> Result<Duration, BadVariable> {
    number_or(env, name, default_ms, range_ms).map(Duration::from_millis)
}

/// A user's name or password as it was before it was written into a URL, where some characters must
/// be escaped (RFC 3986, 2.1).
#[must_use]
pub fn unescaped(url_part: &str) -> String {
    percent_decode_str(url_part)
        .decode_utf8_lossy()
        .into_owned()
}

/// `true`/`1`/`on` or `false`/`0`/`off`, or `default`.
pub fn flag_or(env: &dyn Env, name: &str, default: bool) -> Result<bool, BadVariable> {
    match env.get(name).as_deref() {
        None => Ok(default),
        Some("true" | "1" | "on" | "yes") => Ok(true),
        Some("false" | "0" | "off" | "no") => Ok(false),
        Some(other) => Err(BadVariable::new(
            name,
            format!("must be true or false, not {other:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str, value: &str) -> HashMap<String, String> {
        HashMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_bad_number_names_its_variable_and_its_range() {
        let error = number_or(&env("BATCH_MAX", "5000"), "BATCH_MAX", 10, 1..=1000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "BATCH_MAX: must be a whole number from 1 to 1000, not 5000"
        );
        assert!(number_or(&env("BATCH_MAX", "x"), "BATCH_MAX", 10, 1..=1000).is_err());
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        assert_eq!(number_or(&env("N", ""), "N", 10, 1..=1000).unwrap(), 10);
        assert!(required(&env("N", ""), "N", "a number").is_err());
    }
}
