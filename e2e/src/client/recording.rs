//! What one subscriber was sent, checked as it comes: no hole, nothing twice, nothing older.

use std::time::Instant;

use anyhow::{Result, bail};

use super::protocol::{Frame, ViewClass};

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The frame.
    pub frame: Frame,
    /// When it had been read.
    pub at: Instant,
}

/// The frames of one game that one viewer was sent, over any number of connections.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Whose view it is.
    pub class: ViewClass,
    /// What came, in the order it came.
    pub frames: Vec<Recorded>,
    last_n: Option<u64>,
}

impl Recording {
    /// An empty recording of a subscription that starts at the first frame.
    #[must_use]
    pub const fn from_the_start(class: ViewClass) -> Self {
        Self {
            class,
            frames: Vec::new(),
            last_n: Some(0),
        }
    }

    /// An empty recording of a subscription that starts with a snapshot.
    #[must_use]
    pub const fn from_now(class: ViewClass) -> Self {
        Self {
            class,
            frames: Vec::new(),
            last_n: None,
        }
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// It does not follow the one before: a hole, a repetition, or an older state.
    pub fn take(&mut self, frame: Frame) -> Result<&Recorded> {
        let n = frame.n();
        match (&frame, self.last_n) {
            (Frame::Event { .. }, Some(last)) if n <= last => {
                bail!("frame {n} came again after frame {last}")
            }
            (Frame::Event { .. }, Some(last)) if n != last + 1 => {
                bail!("a hole: frame {n} came after frame {last}")
            }
            (Frame::Event { .. }, None) => bail!("frame {n} came before the snapshot"),
            (Frame::Snapshot { .. }, Some(last)) if n < last => {
                bail!("the snapshot at {n} is older than frame {last}")
            }
            _ => {}
        }
        self.last_n = Some(n);
        self.frames.push(Recorded {
            frame,
            at: Instant::now(),
        });
        Ok(&self.frames[self.frames.len() - 1])
    }

    /// The last frame.
    #[must_use]
    pub fn last(&self) -> Option<&Frame> {
        self.frames.last().map(|recorded| &recorded.frame)
    }

    /// Whether the game is over, as far as this viewer was told.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.last()
            .is_some_and(|frame| frame.view().result.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::Recording;
    use crate::client::protocol::{Frame, ViewClass};

    fn view() -> serde_json::Value {
        serde_json::json!({"board":"","turn":null,"ply":0,"clock":null,"draw_offer":null,"result":null})
    }

    fn event(n: u64) -> Frame {
        let event = serde_json::json!({"kind":"moved","by":"white","ply":1,"at_ms":1});
        let frame = serde_json::json!({"type":"event","topic":"t","n":n,"cursor":"c","event":event,"view":view()});
        serde_json::from_value(frame).expect("an event")
    }

    fn snapshot(n: u64) -> Frame {
        let game = serde_json::json!({"id":uuid::Uuid::nil(),"ruleset":"r","status":"open","white":null,"black":null,"result":null});
        let frame = serde_json::json!({"type":"snapshot","topic":"t","n":n,"cursor":"c","game":game,"view":view()});
        serde_json::from_value(frame).expect("a snapshot")
    }

    #[test]
    fn takes_one_after_the_other_and_a_newer_snapshot() {
        let mut recording = Recording::from_the_start(ViewClass::Public);
        for frame in [
            event(1),
            event(2),
            snapshot(2),
            event(3),
            snapshot(7),
            event(8),
        ] {
            recording.take(frame).expect("in order");
        }
        assert_eq!(recording.frames.len(), 6);
    }

    #[test]
    fn refuses_a_hole_a_repetition_and_an_older_state() {
        for (after, what) in [
            (event(5), "hole"),
            (event(2), "again"),
            (event(3), "again"),
            (snapshot(2), "older"),
        ] {
            let mut recording = Recording::from_the_start(ViewClass::Public);
            for n in 1..=3 {
                recording.take(event(n)).expect("in order");
            }
            let said = recording.take(after).expect_err(what).to_string();
            assert!(said.contains(what), "{said}");
        }
        Recording::from_the_start(ViewClass::Public)
            .take(event(2))
            .expect_err("the first is missing");
        Recording::from_now(ViewClass::Public)
            .take(event(1))
            .expect_err("no snapshot");
    }
}
