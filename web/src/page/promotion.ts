/** Asks what a pawn becomes. */

import type { PieceKind, PromotionLetter, Seat } from '../client';
import { el } from './dom';
import { pieceDrawing } from './pieces';

const CHOICES: readonly (readonly [PromotionLetter, PieceKind])[] = [
  ['q', 'queen'],
  ['r', 'rook'],
  ['b', 'bishop'],
  ['n', 'knight'],
];

/** Resolves with the letter, or with `null` if the player thought better of it. */
export function choosePromotion(side: Seat): Promise<PromotionLetter | null> {
  const attributes = { 'aria-label': 'Promote the pawn to' };
  const dialog = el('dialog', { class: 'promotion', testId: 'promotion', attributes });
  for (const [letter, kind] of CHOICES) {
    const label = { type: 'button', 'aria-label': kind };
    const onClick = (): void => dialog.close(letter);
    const choice = el('button', { testId: `promote-${letter}`, attributes: label, onClick });
    choice.append(pieceDrawing(side, kind));
    dialog.append(choice);
  }
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(CHOICES.find(([letter]) => letter === dialog.returnValue)?.[0] ?? null);
    });
  });
}
