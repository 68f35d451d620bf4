/** What a seat may do besides moving: draw offers, resigning, aborting. */

import type { Action, Game, Seat, View } from '../client';
import { button, el, setText } from './dom';

/** A game can be aborted until both sides have moved. */
const ABORT_BELOW_PLY = 2;

export class ActionBar {
  private confirming = false;
  private readonly notice = el('p', { class: 'notice', testId: 'draw-notice', attributes: { role: 'status' } });
  private readonly offerDraw = this.action('Offer a draw', 'offer-draw-button', 'offer_draw');
  private readonly acceptDraw = this.action('Accept the draw', 'accept-draw-button', 'accept_draw');
  private readonly declineDraw = this.action('Decline', 'decline-draw-button', 'decline_draw');
  private readonly abort = this.action('Abort the game', 'abort-button', 'abort');
  private readonly resign = button('Resign', 'resign-button', () => this.confirm(true));
  private readonly confirmResign = button('Yes, resign', 'confirm-resign', () => this.resigned(), 'danger');
  private readonly cancelResign = button('Play on', 'cancel-resign', () => this.confirm(false));
  readonly element = el('section', { class: 'panel actions', attributes: { 'aria-label': 'Actions' } });

  constructor(private readonly onAction: (action: Action) => void) {
    const { notice, offerDraw, acceptDraw, declineDraw, abort, resign, confirmResign, cancelResign } = this;
    this.element.append(notice, offerDraw, acceptDraw, declineDraw, abort, resign, confirmResign, cancelResign);
    this.confirm(false);
  }

  show(game: Game, view: View, own: Seat | null, busy: boolean): void {
    const isLive = view.result === null && (game.status === 'open' || game.status === 'active');
    this.element.hidden = own === null || !isLive;
    const isActive = game.status === 'active';
    const isOffered = view.draw_offer !== null;
    const isOfferedToMe = isOffered && view.draw_offer !== own;
    setText(this.notice, drawNotice(isOffered, isOfferedToMe));
    this.offerDraw.hidden = !isActive || isOffered;
    this.acceptDraw.hidden = this.declineDraw.hidden = !isActive || !isOfferedToMe;
    this.abort.hidden = isActive && view.ply >= ABORT_BELOW_PLY;
    this.resign.hidden = !isActive || this.confirming;
    this.confirmResign.hidden = this.cancelResign.hidden = !isActive || !this.confirming;
    for (const element of [this.offerDraw, this.acceptDraw, this.declineDraw, this.abort]) element.disabled = busy;
  }

  private action(label: string, testId: string, type: Exclude<Action['type'], 'move'>): HTMLButtonElement {
    return button(label, testId, () => this.onAction({ type }));
  }

  /** Resigning cannot be taken back, so it takes two presses. */
  private confirm(confirming: boolean): void {
    this.confirming = confirming;
    this.resign.hidden = confirming;
    this.confirmResign.hidden = this.cancelResign.hidden = !confirming;
    if (confirming) this.confirmResign.focus();
  }

  private resigned(): void {
    this.confirm(false);
    this.onAction({ type: 'resign' });
  }
}

function drawNotice(isOffered: boolean, isOfferedToMe: boolean): string {
  if (!isOffered) return '';
  return isOfferedToMe ? 'Your opponent offers a draw.' : 'You have offered a draw.';
}
