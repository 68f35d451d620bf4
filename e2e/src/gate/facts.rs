//! What the two games of a pair differ in, and the viewer must not learn.

use super::track::Track;
use crate::client::protocol::Side;

/// One kind of hidden difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// Where pieces stand.
    Placement,
    /// What captured a piece of the viewer, or from where.
    Capturer,
    /// Whether the opponent can capture en passant.
    EnPassant,
    /// The opponent's castling rights.
    Castling,
    /// Half-moves since the last capture or pawn's move.
    QuietPlies,
    /// How often the position has occurred.
    Repetition,
    /// What stands where a move that the viewer tries in vain would have led.
    Blocker,
    /// How many events the viewer is not told of.
    HiddenEvents,
}

impl Fact {
    /// All that games of fog chess can differ in.
    pub const OF_FOG_CHESS: [Self; 7] = [
        Self::Placement,
        Self::Capturer,
        Self::EnPassant,
        Self::Castling,
        Self::QuietPlies,
        Self::Repetition,
        Self::Blocker,
    ];

    /// A few words for reports.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Placement => "where pieces stand",
            Self::Capturer => "who captured",
            Self::EnPassant => "en passant for the opponent",
            Self::Castling => "the opponent's castling rights",
            Self::QuietPlies => "the half-move clock",
            Self::Repetition => "repetitions",
            Self::Blocker => "what blocks a move tried in vain",
            Self::HiddenEvents => "events not told of",
        }
    }
}

/// What two games that look the same to `viewer` differ in at this half-move.
pub(super) fn differences([one, other]: &[Track; 2], viewer: Side) -> Vec<Fact> {
    let opponent = viewer.other();
    let (a, b) = (&one.position, &other.position);
    let candidates = [
        (Fact::Placement, a.board() != b.board()),
        (
            Fact::Capturer,
            a.turn() == viewer && one.captured_by != other.captured_by,
        ),
        (
            Fact::EnPassant,
            a.turn() == opponent && a.en_passant() != b.en_passant(),
        ),
        (Fact::Castling, a.castling(opponent) != b.castling(opponent)),
        (Fact::QuietPlies, one.quiet_plies != other.quiet_plies),
        (Fact::Repetition, one.occurrences() != other.occurrences()),
    ];
    let differing = candidates.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(fact, _)| fact).collect()
}
