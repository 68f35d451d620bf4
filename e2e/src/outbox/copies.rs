//! The copies of the stream on the nodes of a cluster, compared with each other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::{Context, Result, bail};
use async_nats::jetstream::stream::Stream;

use super::stream::{Message, Reader, read_all, reader, stream};

/// Consumers that are made until one is served by a certain node of three.
const TRIES_MAX: usize = 100;

/// Reads all copies, one after the other, and says where one is not like the first.
///
/// # Errors
/// NATS breaks off, or a node is never given a consumer to serve.
pub async fn differing_copies(
    client: &async_nats::Client,
    nodes: &[String],
) -> Result<Vec<String>> {
    let stream = stream(client).await?;
    let mut copies: Vec<(&String, Vec<Digest>)> = Vec::new();
    let mut differing = Vec::new();
    for node in nodes {
        let consumer = reader_on(&stream, node).await?;
        let held = consumer.cached_info().num_pending;
        let mut copy = Vec::new();
        read_all(&consumer, held, |message| copy.push(digest(&message)))
            .await
            .with_context(|| format!("the copy of {node}"))?;
        if let Some((other, first)) = copies.first() {
            differing.extend(
                difference(&copy, first).map(|sentence| {
                    format!("the copy of {node} is not that of {other}: {sentence}")
                }),
            );
        }
        copies.push((node, copy));
    }
    Ok(differing)
}

/// A reader of the copy of this node: the server gives each consumer to a node by chance.
async fn reader_on(stream: &Stream, node: &str) -> Result<Reader> {
    for _ in 0..TRIES_MAX {
        let consumer = reader(stream).await?;
        let info = consumer.cached_info();
        let serves = info.cluster.as_ref();
        if serves.and_then(|cluster| cluster.leader.as_deref()) == Some(node) {
            return Ok(consumer);
        }
        let name = info.name.clone();
        stream.delete_consumer(&name).await.context("a consumer")?;
    }
    bail!("{node} is given no consumer")
}

/// A message's place, and a number that stands for what it is and when it was stored.
type Digest = (u64, u64);

fn digest(message: &Message) -> Digest {
    let mut hasher = DefaultHasher::new();
    message.stored_us.hash(&mut hasher);
    message.kind.hash(&mut hasher);
    (message.stream_seq, hasher.finish())
}

fn difference(copy: &[Digest], first: &[Digest]) -> Option<String> {
    if copy == first {
        return None;
    }
    let alike = copy.iter().zip(first).take_while(|(a, b)| a == b).count();
    let place = |copy: &[Digest]| copy.get(alike).map_or(0, |(seq, _)| *seq);
    Some(format!(
        "{} messages and {}; the first {alike} are the same, then comes message {} and message {}",
        copy.len(),
        first.len(),
        place(copy),
        place(first)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_lacks_a_message_is_found() {
        let first = [(1, 10), (2, 20), (3, 30)];
        assert_eq!(difference(&first, &first), None);
        let sentence = difference(&[(1, 10), (2, 30)], &first).unwrap();
        assert!(
            sentence.contains("2 messages and 3; the first 1 are"),
            "{sentence}"
        );
    }
}
