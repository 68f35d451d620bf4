//! How much there is of everything.

use crate::event::{Key, Nth};

/// How many events there are, of which keys and shards, and how they may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Two events of one key.
    OneKey,
    /// Three events of two keys.
    #[default]
    TwoKeys,
    /// Two events of one shard and one of another, all there from the beginning. What both shards
    /// send may travel in one batch, and a batch's end is a step of its own.
    TwoShards,
    /// The same with one event of each.
    TwoShardsOneEach,
    /// As [`Self::TwoKeys`]; rows are sent in a batch, or one by one behind a fence that announces
    /// them.
    Announced,
    /// The same with two events of one key.
    AnnouncedOneKey,
    /// The same with one event of each key, which are there from the beginning.
    AnnouncedOneEach,
    /// The same with two events of one key and one of another, all there from the beginning.
    AnnouncedThere,
}

impl Scope {
    pub(crate) fn has_two_shards(self) -> bool {
        matches!(self, Self::TwoShards | Self::TwoShardsOneEach)
    }

    /// All shards.
    pub(crate) fn shards(self) -> std::ops::Range<Nth> {
        0..1 + usize::from(self.has_two_shards())
    }

    /// Whether events may be announced.
    pub(crate) fn announces(self) -> bool {
        matches!(
            self,
            Self::Announced | Self::AnnouncedOneKey | Self::AnnouncedOneEach | Self::AnnouncedThere
        )
    }

    /// The events that are there from the beginning.
    pub(crate) fn there(self) -> &'static [Key] {
        match self {
            Self::OneKey | Self::TwoKeys | Self::Announced | Self::AnnouncedOneKey => &[],
            Self::TwoShards => &[Key::Prompt, Key::Prompt, Key::Other],
            Self::TwoShardsOneEach => &[Key::Prompt, Key::Other],
            Self::AnnouncedOneEach => &[Key::Prompt, Key::Late],
            Self::AnnouncedThere => &[Key::Prompt, Key::Late, Key::Prompt],
        }
    }

    /// How many events of a key come at any time. Of the first key each batch may hold two.
    pub(crate) fn comes(self, key: Key) -> usize {
        match (key, self) {
            (
                Key::Prompt,
                Self::OneKey | Self::TwoKeys | Self::Announced | Self::AnnouncedOneKey,
            ) => 2,
            (Key::Late, Self::TwoKeys | Self::Announced) => 1,
            _ => 0,
        }
    }
}
