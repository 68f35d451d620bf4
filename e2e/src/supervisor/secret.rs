//! Secrets of one run: made at its start, gone with it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt as _;

/// A password that needs no quoting in a URL or a configuration file.
#[must_use]
pub(super) fn password() -> String {
    let mut random = rand::rng();
    (0..24)
        .map(|_| char::from(random.sample(rand::distr::Alphanumeric)))
        .collect()
}

/// A value of `FOGLINE_KEYS`: one key of 32 random bytes.
#[must_use]
pub(super) fn fogline_keys() -> String {
    let key: [u8; 32] = rand::rng().random();
    format!("k1:{}", STANDARD.encode(key))
}
