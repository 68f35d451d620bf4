/** Challenges: those addressed to the player, and the id by which others can challenge them. */

import { Challenges, webSocket, type Game, type Player } from '../client';
import { button, el, setText } from './dom';
import { timeControlName } from './sentences';

export interface ChallengeAnswers {
  readonly accept: (gameId: string) => void;
  readonly decline: (gameId: string) => void;
}

export class ChallengePanel {
  private readonly list = el('ul', { class: 'games', testId: 'challenges' });
  private readonly state = el('p', { class: 'hint', attributes: { role: 'status' } });
  readonly element: HTMLElement;
  private readonly challenges = new Challenges({
    openWebSocket: webSocket,
    onChange: (challenges) => this.show(challenges),
  });

  constructor(
    player: Player,
    private readonly answers: ChallengeAnswers,
  ) {
    const id = el('output', { testId: 'own-id' }, player.id);
    this.element = el(
      'section',
      { class: 'panel', attributes: { 'aria-label': 'Challenges' } },
      el('h2', {}, 'Challenges'),
      this.state,
      this.list,
      el('p', { class: 'hint' }, 'Who knows your id can challenge you: ', id),
    );
    this.show([]);
  }

  open(): void {
    this.challenges.open();
  }

  private show(challenges: readonly Game[]): void {
    setText(this.state, challenges.length === 0 ? 'Nobody challenges you at the moment.' : '');
    this.list.replaceChildren(...challenges.map((game) => this.row(game)));
  }

  private row(game: Game): HTMLElement {
    const challenger = (game.white ?? game.black)?.name ?? '';
    const seat = game.white === null ? 'white' : 'black';
    const words = el('span', {}, `${challenger} · ${timeControlName(game.clock)} · you play ${seat}`);
    const accept = button('Accept', 'accept-challenge', () => this.answers.accept(game.id));
    accept.setAttribute('aria-label', `Accept the challenge of ${challenger}`);
    const decline = button('Decline', 'decline-challenge', () => this.answers.decline(game.id));
    decline.setAttribute('aria-label', `Decline the challenge of ${challenger}`);
    const element = el('li', {}, words, el('span', { class: 'line' }, accept, decline));
    element.dataset.game = game.id;
    return element;
  }
}
