//! The browser client at `/`, embedded when this was compiled. It needs no other server, and a
//! gateway always serves the page that speaks its protocol.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::problem::{Problem, Reason};

/// Path and content of every file of `target/web/dist`, as listed by `build.rs`.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page_files.rs"));

/// Served in place of a page that was not built.
const NOT_BUILT: &[u8] = include_bytes!("not_built.html");

/// Everything comes from here, the WebSocket included ('self' covers the page's own ws: and wss:,
/// CSP Level 3).
const SECURITY_POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// The bundler puts a hash of the content into the names under `/assets`.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Anything else is asked for again, so that a new release is seen at once.
const ASK_AGAIN: &str = "no-cache";

/// The routes of the page, with the status of success.
pub const ROUTES: [(&str, &str, &str); 2] =
    [("GET", "/", "200"), ("GET", "/assets/{*path}", "200")];

/// `/`, `/assets/…`, and the other files of the page under their own names.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new()
        .route("/", get(index))
        .route("/assets/{*path}", get(asset));
    for (path, content) in FILES {
        if *path != "/index.html" && !path.starts_with("/assets/") {
            router = router.route(path, get(move || async { file(path, content, ASK_AGAIN) }));
        }
    }
    router
}

async fn index() -> Response {
    match find("/index.html") {
        Some(content) => file("/index.html", content, ASK_AGAIN),
        None => file("/index.html", NOT_BUILT, "no-store"),
    }
}

async fn asset(Path(name): Path<String>) -> Response {
    let path = format!("/assets/{name}");
    match find(&path) {
        Some(content) => file(&path, content, IMMUTABLE),
        None => Problem::new(Reason::NotFound, "the page has no such file").into_response(),
    }
}

fn find(path: &str) -> Option<&'static [u8]> {
    let found = FILES.iter().find(|(known, _)| *known == path);
    found.map(|(_, content)| *content)
}

fn file(path: &str, content: &'static [u8], caching: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 2] = [
        (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(content_type(path)),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The media types of what a bundler writes.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "ogg" => "audio/ogg",
        "mp3" => "audio/mpeg",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_has_a_media_type_of_its_own() {
        for (path, _) in FILES {
            assert_ne!(content_type(path), "application/octet-stream", "{path}");
        }
    }

    #[test]
    fn a_page_that_was_built_has_all_the_assets_it_names() {
        let Some(index) = find("/index.html") else {
            return;
        };
        let text = std::str::from_utf8(index).unwrap();
        let named = text.split('"').filter(|word| word.starts_with("/assets/"));
        for path in named {
            assert!(find(path).is_some(), "{path}");
        }
    }
}
