/** What the page says, in whole sentences. */

import {
  Problem,
  type EndReason,
  type Game,
  type GameResult,
  type Reason,
  type Seat,
  type TimeControl,
  type View,
} from '../client';

const REFUSALS: Readonly<Record<Reason, string>> = {
  unauthorized: 'Your session has ended. Enter your name again.',
  forbidden: 'You do not play in this game.',
  not_found: 'There is no such game, or it is private.',
  invalid: 'The server did not understand that.',
  too_large: 'That is too long.',
  rate_limited: 'That was too fast. Wait a moment and try again.',
  illegal_action: 'That is not possible now.',
  not_your_turn: 'It is not your turn.',
  stale: 'The game went on before that arrived. Look again and repeat it if you still want to.',
  conflict: 'That does not fit the state of the game: the seat may be taken, or it may be yours.',
  game_over: 'The game is over.',
  live_game: 'That can be seen once the game is over.',
  persistence_failure: 'The server could not store that. Try again.',
  unavailable: 'The server could not be reached. Try again.',
};

export function problemSentence(error: unknown): string {
  if (error instanceof Problem) return REFUSALS[error.reason];
  return 'Something went wrong in this page. Reload it.';
}

const ENDS: Readonly<Record<EndReason, string>> = {
  king_captured: 'The king was captured.',
  resigned: 'The other side resigned.',
  flag: 'The other side ran out of time.',
  agreed: 'Both sides agreed to a draw.',
  no_move: 'The side to move has no move.',
  fifty_moves: 'Fifty moves passed without a capture or a pawn move.',
  threefold: 'The same position occurred three times.',
  aborted: 'The game was aborted.',
};

const LOSSES: Partial<Record<EndReason, string>> = {
  king_captured: 'Your king was captured.',
  resigned: 'You resigned.',
  flag: 'You ran out of time.',
};

const NAMES: Readonly<Record<Seat, string>> = { white: 'White', black: 'Black' };

export function resultSentence({ winner, reason }: GameResult, own: Seat | null): string {
  if (reason === 'aborted') return ENDS.aborted;
  if (winner === null) return `Draw. ${ENDS[reason]}`;
  if (own === null) return `${NAMES[winner]} won. ${ENDS[reason]}`;
  return winner === own ? `You won. ${ENDS[reason]}` : `You lost. ${LOSSES[reason] ?? ENDS[reason]}`;
}

/** Whose turn it is, and what happened to the viewer's own pieces. */
export function turnSentence(game: Game, view: View, own: Seat | null): string {
  if (view.result !== null) return 'The game is over.';
  if (game.challenged !== undefined && own !== null) return `Waiting for ${game.challenged.name} to accept.`;
  if (game.challenged !== undefined) return 'You are challenged to this game.';
  if (game.status === 'open') return 'Waiting for an opponent.';
  const lost = view.lost === undefined ? '' : ` Your piece on ${view.lost} was captured.`;
  if (view.turn === null) return lost.trim();
  if (own === null) return `${NAMES[view.turn]} to move.`;
  return (view.turn === own ? 'Your turn.' : 'Your opponent is to move.') + lost;
}

/** "3+2" as players write it: minutes and increment in seconds. */
export function timeControlName(clock: TimeControl | null): string {
  if (clock === null) return 'unlimited';
  return `${clock.initial_ms / 60_000}+${clock.increment_ms / 1000}`;
}

export function seatName(seat: Seat): string {
  return NAMES[seat];
}
