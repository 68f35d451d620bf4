//! What a NATS server says to a subscriber, read in place. Pure.
//!
//! Source: the client protocol of NATS, <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

/// A line but for `INFO` is far shorter; a server with many neighbours names all of them in that.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The server's own default; an event of a game is a few kilobytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// A message as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// Where it was published.
    pub subject: &'a str,
    /// Its headers, from the version line on; empty without.
    headers: &'a [u8],
    /// The rest.
    pub payload: &'a [u8],
}

impl<'a> Delivered<'a> {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let lines = std::str::from_utf8(self.headers).ok()?.split("\r\n");
        let mut named = lines.skip(1).filter_map(|line| line.split_once(':'));
        let (_, value) = named.find(|(known, _)| *known == name)?;
        Some(value.trim())
    }
}

/// One thing that a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op<'a> {
    /// Who it is, as JSON.
    Info(&'a [u8]),
    /// A message of a subscription.
    Message(Delivered<'a>),
    /// It wants to be answered.
    Ping,
    /// The answer to a ping: whatever was sent before it has been taken in.
    Pong,
    /// Something is wrong; after most errors it hangs up.
    Err(&'a str),
    /// Nothing of interest.
    Other,
}

/// What no server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server says what the protocol does not have")]
pub(super) struct Malformed;

/// The first thing of what came, and its bytes; none if it has not come whole.
pub(super) fn first(bytes: &[u8]) -> Result<Option<(Op<'_>, usize)>, Malformed> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < LINE_BYTES_MAX {
            Ok(None)
        } else {
            Err(Malformed)
        };
    };
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let op = match line {
        [b'M', b'S', b'G', b' ', args @ ..] => return message(args, false, rest, end + 2),
        [b'H', b'M', b'S', b'G', b' ', args @ ..] => return message(args, true, rest, end + 2),
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        [b'I', b'N', b'F', b'O', b' ', info @ ..] => Op::Info(info),
        [b'-', b'E', b'R', b'R', error @ ..] => {
            Op::Err(std::str::from_utf8(error).map_err(|_| Malformed)?.trim())
        }
        b"+OK" => Op::Other,
        _ => return Err(Malformed),
    };
    Ok(Some((op, end + 2)))
}

/// `<subject> <sid> [reply] [header bytes] <bytes>`, and that many bytes on the next lines.
fn message<'a>(
    args: &'a [u8],
    has_headers: bool,
    rest: &'a [u8],
    before: usize,
) -> Result<Option<(Op<'a>, usize)>, Malformed> {
    let args = std::str::from_utf8(args).map_err(|_| Malformed)?;
    let mut words = args.split(' ').filter(|word| !word.is_empty());
    let subject = words.next().ok_or(Malformed)?;
    let _sid = words.next().ok_or(Malformed)?;
    let mut backwards = words.rev();
    let mut number = || -> Result<usize, Malformed> {
        let word = backwards.next().ok_or(Malformed)?;
        word.parse().map_err(|_| Malformed)
    };
    let total = number()?;
    let headers = if has_headers { number()? } else { 0 };
    if headers > total || total > MESSAGE_BYTES_MAX {
        return Err(Malformed);
    }
    let Some(body) = rest.get(..total + 2) else {
        return Ok(None);
    };
    if &body[total..] != b"\r\n" {
        return Err(Malformed);
    }
    let delivered = Delivered {
        subject,
        headers: &body[..headers],
        payload: &body[headers..total],
    };
    Ok(Some((Op::Message(delivered), before + total + 2)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAID: &[u8] = b"INFO {\"tls_required\":false}\r\nPONG\r\n\
        MSG events.game.x 00ff 5\r\nhello\r\n\
        HMSG events.game.y 1 reply 32 34\r\nNATS/1.0\r\ntraceparent: 00-ab\r\n\r\n{}\r\n\
        +OK\r\nMSG a 1 0\r\n\r\nPING\r\n-ERR 'Stale Connection'\r\n";

    /// All that was said, as text, and what is left.
    fn heard(mut bytes: &[u8]) -> (Vec<String>, usize) {
        let mut heard = Vec::new();
        while let Some((op, used)) = first(bytes).unwrap() {
            heard.push(match op {
                Op::Message(message) => format!(
                    "{} {:?} {:?}",
                    message.subject,
                    message.header("traceparent"),
                    std::str::from_utf8(message.payload).unwrap()
                ),
                other => format!("{other:?}"),
            });
            bytes = &bytes[used..];
        }
        (heard, bytes.len())
    }

    #[test]
    fn each_thing_is_heard() {
        let (heard, left) = heard(SAID);
        assert_eq!(left, 0);
        assert!(heard[0].starts_with("Info("), "{heard:?}");
        assert_eq!(
            heard[1..],
            [
                "Pong",
                "events.game.x None \"hello\"",
                "events.game.y Some(\"00-ab\") \"{}\"",
                "Other",
                "a None \"\"",
                "Ping",
                "Err(\"'Stale Connection'\")",
            ]
        );
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused() {
        for wrong in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"MSG a 1\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a 1 5\r\nhello!!",
            b"HMSG a 1 9 5\r\nhello\r\n",
            b"MSG a 1 99999999999\r\n",
            b"\r\n",
        ] {
            assert_eq!(first(wrong), Err(Malformed), "{wrong:?}");
        }
        assert_eq!(first(&vec![b'x'; LINE_BYTES_MAX]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_is_heard(cut in 0..SAID.len()) {
            let (before, left) = heard(&SAID[..cut]);
            let (after, none) = heard(&SAID[cut - left..]);
            prop_assert_eq!(none, 0);
            prop_assert_eq!([before, after].concat(), heard(SAID).0);
        }

        #[test]
        fn whatever_comes_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = first(&bytes);
        }
    }
}
