//! How a socket ends.

use super::writer::WriteError;

/// Why a socket ended, under its word in `gateway_disconnects_total`, and the close code.
#[derive(Clone, Copy)]
pub(super) struct End {
    /// The word.
    pub(super) reason: &'static str,
    /// The code and its sentence; none if the connection is gone or closed already.
    pub(super) close: Option<(u16, &'static str)>,
    /// Whether the client can still be heard; without a close code, whether its own close is still
    /// to be answered.
    pub(super) readable: bool,
}

impl End {
    pub(super) const CLOSED: Self = Self {
        reason: "closed",
        close: None,
        readable: true,
    };
    pub(super) const ERROR: Self = Self {
        reason: "error",
        close: None,
        readable: false,
    };
    pub(super) const PROTOCOL: Self = Self {
        reason: "error",
        close: Some((1002, "not a WebSocket message")),
        readable: false,
    };
    pub(super) const TOO_LARGE: Self = Self {
        reason: "too_large",
        close: Some((1009, "message too large")),
        readable: false,
    };
    pub(super) const SILENT: Self = Self {
        reason: "silent",
        close: Some((1008, "nothing heard in time")),
        readable: true,
    };
    /// As [`Self::SILENT`], but nobody is there to be told.
    pub(super) const LOST: Self = Self {
        reason: "silent",
        close: None,
        readable: false,
    };
    pub(super) const STALLED: Self = Self {
        reason: "stalled",
        close: Some((1008, "nothing taken in time")),
        readable: true,
    };
    pub(super) const DRAIN: Self = Self {
        reason: "drain",
        close: Some((1012, "this instance drains")),
        readable: true,
    };
}

impl From<WriteError> for End {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stalled => Self::STALLED,
            WriteError::Silent => Self::LOST,
            WriteError::Gone => Self::ERROR,
        }
    }
}
