/**
 * The nouns both directions of the protocol speak of. Names are the wire's own,
 * snake case included, so that a frame in the network panel and a type read alike.
 */

/** A side of the board; also who may sit on it. */
export type Seat = 'white' | 'black';

/** The life of a game: `open` is the lobby. */
export type GameStatus = 'open' | 'active' | 'finished' | 'aborted';

export type Visibility = 'public' | 'private';

/** A time control, in milliseconds; `null` where one is expected means unlimited. */
export interface TimeControl {
  readonly initial_ms: number;
  readonly increment_ms: number;
}

/** Who sits on a seat. */
export interface SeatedPlayer {
  readonly id: string;
  readonly name: string;
}

/** Why a game ended. */
export type EndReason =
  | 'king_captured'
  | 'resigned'
  | 'flag'
  | 'agreed'
  | 'no_move'
  | 'fifty_moves'
  | 'threefold'
  | 'aborted';

export interface GameResult {
  readonly winner: Seat | null;
  readonly reason: EndReason;
}

/**
 * What anyone entitled to the game may know of it; `code` is for the seats alone, `challenged` for
 * the two of an open challenge.
 */
export interface Game {
  readonly id: string;
  readonly ruleset: string;
  readonly status: GameStatus;
  readonly visibility: Visibility;
  readonly rated: boolean;
  readonly clock: TimeControl | null;
  readonly white: SeatedPlayer | null;
  readonly black: SeatedPlayer | null;
  readonly created_at: string;
  readonly result: GameResult | null;
  readonly code?: string;
  readonly challenged?: SeatedPlayer;
}

/** Remaining times as of the last event's `at_ms`. */
export interface ViewClock {
  readonly white_ms: number;
  readonly black_ms: number;
  readonly running: Seat | null;
}

/**
 * One viewer's projection of a `fog-chess` game. `board` has 64 characters, a8 to h1:
 * piece letters, `.` seen and empty, `?` fog. `moves` is there for the seat to move alone.
 */
export interface View {
  readonly board: string;
  readonly turn: Seat | null;
  readonly ply: number;
  readonly clock: ViewClock | null;
  readonly moves?: readonly string[];
  readonly castling?: string;
  readonly ep?: string;
  readonly last?: string;
  readonly lost?: string;
  readonly draw_offer: Seat | null;
  readonly result: GameResult | null;
}

/** What happened, as far as this viewer may know; `uci` is for the mover alone while the game lives. */
export interface GameEvent {
  readonly kind: 'created' | 'joined' | 'moved' | 'draw_offered' | 'draw_declined' | 'ended';
  readonly by: string | null;
  readonly ply: number;
  readonly at_ms: number;
  readonly uci?: string;
}

/** The closed list of refusals, the same over HTTP and WebSocket. */
export const REASONS = [
  'unauthorized',
  'forbidden',
  'not_found',
  'invalid',
  'too_large',
  'rate_limited',
  'illegal_action',
  'not_your_turn',
  'stale',
  'conflict',
  'game_over',
  'live_game',
  'persistence_failure',
  'unavailable',
] as const;

export type Reason = (typeof REASONS)[number];
