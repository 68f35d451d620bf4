//! The keys of the whole deployment (`FOGLINE_KEYS`): access tokens, tickets, session cookies and
//! cursors are sealed with the first key and opened with any.
//!
//! A token is base64url without padding of `fingerprint (2) | AES-256-GCM-SIV ciphertext and tag |
//! checksum (3)`, so its length depends on the plaintext's length alone. Each purpose has a key of
//! its own, derived by HMAC-SHA256 (RFC 5869's expand step), so that a ticket is never taken for a
//! cursor.
//!
//! Sealing is deterministic: the nonce is fixed, and the same plaintext gives the same token on
//! every instance. Cursors need that, since any gateway must hand out the same one. It is sound
//! here: AES-GCM-SIV (RFC 8452) is misuse-resistant, so a repeated nonce reveals whether two
//! plaintexts are equal and nothing else, and the holder of a token knows that anyway. What must
//! differ (access tokens, tickets, sessions) carries a random nonce inside the plaintext.
//!
//! The checksum tells a token of a retired key ([`OpenError::UnknownKey`], for a cursor: start
//! again with a snapshot) from a mistyped or made-up one ([`OpenError::False`]). It is no secret:
//! whoever forges it is treated like the holder of an old token, and gains nothing.

mod parse;

use aes_gcm_siv::aead::{Aead, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// A key's length.
pub const KEY_BYTES: usize = 32;
/// Which key sealed a token: enough to tell the few keys of one list apart.
const FINGERPRINT_BYTES: usize = 2;
/// 1 in 16 million made-up tokens is taken for one of a retired key, which gains nothing.
const CHECKSUM_BYTES: usize = 3;
/// Of AES-GCM-SIV.
const TAG_BYTES: usize = 16;
/// No token is longer; what is longer is not even decoded.
const TOKEN_CHARS_MAX: usize = 512;
/// Fixed on purpose, see the module's documentation.
const NONCE: [u8; 12] = [0; 12];

/// What a token is for. A token of one purpose never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A bearer access token.
    Access,
    /// A ticket for a WebSocket without headers.
    Ticket,
    /// A session cookie.
    Session,
    /// A position in a view class of a game.
    Cursor,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Access, Self::Ticket, Self::Session, Self::Cursor];

    /// The label that the purpose's key is derived with. Part of the format: never changed.
    const fn label(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Ticket => "ticket",
            Self::Session => "session",
            Self::Cursor => "cursor",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Access => 0,
            Self::Ticket => 1,
            Self::Session => 2,
            Self::Cursor => 3,
        }
    }
}

/// Why a token does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Well formed, but sealed with a key that is not in the list: a retired one.
    #[error("the token was sealed with a key that is no longer known")]
    UnknownKey,
    /// Mistyped, truncated, made up, or sealed for another purpose.
    #[error("the token is not valid")]
    False,
}

/// The keys, the first of which seals. `Debug` shows none of them.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    fingerprint: [u8; FINGERPRINT_BYTES],
    ciphers: [Aes256GcmSiv; 4],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("count", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys from their bytes, the sealing one first.
    #[must_use]
    pub fn new(first: [u8; KEY_BYTES], others: &[[u8; KEY_BYTES]]) -> Self {
        let keys = std::iter::once(&first).chain(others).map(Key::new);
        Self {
            keys: keys.collect(),
        }
    }

    /// Seals `plaintext` for `purpose` with the first key.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, plaintext: &[u8]) -> String {
        let key = &self.keys[0];
        let sealed = key.ciphers[purpose.index()]
            .encrypt(&Nonce::from(NONCE), plaintext)
            .unwrap_or_else(|_| unreachable!("only a plaintext of over 64 GiB fails to seal"));
        let mut token = Vec::with_capacity(FINGERPRINT_BYTES + sealed.len() + CHECKSUM_BYTES);
        token.extend_from_slice(&key.fingerprint);
        token.extend_from_slice(&sealed);
        token.extend_from_slice(&checksum(&token));
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Opens a token that was sealed for `purpose` with any of the keys.
    ///
    /// # Errors
    /// [`OpenError::UnknownKey`] for a token of a key that is not in the list, else
    /// [`OpenError::False`].
    pub fn open(&self, purpose: Purpose, token: &str) -> Result<Vec<u8>, OpenError> {
        if token.len() > TOKEN_CHARS_MAX {
            return Err(OpenError::False);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| OpenError::False)?;
        let (sealed, sum) = bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(OpenError::False)?;
        if *sum != checksum(sealed) {
            return Err(OpenError::False);
        }
        let (fingerprint, ciphertext) = sealed
            .split_first_chunk::<FINGERPRINT_BYTES>()
            .filter(|(_, ciphertext)| ciphertext.len() >= TAG_BYTES)
            .ok_or(OpenError::False)?;
        // Two keys may share a fingerprint (1 in 65536): each of them is tried.
        let mut failure = OpenError::UnknownKey;
        for key in self
            .keys
            .iter()
            .filter(|key| key.fingerprint == *fingerprint)
        {
            failure = OpenError::False;
            let cipher = &key.ciphers[purpose.index()];
            if let Ok(plaintext) = cipher.decrypt(&Nonce::from(NONCE), ciphertext) {
                return Ok(plaintext);
            }
        }
        Err(failure)
    }
}

impl Key {
    fn new(secret: &[u8; KEY_BYTES]) -> Self {
        let fingerprint = derive(secret, "fingerprint");
        Self {
            fingerprint: [fingerprint[0], fingerprint[1]],
            ciphers: Purpose::ALL
                .map(|purpose| Aes256GcmSiv::new(&derive(secret, purpose.label()).into())),
        }
    }
}

/// A key for one purpose: HMAC-SHA256 of a label under the secret.
fn derive(secret: &[u8; KEY_BYTES], label: &str) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(secret)
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(b"fogline ");
    mac.update(label.as_bytes());
    // The counter of RFC 5869's first block of output.
    mac.update(&[1]);
    mac.finalize().into_bytes().into()
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(bytes);
    [digest[0], digest[1], digest[2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [u8; KEY_BYTES] = [1; KEY_BYTES];
    const NEW: [u8; KEY_BYTES] = [2; KEY_BYTES];
    const PLAIN: &[u8] = b"a fixed plaintext of 32 bytes...";

    #[test]
    fn a_token_opens_on_every_instance_with_the_same_keys_and_is_the_same_there() {
        let (here, there) = (Keys::new(OLD, &[]), Keys::new(OLD, &[]));
        let token = here.seal(Purpose::Cursor, PLAIN);
        assert_eq!(token, there.seal(Purpose::Cursor, PLAIN));
        assert_eq!(there.open(Purpose::Cursor, &token).unwrap(), PLAIN);
    }

    #[test]
    fn a_rotated_list_opens_old_tokens_and_a_list_without_the_key_knows_them_for_retired() {
        let token = Keys::new(OLD, &[]).seal(Purpose::Access, PLAIN);
        assert_eq!(
            Keys::new(NEW, &[OLD])
                .open(Purpose::Access, &token)
                .unwrap(),
            PLAIN
        );
        assert_eq!(
            Keys::new(NEW, &[]).open(Purpose::Access, &token),
            Err(OpenError::UnknownKey)
        );
    }

    #[test]
    fn a_token_of_another_purpose_is_false() {
        let keys = Keys::new(OLD, &[]);
        let token = keys.seal(Purpose::Ticket, PLAIN);
        for purpose in [Purpose::Access, Purpose::Session, Purpose::Cursor] {
            assert_eq!(keys.open(purpose, &token), Err(OpenError::False));
        }
    }

    #[test]
    fn every_change_of_one_character_is_found() {
        let keys = Keys::new(OLD, &[]);
        let token = keys.seal(Purpose::Cursor, PLAIN);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                keys.open(Purpose::Cursor, &changed),
                Err(OpenError::False),
                "position {at}"
            );
        }
    }

    #[test]
    fn what_is_no_token_is_false() {
        let keys = Keys::new(OLD, &[]);
        let long = "A".repeat(100_000);
        for text in ["", "0", "AAAA", "not base64!", "AAAAAAAAAAAAAAA=", &long] {
            assert_eq!(keys.open(Purpose::Cursor, text), Err(OpenError::False));
        }
    }

    #[test]
    fn a_wrong_tag_under_a_right_checksum_is_false() {
        let keys = Keys::new(OLD, &[]);
        let token = keys.seal(Purpose::Cursor, PLAIN);
        let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        *bytes.last_mut().unwrap() ^= 1;
        bytes.extend_from_slice(&checksum(&bytes));
        let forged = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(keys.open(Purpose::Cursor, &forged), Err(OpenError::False));
    }

    #[test]
    fn the_length_depends_on_the_length_of_the_plaintext_alone() {
        let keys = Keys::new(OLD, &[]);
        let lengths: Vec<usize> = (0..=255_u8)
            .map(|byte| keys.seal(Purpose::Cursor, &[byte; 27]).len())
            .collect();
        assert!(lengths.iter().all(|length| *length == 64), "{lengths:?}");
    }
}
