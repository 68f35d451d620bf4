//! Whether a browser's request comes from a page that may act with the session cookie.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::config::AllowedOrigins;

/// Whether the `Origin` of a request is allowed. Without one it is not: every browser sends it
/// with what changes state and with a WebSocket's opening.
#[must_use]
pub fn allowed(origins: &AllowedOrigins, headers: &HeaderMap) -> bool {
    let mut sent = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (sent.next(), sent.next()) else {
        return false;
    };
    match origins {
        AllowedOrigins::Own => is_own(origin, headers.get(header::HOST)),
        AllowedOrigins::Listed(list) => list
            .iter()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(origin.as_bytes())),
    }
}

/// Whether there is an `Origin` that is not allowed: a foreign page.
#[must_use]
pub fn is_foreign(origins: &AllowedOrigins, headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) && !allowed(origins, headers)
}

/// An origin with the host and port that the request itself names. Browsers leave the scheme's
/// default port out of both.
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else {
        return false;
    };
    ["http://", "https://"]
        .iter()
        .filter_map(|scheme| origin.strip_prefix(scheme))
        .any(|authority| !authority.is_empty() && authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in entries {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_pages_own_origin_is_allowed_by_default_and_nothing_else() {
        let own = AllowedOrigins::Own;
        for (origin, host, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("https://play.example.org", "play.example.org", true),
            ("https://PLAY.example.org", "play.example.org", true),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", false),
            ("https://evil.example", "play.example.org", false),
            ("https://play.example.org.evil", "play.example.org", false),
            ("null", "null", false),
            ("http://", "", false),
            ("play.example.org", "play.example.org", false),
        ] {
            let headers = headers(&[("origin", origin), ("host", host)]);
            assert_eq!(allowed(&own, &headers), expected, "{origin} at {host}");
        }
        assert!(!allowed(&own, &headers(&[("host", "a")])));
        let twice = headers(&[
            ("host", "a"),
            ("origin", "http://a"),
            ("origin", "http://a"),
        ]);
        assert!(!allowed(&own, &twice));
    }

    #[test]
    fn a_list_takes_the_place_of_the_pages_own() {
        let list = AllowedOrigins::Listed(vec![HeaderValue::from_static("https://a.example")]);
        let of = |origin| headers(&[("origin", origin), ("host", "b.example")]);
        assert!(allowed(&list, &of("https://a.example")));
        assert!(!allowed(&list, &of("http://a.example")));
        assert!(!allowed(&list, &of("https://b.example")));
        assert!(!allowed(&list, &of("null")));
    }

    #[test]
    fn a_request_without_origin_is_neither_allowed_nor_foreign() {
        let none = headers(&[("host", "a")]);
        assert!(!is_foreign(&AllowedOrigins::Own, &none));
        assert!(is_foreign(
            &AllowedOrigins::Own,
            &headers(&[("host", "a"), ("origin", "null")])
        ));
    }
}
