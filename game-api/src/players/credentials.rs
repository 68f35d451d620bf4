//! Access tokens, WebSocket tickets and session cookies: a player's id with an end, sealed. They
//! are checked without the database, on any instance.
//!
//! Their end is the one place where an instance's wall clock counts: a clock that is off shortens
//! or lengthens a credential's life by as much, and decides nothing in a game.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use shared::ids::PlayerId;
use uuid::Uuid;

use crate::config::CredentialsConfig;
use crate::keys::{Keys, Purpose};

/// The session cookie's name.
pub const SESSION_COOKIE: &str = "fogline_session";
/// Life of a session cookie: thirty days.
pub const SESSION_TTL_S: u64 = 30 * 24 * 3600;
/// Life of a ticket: it is used at once or never.
pub const TICKET_TTL_S: u64 = 30;

const ID_BYTES: usize = 16;
const EXPIRY_BYTES: usize = 8;
/// Sealing is deterministic; this makes two credentials of one second differ.
const NONCE_BYTES: usize = 8;
const PLAIN_BYTES: usize = ID_BYTES + EXPIRY_BYTES + NONCE_BYTES;

/// Seconds since 1970-01-01 UTC; an argument, so that tests have their own.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// This machine's clock.
#[must_use]
pub fn wall_clock() -> WallClock {
    Arc::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "credentials end by the wall clock, and nothing else here does"
        )]
        let now = std::time::SystemTime::now();
        now.duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    })
}

/// Makes and opens credentials.
#[derive(Clone)]
pub struct Credentials {
    keys: Keys,
    access_token_ttl_s: u64,
    now_s: WallClock,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("access_token_ttl_s", &self.access_token_ttl_s)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials under these keys and this clock.
    #[must_use]
    pub fn new(keys: Keys, config: CredentialsConfig, now_s: WallClock) -> Self {
        Self {
            keys,
            access_token_ttl_s: config.access_token_ttl_s,
            now_s,
        }
    }

    /// Life of an access token, seconds.
    #[must_use]
    pub const fn access_token_ttl_s(&self) -> u64 {
        self.access_token_ttl_s
    }

    /// A bearer access token.
    #[must_use]
    pub fn access_token(&self, player: PlayerId) -> String {
        self.seal(Purpose::Access, player, self.access_token_ttl_s)
    }

    /// The player of an access token that is valid now.
    #[must_use]
    pub fn open_access_token(&self, token: &str) -> Option<PlayerId> {
        self.open(Purpose::Access, token)
    }

    /// A ticket for one WebSocket's opening. It may be used again until it ends: an instance does
    /// not know what another one has seen.
    #[must_use]
    pub fn ticket(&self, player: PlayerId) -> String {
        self.seal(Purpose::Ticket, player, TICKET_TTL_S)
    }

    /// The player of a ticket that is valid now.
    #[must_use]
    pub fn open_ticket(&self, ticket: &str) -> Option<PlayerId> {
        self.open(Purpose::Ticket, ticket)
    }

    /// `Set-Cookie` for a session. `Secure` if the browser came over https.
    #[must_use]
    pub fn session_cookie(&self, player: PlayerId, secure: bool) -> String {
        let value = self.seal(Purpose::Session, player, SESSION_TTL_S);
        let secure = if secure { "; Secure" } else { "" };
        format!(
            "{SESSION_COOKIE}={value}; Path=/; Max-Age={SESSION_TTL_S}; HttpOnly; SameSite=Lax{secure}"
        )
    }

    /// The player of a session cookie's value that is valid now.
    #[must_use]
    pub fn open_session(&self, value: &str) -> Option<PlayerId> {
        self.open(Purpose::Session, value)
    }

    fn seal(&self, purpose: Purpose, player: PlayerId, ttl_s: u64) -> String {
        let expiry_s = (self.now_s)().saturating_add(ttl_s);
        let mut plain = [0; PLAIN_BYTES];
        plain[..ID_BYTES].copy_from_slice(player.0.as_bytes());
        plain[ID_BYTES..ID_BYTES + EXPIRY_BYTES].copy_from_slice(&expiry_s.to_be_bytes());
        plain[ID_BYTES + EXPIRY_BYTES..].copy_from_slice(&rand::random::<[u8; NONCE_BYTES]>());
        self.keys.seal(purpose, &plain)
    }

    fn open(&self, purpose: Purpose, token: &str) -> Option<PlayerId> {
        let plain = self.keys.open(purpose, token).ok()?;
        let plain: [u8; PLAIN_BYTES] = plain.try_into().ok()?;
        let (id, rest) = plain.split_first_chunk::<ID_BYTES>()?;
        let (expiry_s, _) = rest.split_first_chunk::<EXPIRY_BYTES>()?;
        ((self.now_s)() < u64::from_be_bytes(*expiry_s)).then_some(PlayerId(Uuid::from_bytes(*id)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn credentials() -> (Credentials, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(1_000_000));
        let clock = now.clone();
        let config = CredentialsConfig {
            access_token_ttl_s: 3600,
        };
        let made = Credentials::new(
            Keys::new([3; 32], &[]),
            config,
            Arc::new(move || clock.load(Ordering::Relaxed)),
        );
        (made, now)
    }

    #[test]
    fn each_credential_opens_until_its_own_end() {
        let (credentials, now) = credentials();
        let player = PlayerId::generate();
        let token = credentials.access_token(player);
        let ticket = credentials.ticket(player);
        now.fetch_add(29, Ordering::Relaxed);
        assert_eq!(credentials.open_ticket(&ticket), Some(player));
        now.fetch_add(1, Ordering::Relaxed);
        assert_eq!(credentials.open_ticket(&ticket), None);
        assert_eq!(credentials.open_access_token(&token), Some(player));
        now.fetch_add(3569, Ordering::Relaxed);
        assert_eq!(credentials.open_access_token(&token), Some(player));
        now.fetch_add(1, Ordering::Relaxed);
        assert_eq!(credentials.open_access_token(&token), None);
    }

    #[test]
    fn one_kind_is_never_taken_for_another() {
        let (credentials, _) = credentials();
        let player = PlayerId::generate();
        let token = credentials.access_token(player);
        assert_eq!(credentials.open_ticket(&token), None);
        assert_eq!(credentials.open_session(&token), None);
        assert_eq!(
            credentials.open_access_token(&credentials.ticket(player)),
            None
        );
    }

    #[test]
    fn two_tokens_of_one_second_differ() {
        let (credentials, _) = credentials();
        let player = PlayerId::generate();
        assert_ne!(
            credentials.access_token(player),
            credentials.access_token(player)
        );
    }

    #[test]
    fn the_cookie_is_out_of_reach_for_scripts_and_foreign_posts() {
        let (credentials, _) = credentials();
        let player = PlayerId::generate();
        let cookie = credentials.session_cookie(player, true);
        let (value, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(
            attributes,
            "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"
        );
        let value = value.strip_prefix("fogline_session=").unwrap();
        assert_eq!(credentials.open_session(value), Some(player));
        assert!(!credentials.session_cookie(player, false).contains("Secure"));
    }
}
