/** One side's line beside the board: name, whether it is there, clock. */

import { formatClock, remainingMs, type Game, type Presence, type Seat, type ServerTime } from '../client';
import type { SessionState } from '../client';
import { el, setText } from './dom';
import { seatName } from './sentences';

/** Below this the running clock is drawn as urgent. */
const LOW_TIME_MS = 20_000;

export class PlayerStrip {
  private readonly name = el('span', { class: 'name' });
  private readonly online = el('span', { class: 'online' });
  private readonly clock = el('span', { class: 'clock', attributes: { role: 'timer' } });
  readonly element = el('div', { class: 'strip' }, this.online, this.name, this.clock);

  constructor(
    private readonly seat: Seat,
    private readonly serverTime: ServerTime,
  ) {
    this.element.dataset.seat = seat;
    this.name.dataset.testid = `name-${seat}`;
    this.online.dataset.testid = `online-${seat}`;
    this.clock.dataset.testid = `clock-${seat}`;
    this.clock.setAttribute('aria-label', `${seatName(seat)} clock`);
  }

  show(game: Game, presence: Presence | null, own: Seat | null): void {
    const player = game[this.seat];
    const you = own === this.seat ? ' (you)' : '';
    setText(this.name, player === null ? `${seatName(this.seat)}: free seat` : player.name + you);
    const online = presence?.seats[this.seat];
    this.online.dataset.state = online === undefined ? 'unknown' : online ? 'online' : 'offline';
    setText(this.online, online === undefined ? '' : online ? 'online' : 'offline');
  }

  /** Called several times a second while a clock runs. */
  tick({ position }: SessionState): void {
    const clock = position?.view.clock ?? null;
    this.clock.hidden = clock === null;
    if (clock === null || position === null) return;
    const left = remainingMs(clock, this.seat, position.asOfMs, this.serverTime.nowMs());
    const isRunning = clock.running === this.seat;
    this.clock.dataset.running = String(isRunning);
    this.clock.dataset.low = String(isRunning && left < LOW_TIME_MS);
    setText(this.clock, formatClock(left));
  }
}
