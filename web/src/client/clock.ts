/** Remaining time on a player's clock, from the view and the server's time. */

import type { Seat, ViewClock } from './protocol/nouns';

/** Below this the clock shows tenths of a second. */
const TENTHS_BELOW_MS = 10_000;

/**
 * What `side` has left at `serverNowMs`. The view's clock is as of `asOfMs`; only the running
 * side has used time since. Never below zero: the server alone says that a flag has fallen.
 */
export function remainingMs(
  clock: ViewClock,
  side: Seat,
  asOfMs: number | null,
  serverNowMs: number | null,
): number {
  const left = side === 'white' ? clock.white_ms : clock.black_ms;
  if (clock.running !== side || asOfMs === null || serverNowMs === null) return Math.max(0, left);
  return Math.max(0, left - Math.max(0, serverNowMs - asOfMs));
}

/** "1:05:00", "4:07" or "0:09.3". Rounded down to the unit shown, as chess clocks do. */
export function formatClock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const minutesAndSeconds = `${Math.floor(seconds / 60) % 60}:${two(seconds % 60)}`;
  if (ms < TENTHS_BELOW_MS) return `${minutesAndSeconds}.${Math.floor(ms / 100) % 10}`;
  if (seconds < 3600) return minutesAndSeconds;
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
