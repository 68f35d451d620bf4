import { describe, expect, it } from 'vitest';
import { formatClock, remainingMs, ServerTime } from '../src/client';

const clock = { white_ms: 60_000, black_ms: 30_000, running: 'white' } as const;

describe('remaining time', () => {
  it('runs for the side to move alone, from the time it was read', () => {
    expect(remainingMs(clock, 'white', 1_000, 11_500)).toBe(49_500);
    expect(remainingMs(clock, 'black', 1_000, 11_500)).toBe(30_000);
  });

  it('stands still when no clock runs', () => {
    expect(remainingMs({ ...clock, running: null }, 'white', 1_000, 11_500)).toBe(60_000);
  });

  it('never goes below zero nor above what was read', () => {
    expect(remainingMs(clock, 'white', 0, 1e9)).toBe(0);
    expect(remainingMs(clock, 'white', 5_000, 4_000)).toBe(60_000);
  });

  it('stands still while the time of the server is not known', () => {
    expect(remainingMs(clock, 'white', null, 5_000)).toBe(60_000);
    expect(remainingMs(clock, 'white', 5_000, null)).toBe(60_000);
  });
});

describe('clock text', () => {
  it.each([
    [3_900_000, '1:05:00'],
    [247_999, '4:07'],
    [60_000, '1:00'],
    [10_000, '0:10'],
    [9_999, '0:09.9'],
    [340, '0:00.3'],
    [0, '0:00.0'],
  ])('%d ms is %s', (ms, text) => {
    expect(formatClock(ms)).toBe(text);
  });
});

describe('server time', () => {
  it('is unknown until stated, and then goes on by itself', () => {
    let local = 100;
    const time = new ServerTime(() => local);
    expect(time.nowMs()).toBeNull();
    time.observe(5_000);
    local += 250;
    expect(time.nowMs()).toBe(5_250);
  });

  it('trusts the statement that travelled fastest', () => {
    let local = 0;
    const time = new ServerTime(() => local);
    time.observe(5_000);
    local = 1_000;
    time.observe(5_700); // sent at 6,000 by the first statement, or 300 ms late: an old event
    expect(time.nowMs()).toBe(6_000);
    time.observe(6_050); // the first one had been 50 ms late itself
    expect(time.nowMs()).toBe(6_050);
  });

  it('starts over on a new connection', () => {
    const time = new ServerTime(() => 0);
    time.observe(9_000);
    time.restart(5_000);
    expect(time.nowMs()).toBe(5_000);
  });
});
