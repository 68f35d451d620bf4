//! The server's WebSocket frames (RFC 6455 §5.2), read without copying where they come whole, and
//! the client's, written. Nothing is checked that a benchmark does not need.

/// Text.
pub(crate) const TEXT: u8 = 0x1;
/// The other side wants to be answered.
pub(crate) const PING: u8 = 0x9;

/// The answer to an empty ping. A mask of zeros leaves the payload as it is.
pub(crate) const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// Cuts what comes into frames.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// The beginning of a frame of which the rest has not come; empty nearly always.
    carry: Vec<u8>,
}

impl FrameReader {
    /// Takes what was read; calls `each` with the opcode and the payload of every whole frame.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(u8, &[u8])) {
        if self.carry.is_empty() {
            let rest = cut(bytes, &mut each);
            self.carry.extend_from_slice(rest);
            return;
        }
        self.carry.extend_from_slice(bytes);
        let left = cut(&self.carry, &mut each).len();
        self.carry.drain(..self.carry.len() - left);
        if self.carry.is_empty() {
            // Thousands of sockets: what one needed once is not kept for it.
            self.carry = Vec::new();
        }
    }
}

/// Calls `each` with every whole frame; gives the rest.
fn cut<'a>(mut bytes: &'a [u8], each: &mut impl FnMut(u8, &[u8])) -> &'a [u8] {
    while let Some((opcode, payload, rest)) = first(bytes) {
        each(opcode, payload);
        bytes = rest;
    }
    bytes
}

/// The first frame of some bytes, if it is whole, and what follows it.
fn first(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [head, short, ..] = *bytes else {
        return None;
    };
    let (length, at) = match short & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            (u64::from(u16::from_be_bytes(length)), 4)
        }
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        length => (u64::from(length), 2),
    };
    let end = at + usize::try_from(length).ok()?;
    let payload = bytes.get(at..end)?;
    Some((head & 0x0f, payload, &bytes[end..]))
}

/// A client's text frame. The mask is zero: it hides nothing from proxies here, and costs nothing.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    let mut frame = header(payload.len(), 0x80);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload.as_bytes());
    frame
}

/// A server's text frame.
pub(crate) fn server_text(payload: &str) -> Vec<u8> {
    let mut frame = header(payload.len(), 0);
    frame.extend_from_slice(payload.as_bytes());
    frame
}

fn header(length: usize, mask: u8) -> Vec<u8> {
    let mut frame = vec![0x80 | TEXT];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < 126 => frame.push(mask | length),
        (_, Ok(length)) => {
            frame.push(mask | 0x7e);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(mask | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::{FrameReader, PING, TEXT, server_text};

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let mut wire = Vec::new();
        let long = "x".repeat(300);
        let huge = "y".repeat(70_000);
        for payload in ["", "short", &long, &huge] {
            wire.extend(server_text(payload));
        }
        wire.extend([0x89, 0]);
        for piece in [1, 2, 7, 1000, wire.len()] {
            let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
            for bytes in wire.chunks(piece) {
                reader.feed(bytes, |opcode, payload| seen.push((opcode, payload.len())));
            }
            let expected = [(TEXT, 0), (TEXT, 5), (TEXT, 300), (TEXT, 70_000), (PING, 0)];
            assert_eq!(seen, expected, "in pieces of {piece}");
            assert!(reader.carry.is_empty());
        }
    }
}
