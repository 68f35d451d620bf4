/** Short ways to write what a gateway says. */

import type { Game, View } from '../src/client';
import type { EventFrame, SnapshotFrame } from '../src/client/protocol/from-server';

export const GAME_ID = '01890000-0000-7000-8000-000000000001';
export const TOPIC = `game:${GAME_ID}`;

export function view(ply: number, more: Partial<View> = {}): View {
  const clock = { white_ms: 60_000, black_ms: 60_000, running: 'white' } as const;
  return { board: '?'.repeat(64), turn: 'white', ply, clock, draw_offer: null, result: null, ...more };
}

export function game(more: Partial<Game> = {}): Game {
  return {
    id: GAME_ID,
    ruleset: 'fog-chess',
    status: 'active',
    visibility: 'private',
    rated: false,
    clock: { initial_ms: 60_000, increment_ms: 0 },
    white: { id: 'w', name: 'Ada' },
    black: { id: 'b', name: 'Bob' },
    created_at: '2026-01-01T00:00:00Z',
    result: null,
    ...more,
  };
}

/** The frame of `n`; in these games the ply is `n` as well. */
export function event(n: number, more: Partial<EventFrame['event']> = {}): EventFrame {
  return {
    type: 'event',
    topic: TOPIC,
    n,
    cursor: `cursor-${n}`,
    event: { kind: 'moved', by: 'white', ply: n, at_ms: 1_000 * n, ...more },
    view: view(n),
  };
}

export function snapshot(n: number, more: Partial<SnapshotFrame> = {}): SnapshotFrame {
  const base = { topic: TOPIC, n, cursor: `cursor-${n}`, game: game(), view: view(n), now_ms: 1_000 * n };
  return { type: 'snapshot', ...base, ...more };
}

/** A repeatable source of numbers in [0, 1): a linear congruential generator (Numerical Recipes). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
