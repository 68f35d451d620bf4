/** Two taps make a move: the piece, then where it goes. Legality comes from the server's list. */

import { movesBetween, targetsOf } from '../client';

export type Tap =
  | { readonly type: 'selection' }
  /** Several moves between the same squares differ in the promotion alone. */
  | { readonly type: 'move'; readonly candidates: readonly string[] };

export class MoveInput {
  selected: string | null = null;

  tap(square: string, moves: readonly string[]): Tap {
    const candidates = this.selected === null ? [] : movesBetween(moves, this.selected, square);
    if (candidates.length > 0) {
      this.selected = null;
      return { type: 'move', candidates };
    }
    const selectable = square !== this.selected && targetsOf(moves, square).size > 0;
    this.selected = selectable ? square : null;
    return { type: 'selection' };
  }

  clear(): void {
    this.selected = null;
  }

  targets(moves: readonly string[]): ReadonlySet<string> {
    return this.selected === null ? new Set() : targetsOf(moves, this.selected);
  }
}
