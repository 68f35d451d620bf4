import { describe, expect, it } from 'vitest';
import { decodeServerMessage, decodeView } from '../src/client/protocol/decode';
import { event, snapshot, TOPIC, view } from './fixtures';

const decode = (value: unknown): unknown => decodeServerMessage(JSON.stringify(value));

describe('decoding', () => {
  it('passes what the contract describes', () => {
    expect(decode(snapshot(3))).toEqual(snapshot(3));
    expect(decode(event(4))).toEqual(event(4));
    const subscribed = { type: 'subscribed', ref: 'r', topic: TOPIC, resumed: true, now_ms: 1 };
    expect(decode(subscribed)).toEqual(subscribed);
  });

  it('lets members through that a newer server adds', () => {
    expect(decode({ ...event(4), later: 1 })).toMatchObject({ n: 4, later: 1 });
  });

  it.each([
    ['no JSON', 'hello'],
    ['an unknown type', JSON.stringify({ type: 'weather' })],
    ['a member name of every object', JSON.stringify({ type: 'constructor' })],
    ['a short board', JSON.stringify({ ...event(1), view: view(1, { board: '...' }) })],
    ['no view', JSON.stringify({ ...event(1), view: undefined })],
    ['an n that is text', JSON.stringify({ ...event(1), n: '1' })],
    ['an ack without ref', JSON.stringify({ type: 'ack', n: 1 })],
    ['null', 'null'],
  ])('drops %s', (_, text) => {
    expect(decodeServerMessage(text)).toBeNull();
  });

  it('gives absent members their empty form', () => {
    expect(decodeView({ board: '.'.repeat(64), ply: 0 })).toMatchObject({
      clock: null,
      draw_offer: null,
      result: null,
      turn: null,
    });
  });

  it('takes an unknown reason for a passing fault', () => {
    expect(decode({ type: 'error', reason: 'sunspots', ref: 'r' })).toEqual({
      type: 'error',
      reason: 'unavailable',
      detail: '',
      ref: 'r',
    });
  });
});
