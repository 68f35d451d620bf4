/** Questions to the list of legal moves that the server sends: the client knows no rules of its own. */

/** Letters a pawn may be promoted to, as they end a UCI move. */
export type PromotionLetter = 'q' | 'r' | 'b' | 'n';

export const fromSquare = (uci: string): string => uci.slice(0, 2);
export const toSquare = (uci: string): string => uci.slice(2, 4);

/** Where the piece on `from` may go. */
export function targetsOf(moves: readonly string[], from: string): ReadonlySet<string> {
  return new Set(moves.filter((uci) => fromSquare(uci) === from).map(toSquare));
}

/** The moves between two squares: several if it is a promotion, none if it is not legal. */
export function movesBetween(
  moves: readonly string[],
  from: string,
  to: string,
): readonly string[] {
  return moves.filter((uci) => fromSquare(uci) === from && toSquare(uci) === to);
}
