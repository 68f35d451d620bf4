/** The screen without a game: who you are, and how to get to play. */

import type { Api, Player } from '../client';
import { ChallengePanel } from './challenge-panel';
import { CreateForm } from './create-form';
import { button, el, setText, textInput } from './dom';
import { Lobby } from './lobby';
import { problemSentence } from './sentences';

function goToGame(gameId: string): void {
  window.location.assign(`/?game=${encodeURIComponent(gameId)}`);
}

export class HomeScreen {
  private readonly alert = el('p', { class: 'alert', testId: 'alert', attributes: { role: 'alert' } });

  constructor(
    private readonly api: Api,
    private readonly onEntered: (player: Player) => void,
    private readonly invitation: string | null,
  ) {}

  open(place: HTMLElement, player: Player | null): void {
    const heading = el('h1', {}, 'Fog-of-war chess');
    const intro = el('p', {}, 'You see only what your pieces see. Capture the king to win.');
    const parts = player === null ? [this.enterForm()] : this.playParts(player);
    place.replaceChildren(heading, intro, this.alert, ...parts);
    const next = player === null ? 'name-input' : this.invitation === null ? null : 'join-button';
    if (next !== null) place.querySelector<HTMLElement>(`[data-testid="${next}"]`)?.focus();
  }

  private enterForm(): HTMLElement {
    const { field, input } = textInput('Your name', 'name-input', {
      required: '',
      maxlength: '32',
      autocomplete: 'nickname',
    });
    const enter = el('button', { testId: 'enter-button', attributes: { type: 'submit' } }, 'Enter');
    const invited = this.invitation === null ? '' : 'You are invited to a game. ';
    const words = el('p', {}, `${invited}Choose a name to play under; nothing else is asked.`);
    const form = el('form', { class: 'panel', attributes: { 'aria-label': 'Enter' } }, words, field, enter);
    this.submit(form, enter, async () => this.onEntered(await this.api.createPlayer(input.value.trim())));
    return form;
  }

  private playParts(player: Player): readonly HTMLElement[] {
    const create = new CreateForm();
    this.submit(create.element, create.button, async () => {
      goToGame((await this.api.createGame(create.game())).id);
    });
    const lobby = new Lobby(this.api, player, (id) => void this.joinListed(id));
    lobby.open();
    const challenges = new ChallengePanel(player, {
      accept: (id) => void this.joinListed(id),
      decline: (id) => void this.attempt(() => this.api.decline(id)),
    });
    challenges.open();
    const join = this.joinForm();
    const lists = [challenges.element, lobby.element];
    return this.invitation === null ? [create.element, join, ...lists] : [join, create.element, ...lists];
  }

  private joinForm(): HTMLElement {
    const { field, input } = textInput('Code of the game', 'join-code-input', {
      required: '',
      maxlength: '64',
      autocomplete: 'off',
      spellcheck: 'false',
    });
    input.value = this.invitation ?? '';
    const title = el('h2', {}, this.invitation === null ? 'Join with a code' : 'You are invited to a game');
    const join = el('button', { testId: 'join-button', attributes: { type: 'submit' } }, 'Join');
    const form = el('form', { class: 'panel', attributes: { 'aria-label': 'Join' } }, title, field, join);
    this.submit(form, join, async () => {
      goToGame((await this.api.joinByCode(codeOf(input.value))).id);
    });
    return form;
  }

  private async joinListed(gameId: string): Promise<void> {
    await this.attempt(async () => goToGame((await this.api.joinGame(gameId)).id));
  }

  private submit(form: HTMLFormElement, submit: HTMLButtonElement, send: () => Promise<void>): void {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      submit.disabled = true;
      void this.attempt(send).finally(() => {
        submit.disabled = false;
      });
    });
  }

  private async attempt(send: () => Promise<void>): Promise<void> {
    setText(this.alert, '');
    try {
      await send();
    } catch (error) {
      setText(this.alert, problemSentence(error));
    }
  }
}

/** Players paste the whole link as often as the code. */
function codeOf(text: string): string {
  const trimmed = text.trim();
  return URL.canParse(trimmed) ? (new URL(trimmed).searchParams.get('join') ?? trimmed) : trimmed;
}

/** Shown when the server does not answer at all. */
export function unreachable(place: HTMLElement, error: unknown): void {
  const words = el('p', { class: 'alert', testId: 'alert', attributes: { role: 'alert' } }, problemSentence(error));
  place.replaceChildren(words, button('Try again', 'retry-button', () => window.location.reload()));
}
