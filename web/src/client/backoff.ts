/** How long to wait before the next attempt. */

const DELAY_MS_FIRST = 250;
/** A player who comes back to the tab should not wait longer than this. */
const DELAY_MS_MAX = 10_000;

/**
 * Exponential backoff with "equal jitter": at least half the step, so that a dead gateway is
 * not hammered, and spread over the other half, so that its clients do not come back at once.
 */
export function backoffMs(attempt: number, random: () => number): number {
  const step = Math.min(DELAY_MS_MAX, DELAY_MS_FIRST * 2 ** Math.min(attempt, 16));
  return step / 2 + (random() * step) / 2;
}
