//! Strict extractors: what a client did not mean to send is refused with a sentence, never ignored.

use std::fmt::Display;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::problem::{Problem, Reason};

/// A refusal's sentence may quote what was sent; no more of it than this.
const DETAIL_CHARS_MAX: usize = 300;

/// The body, as JSON. `T` denies unknown members. An empty body is `{}`, so a call that needs no
/// member may come without one. The content type is not looked at.
#[derive(Clone, Copy, Debug)]
pub struct StrictJson<T>(pub T);

/// The body of a call that takes no member.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoMembers {}

/// The query string. `T` denies unknown parameters.
#[derive(Clone, Copy, Debug)]
pub struct StrictQuery<T>(pub T);

/// The id in the path, a UUID in its usual form of 36 characters.
#[derive(Clone, Copy, Debug)]
pub struct PathId<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for StrictJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection: BytesRejection| malformed("the body", &rejection))?;
        from_json(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| malformed("the query", &rejection.body_text()))?;
        Ok(Self(query))
    }
}

impl<T: From<Uuid>, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let no_uuid = || Problem::new(Reason::Invalid, "the id in the path is no UUID");
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| no_uuid())?;
        parse_uuid(&text).map(T::from).map(Self).ok_or_else(no_uuid)
    }
}

/// A UUID in its usual form alone: `Uuid` itself also takes braces, URNs and bare digits.
#[must_use]
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    const HYPHENATED_CHARS: usize = 36;
    (text.len() == HYPHENATED_CHARS)
        .then(|| text.parse().ok())
        .flatten()
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    let value = serde_json::from_slice(bytes).map_err(|error| malformed("the body", &error))?;
    // serde takes an array for a struct, member by member; the protocol does not.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::new(Reason::Invalid, "the body is no JSON object"));
    }
    Ok(value)
}

fn malformed(what: &str, error: &dyn Display) -> Problem {
    let detail: String = format!("{what}: {error}")
        .chars()
        .take(DETAIL_CHARS_MAX)
        .collect();
    Problem::new(Reason::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Name {
        name: String,
    }

    #[test]
    fn what_is_not_exactly_the_type_is_invalid_with_a_sentence() {
        for (body, expected) in [
            (&b"{"[..], "EOF"),
            (b"", "missing field `name`"),
            (b"{}", "missing field `name`"),
            (b"[\"a\"]", "no JSON object"),
            (b"null", "invalid type: null"),
            (b"{\"name\":1}", "invalid type: integer"),
            (b"{\"name\":\"a\",\"admin\":true}", "unknown field `admin`"),
            (b"{\"name\":\"a\",\"name\":\"b\"}", "duplicate field"),
            (b"{\"name\":\"a\"}{}", "trailing characters"),
            (b"{\"name\":\"\xff\"}", "invalid unicode"),
        ] {
            let problem = from_json::<Name>(body).unwrap_err();
            assert_eq!(problem.reason, Reason::Invalid);
            assert!(problem.detail.contains(expected), "{}", problem.detail);
        }
        assert_eq!(from_json::<Name>(b"{\"name\":\"a\"}").unwrap().name, "a");
    }

    #[test]
    fn a_call_without_members_may_come_without_a_body() {
        assert!(from_json::<NoMembers>(b"").is_ok());
        assert!(from_json::<NoMembers>(b"{}").is_ok());
        assert!(from_json::<NoMembers>(b"{\"x\":1}").is_err());
    }

    #[test]
    fn a_long_name_is_not_quoted_whole() {
        let body = format!("{{\"{}\":1}}", "x".repeat(10_000));
        let problem = from_json::<Name>(body.as_bytes()).unwrap_err();
        assert!(problem.detail.chars().count() <= DETAIL_CHARS_MAX);
    }

    #[test]
    fn only_the_usual_form_of_a_uuid_is_one() {
        assert!(parse_uuid("019a1b2c-0000-7000-8000-000000000000").is_some());
        for bad in [
            "",
            "1",
            "019a1b2c000070008000000000000000",
            "{019a1b2c-0000-7000-8000-000000000000}",
            "019a1b2c-0000-7000-8000-00000000000g",
        ] {
            assert!(parse_uuid(bad).is_none(), "{bad}");
        }
    }
}
