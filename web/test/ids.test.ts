import { describe, expect, it } from 'vitest';
import { backoffMs } from '../src/client/backoff';
import { randomUuid } from '../src/client/ids';

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('random UUID', () => {
  it('is made outside secure contexts too', () => {
    const bare = { getRandomValues: crypto.getRandomValues.bind(crypto) } as Crypto;
    const ids = Array.from({ length: 100 }, () => randomUuid(bare));
    expect(new Set(ids).size).toBe(100);
    for (const id of [...ids, randomUuid()]) expect(id).toMatch(UUID_V4);
  });
});

describe('backoff', () => {
  it('doubles, is spread over its upper half, and is bounded', () => {
    expect([0, 1, 2].map((attempt) => backoffMs(attempt, () => 1))).toEqual([250, 500, 1_000]);
    expect(backoffMs(2, () => 0)).toBe(500);
    expect(backoffMs(1_000, () => 1)).toBe(10_000);
  });
});
