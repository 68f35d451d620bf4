/** Setting up a new game. */

import type { NewGame, Seat, TimeControl, Visibility } from '../client';
import { el, select, textInput } from './dom';
import { timeControlName } from './sentences';

const minutes = (initial: number, incrementSeconds: number): TimeControl => ({
  initial_ms: initial * 60_000,
  increment_ms: incrementSeconds * 1000,
});

/** The usual speeds from bullet to classical; the first is what the form begins with. */
const PRESETS: readonly (TimeControl | null)[] = [
  minutes(5, 3),
  minutes(1, 0),
  minutes(3, 2),
  minutes(10, 5),
  minutes(30, 20),
  null,
];

export class CreateForm {
  private readonly clock = select(
    'Clock (minutes + seconds a move)',
    'clock-select',
    PRESETS.map((preset) => [timeControlName(preset), timeControlName(preset)]),
  );
  private readonly seat = select('You play', 'seat-select', [
    ['random', 'either side'],
    ['white', 'white'],
    ['black', 'black'],
  ]);
  private readonly visibility = select('Who can join', 'visibility-select', [
    ['private', 'who has the link'],
    ['public', 'anyone (listed below)'],
  ]);
  private readonly opponent = textInput('Challenge a player (their id), or leave it empty', 'opponent-input', {
    maxlength: '36',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  readonly button = el('button', { testId: 'create-button', attributes: { type: 'submit' } }, 'Create game');
  readonly element = el(
    'form',
    { class: 'panel', attributes: { 'aria-label': 'New game' } },
    el('h2', {}, 'New game'),
    this.clock.field,
    this.seat.field,
    this.visibility.field,
    this.opponent.field,
    this.button,
  );

  game(): NewGame {
    const clock = PRESETS.find((preset) => timeControlName(preset) === this.clock.input.value) ?? null;
    const opponent = this.opponent.input.value.trim();
    return {
      ...(opponent === '' ? {} : { opponent }),
      ruleset: 'fog-chess',
      clock,
      seat: this.seat.input.value as Seat | 'random',
      visibility: this.visibility.input.value as Visibility,
      rated: false,
    };
  }
}
