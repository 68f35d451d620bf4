//! A bot's next command, from what it was sent: without IO.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::protocol::{Frame, move_action};

/// Random games end by a captured king well before; what does not is resigned.
const PLIES_MAX: usize = 400;

/// A command, and whether it is on its way.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: Uuid,
    /// The frame that it answers.
    pub(super) at: u64,
    /// Half-moves before it.
    pub(super) ply: usize,
    pub(super) action: Value,
    /// When it may be sent.
    pub(super) due: Instant,
    /// Sent on this connection or one before, so that a new one has to repeat it.
    pub(super) sent: bool,
}

/// One command at a time, and at most one for each frame.
pub(super) struct Hand {
    random: StdRng,
    pause: Duration,
    pending: Option<Pending>,
    acted_at: u64,
    next_move_at: Instant,
}

impl Hand {
    /// A hand that moves at most once in `pause`.
    pub(super) fn new(random: StdRng, pause: Duration) -> Self {
        Self {
            random,
            pause,
            pending: None,
            acted_at: 0,
            next_move_at: Instant::now(),
        }
    }

    /// The command that is waiting to be sent, or to be answered.
    pub(super) const fn pending(&mut self) -> Option<&mut Pending> {
        self.pending.as_mut()
    }

    /// Makes up a command, if the last frame asks for one that was not given yet.
    ///
    /// To be called after each frame *and* after each answer: a crash can swallow an answer until
    /// the opponent's reply is there, and then no further frame comes to wake anybody.
    pub(super) fn look(&mut self, last: &Frame, id: Uuid, resigns: bool) {
        let view = last.view();
        let asked = view.result.is_none() && self.pending.is_none() && last.n() > self.acted_at;
        let Some(moves) = view
            .moves
            .as_ref()
            .filter(|moves| asked && !moves.is_empty())
        else {
            return;
        };
        let action = if resigns || view.ply >= PLIES_MAX {
            json!({ "type": "resign" })
        } else {
            move_action(&moves[self.random.random_range(0..moves.len())])
        };
        self.acted_at = last.n();
        self.pending = Some(Pending {
            id,
            at: last.n(),
            ply: view.ply,
            action,
            due: self.next_move_at,
            sent: false,
        });
        self.next_move_at = self.next_move_at.max(Instant::now()) + self.pause;
    }

    /// The command was carried out, and made frame `n`.
    pub(super) fn answered(&mut self, n: u64) -> Result<()> {
        let Some(pending) = self.pending.take() else {
            bail!("an answer came that nobody waited for");
        };
        if n != pending.at + 1 {
            bail!("a move at {} is answered with frame {n}", pending.at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Hand;
    use crate::client::new_id;
    use crate::client::protocol::Frame;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use std::time::Duration;

    fn frame(n: u64, moves: &[&str]) -> Frame {
        let view = serde_json::json!({"board":"","turn":null,"ply":n,"clock":null,
            "draw_offer":null,"result":null,"moves":moves});
        let event = serde_json::json!({"kind":"moved","by":"black","ply":n,"at_ms":1});
        let frame = serde_json::json!({"type":"event","topic":"t","n":n,"cursor":"c",
            "event":event,"view":view});
        serde_json::from_value(frame).expect("a frame")
    }

    fn hand() -> Hand {
        Hand::new(StdRng::seed_from_u64(1), Duration::from_millis(1))
    }

    #[test]
    fn a_reply_that_comes_before_the_answer_is_moved_upon_when_the_answer_comes() {
        let mut hand = hand();
        hand.look(&frame(2, &["e2e4"]), new_id(), false);
        let first = hand.pending().expect("a move").id;
        // A crash took the answer; the next gateway sends all that was missed first.
        hand.look(&frame(3, &[]), new_id(), false);
        hand.look(&frame(4, &["d2d4"]), new_id(), false);
        assert_eq!(hand.pending().expect("still the first").id, first);
        hand.answered(3).expect("its frame");
        hand.look(&frame(4, &["d2d4"]), new_id(), false);
        let second = hand.pending().expect("the next move");
        assert_eq!((second.at, &second.action["uci"]), (4, &"d2d4".into()));
    }

    #[test]
    fn one_frame_is_moved_upon_once() {
        let mut hand = hand();
        hand.look(&frame(2, &["e2e4"]), new_id(), false);
        hand.answered(3).expect("its frame");
        // The answer came before the frame of the move.
        hand.look(&frame(2, &["e2e4"]), new_id(), false);
        assert!(hand.pending().is_none());
        hand.answered(3).expect_err("nothing waits");
    }

    #[test]
    fn an_answer_with_another_frame_than_the_next_is_refused() {
        let mut hand = hand();
        hand.look(&frame(2, &["e2e4"]), new_id(), true);
        assert_eq!(hand.pending().expect("a command").action["type"], "resign");
        hand.answered(4).expect_err("not its frame");
    }
}
