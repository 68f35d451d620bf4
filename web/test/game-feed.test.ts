import { describe, expect, it } from 'vitest';
import { GameFeed } from '../src/client/game-feed';
import type { ClientMessage } from '../src/client/protocol/from-client';
import type { Frame } from '../src/client/protocol/from-server';
import { event, GAME_ID, seededRandom, snapshot, TOPIC } from './fixtures';

/** A feed that has been granted its first subscribe and stands at `n`. */
function feedAt(n: number): GameFeed {
  const feed = new GameFeed(GAME_ID);
  feed.open();
  feed.merge(snapshot(n));
  grant(feed, feed.resubscribe());
  return feed;
}

function grant(feed: GameFeed, messages: readonly ClientMessage[]): void {
  for (const message of messages) {
    if (message.type !== 'subscribe') continue;
    feed.receive({ type: 'subscribed', ref: message.ref, topic: TOPIC, resumed: true });
  }
}

describe('merging', () => {
  it('starts with a snapshot and goes on with events', () => {
    const feed = feedAt(3);
    expect(feed.position).toMatchObject({ n: 3, cursor: 'cursor-3', asOfMs: 3_000, event: null });
    expect(feed.merge(event(4)).verdict.type).toBe('changed');
    expect(feed.position).toMatchObject({ n: 4, cursor: 'cursor-4', asOfMs: 4_000 });
  });

  it('takes the time of the clock from at_ms, where a snapshot states it', () => {
    const feed = new GameFeed(GAME_ID);
    feed.merge(snapshot(3, { now_ms: 9_000, at_ms: 8_000 }));
    expect(feed.position?.asOfMs).toBe(8_000);
  });

  it('drops what it has already', () => {
    const feed = feedAt(4);
    for (const n of [1, 3, 4]) {
      expect(feed.merge(event(n))).toEqual({ verdict: { type: 'unchanged' }, send: [] });
    }
    expect(feed.position?.n).toBe(4);
  });

  it('follows a log from its first event', () => {
    const feed = new GameFeed(GAME_ID);
    expect(feed.merge(event(1)).verdict.type).toBe('changed');
    expect(feed.position?.n).toBe(1);
  });

  it('lets a snapshot replace everything', () => {
    const feed = feedAt(4);
    feed.merge(snapshot(40));
    feed.merge(event(41));
    expect(feed.position?.n).toBe(41);
  });

  it('is deaf to other topics', () => {
    const feed = feedAt(4);
    expect(feed.receive({ ...event(5), topic: 'game:other' }).verdict.type).toBe('unchanged');
    expect(feed.position?.n).toBe(4);
  });
});

describe('a hole', () => {
  it('is asked for from the cursor, and not applied', () => {
    const feed = feedAt(4);
    const { send } = feed.merge(event(6));
    expect(feed.position?.n).toBe(4);
    expect(send.map(({ type }) => type)).toEqual(['unsubscribe', 'subscribe']);
    expect(send[1]).toMatchObject({ topic: TOPIC, cursor: 'cursor-4' });
  });

  it('is asked for once, however many events follow it', () => {
    const feed = feedAt(4);
    feed.merge(event(6));
    expect(feed.merge(event(7)).send).toEqual([]);
  });

  it('is mended by the replay', () => {
    const feed = feedAt(4);
    grant(feed, feed.merge(event(6)).send);
    for (const n of [5, 6, 7]) feed.merge(event(n));
    expect(feed.position?.n).toBe(7);
  });

  it('that stays costs the cursor, then the socket', () => {
    const feed = feedAt(4);
    grant(feed, feed.merge(event(6)).send);
    const second = feed.merge(event(6)).send;
    expect(second[1]).not.toHaveProperty('cursor');
    grant(feed, second);
    expect(feed.merge(event(6)).verdict).toEqual({ type: 'reopen' });
  });
});

describe('subscribing', () => {
  it('begins without a cursor and resumes with the latest', () => {
    const feed = new GameFeed(GAME_ID);
    expect(feed.open()[0]).not.toHaveProperty('cursor');
    feed.merge(snapshot(2));
    feed.merge(event(3));
    expect(feed.open()[0]).toMatchObject({ cursor: 'cursor-3' });
  });

  it('gives a refused cursor up for a snapshot', () => {
    const feed = feedAt(2);
    const [subscribe] = feed.open();
    const { send } = feed.receive({ type: 'error', ref: subscribe?.ref ?? '', reason: 'invalid', detail: '' });
    expect(send).toHaveLength(1);
    expect(send[0]).not.toHaveProperty('cursor');
    feed.merge(snapshot(9));
    expect(feed.open()[0]).toMatchObject({ cursor: 'cursor-9' });
  });

  it.each([
    ['unavailable', 'reopen'],
    ['not_found', 'refused'],
  ] as const)('that fails with %s is %s', (reason, verdict) => {
    const feed = new GameFeed(GAME_ID);
    const [subscribe] = feed.open();
    const answer = feed.receive({ type: 'error', ref: subscribe?.ref ?? '', reason, detail: '' });
    expect(answer.verdict.type).toBe(verdict);
  });

  it('is not touched by the answer to an earlier one', () => {
    const feed = new GameFeed(GAME_ID);
    const [earlier] = feed.open();
    feed.open();
    feed.receive({ type: 'error', ref: earlier?.ref ?? '', reason: 'not_found', detail: '' });
    feed.receive({ type: 'subscribed', ref: earlier?.ref ?? '', topic: TOPIC, resumed: true });
    expect(feed.isAwaiting).toBe(true);
  });
});

describe('an acknowledged event', () => {
  it('is missed until it has arrived', () => {
    const feed = feedAt(4);
    feed.receive({ type: 'ack', ref: 'x', n: 5, cursor: 'cursor-5', duplicate: false });
    expect(feed.isBehind).toBe(true);
    feed.merge(event(5));
    expect(feed.isBehind).toBe(false);
  });
});

/**
 * A gateway whose frames are lost, repeated and shuffled at random, but which answers a
 * subscribe truly: whatever happens, the feed never steps over an event and ends up complete.
 */
describe('over a bad connection', () => {
  const LAST = 40;

  function deliver(feed: GameFeed, frames: readonly Frame[], random: () => number): void {
    const queue = [...frames];
    while (queue.length > 0) {
      const frame = queue.splice(random() < 0.1 ? Math.floor(random() * queue.length) : 0, 1)[0];
      if (frame === undefined || random() < 0.15) continue;
      const before = feed.position?.n ?? 0;
      const { send, verdict } = feed.merge(frame);
      if (verdict.type === 'changed' && frame.type === 'event') expect(feed.position?.n).toBe(before + 1);
      if (random() < 0.1) queue.unshift(frame);
      const requests = verdict.type === 'reopen' ? feed.open() : send;
      if (requests.length > 0) replay(feed, requests, queue);
    }
  }

  function replay(feed: GameFeed, requests: readonly ClientMessage[], queue: Frame[]): void {
    const subscribe = requests.find((request) => request.type === 'subscribe');
    const from = Number(subscribe?.cursor?.split('-')[1] ?? Number.NaN);
    grant(feed, requests);
    if (Number.isNaN(from)) queue.unshift(snapshot(LAST));
    else queue.splice(0, queue.length, ...eventsAfter(from));
  }

  const eventsAfter = (n: number): Frame[] => Array.from({ length: LAST - n }, (_, i) => event(n + 1 + i));

  it.each(Array.from({ length: 200 }, (_, seed) => seed))('seed %d', (seed) => {
    const feed = feedAt(1);
    deliver(feed, eventsAfter(1), seededRandom(seed));
    // Whatever tail was lost silently comes with the next resume.
    const queue: Frame[] = [];
    replay(feed, feed.open(), queue);
    queue.forEach((frame) => feed.merge(frame));
    expect(feed.position).toMatchObject({ n: LAST, cursor: `cursor-${LAST}` });
  });
});
