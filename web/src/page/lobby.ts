/** Public games: those that wait for an opponent, and those that can be watched. */

import type { Api, Game, Player } from '../client';
import { button, el, setText } from './dom';
import { problemSentence, timeControlName } from './sentences';

/** How often the lists are fetched while the page is looked at. */
const REFRESH_MS = 5_000;

export class Lobby {
  private readonly openList = el('ul', { class: 'games', testId: 'open-games' });
  private readonly activeList = el('ul', { class: 'games', testId: 'active-games' });
  private readonly state = el('p', { class: 'hint', attributes: { role: 'status' } });
  readonly element = el(
    'section',
    { class: 'panel', testId: 'lobby', attributes: { 'aria-label': 'Public games' } },
    el('h2', {}, 'Public games'),
    this.state,
    this.openList,
    this.activeList,
  );
  private shown = '';

  constructor(
    private readonly api: Api,
    private readonly player: Player,
    private readonly onJoin: (gameId: string) => void,
  ) {}

  open(): void {
    void this.refresh();
    setInterval(() => {
      if (!document.hidden) void this.refresh();
    }, REFRESH_MS);
  }

  private async refresh(): Promise<void> {
    try {
      const [open, active] = await Promise.all([this.api.games('open'), this.api.games('active')]);
      this.show(open, active);
      setText(this.state, open.length + active.length === 0 ? 'No public games at the moment.' : '');
    } catch (error) {
      setText(this.state, problemSentence(error));
    }
  }

  /** Lists that have not changed stay as they are, with whatever has the focus in them. */
  private show(open: readonly Game[], active: readonly Game[]): void {
    const key = JSON.stringify([open.map(keyOf), active.map(keyOf)]);
    if (key === this.shown) return;
    this.shown = key;
    this.openList.replaceChildren(...open.map((game) => this.openRow(game)));
    this.activeList.replaceChildren(...active.map((game) => row(game, link(game, 'Watch'))));
  }

  private openRow(game: Game): HTMLElement {
    const isOwn = game.white?.id === this.player.id || game.black?.id === this.player.id;
    if (isOwn) return row(game, link(game, 'Your game'));
    const join = button('Join', 'lobby-join', () => this.onJoin(game.id));
    join.setAttribute('aria-label', `Join the game of ${names(game)}`);
    return row(game, join);
  }
}

const keyOf = (game: Game): readonly unknown[] => [game.id, game.white?.id, game.black?.id];

function names(game: Game): string {
  const seated = [game.white, game.black].map((player) => player?.name);
  return seated.filter((name) => name !== undefined).join(' – ');
}

function row(game: Game, ...controls: readonly HTMLElement[]): HTMLElement {
  const words = el('span', {}, `${names(game)} · ${timeControlName(game.clock)}`);
  const element = el('li', {}, words, ...controls);
  element.dataset.game = game.id;
  return element;
}

function link(game: Game, text: string): HTMLElement {
  const label = `${text}: ${names(game)}`;
  const attributes = { href: `/?game=${encodeURIComponent(game.id)}`, 'aria-label': label };
  return el('a', { testId: 'lobby-open', attributes }, text);
}
