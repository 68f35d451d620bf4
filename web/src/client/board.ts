/** Reading `view.board`: 64 characters, a8 to h1. */

import type { Seat } from './protocol/nouns';

const FILES = 'abcdefgh';

export type PieceKind = 'pawn' | 'knight' | 'bishop' | 'rook' | 'queen' | 'king';

const KINDS: Readonly<Record<string, PieceKind>> = {
  p: 'pawn',
  n: 'knight',
  b: 'bishop',
  r: 'rook',
  q: 'queen',
  k: 'king',
};

/** What the viewer knows of one square. Fog is not the same as seen and empty. */
export type SquareContent =
  | { readonly state: 'fog' }
  | { readonly state: 'empty' }
  | {
      readonly state: 'piece';
      readonly letter: string;
      readonly side: Seat;
      readonly kind: PieceKind;
    };

/** All squares in the order of `view.board`: a8, b8 … h1. */
export const SQUARES: readonly string[] = Array.from(
  { length: 64 },
  (_, index) => `${FILES[index % 8]}${8 - Math.floor(index / 8)}`,
);

/** A character that is no piece letter is read as fog: never claim to see what was not said. */
function decodeSquare(character: string): SquareContent {
  if (character === '.') return { state: 'empty' };
  const kind = KINDS[character.toLowerCase()];
  if (kind === undefined) return { state: 'fog' };
  const side = character === character.toUpperCase() ? 'white' : 'black';
  return { state: 'piece', letter: character, side, kind };
}

/** The content of each square, keyed by its name. */
export function decodeBoard(board: string): ReadonlyMap<string, SquareContent> {
  return new Map(SQUARES.map((square, index) => [square, decodeSquare(board[index] ?? '?')]));
}

/** The squares as read on screen, left to right and top to bottom, with `bottom` nearest. */
export function squaresAsSeenFrom(bottom: Seat): readonly string[] {
  return bottom === 'white' ? SQUARES : [...SQUARES].reverse();
}

/** The text a screen reader says for a square, such as "e4, white pawn". */
export function describeSquare(square: string, content: SquareContent): string {
  if (content.state === 'piece') return `${square}, ${content.side} ${content.kind}`;
  return `${square}, ${content.state}`;
}

/** A dark square has an even sum of file and rank: a1 is dark. */
export function isDarkSquare(square: string): boolean {
  return (FILES.indexOf(square.charAt(0)) + 1 + Number(square.charAt(1))) % 2 === 0;
}
