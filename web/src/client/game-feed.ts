/**
 * The viewer's copy of one game, kept whole: merges frames into a state, and says what to ask
 * of the gateway when one is missing. A state machine without IO: messages go in, messages to
 * send and a verdict come out.
 *
 * Each frame carries `n`, dense per viewer. An event with the next `n` is applied, an older one
 * is dropped, any other is a hole: the feed subscribes again from the cursor it stands at, and
 * ignores what does not fit until the gateway has answered. A snapshot replaces everything.
 */

import type { ClientMessage } from './protocol/from-client';
import type { ErrorMessage, Frame, ServerMessage } from './protocol/from-server';
import type { Game, GameEvent, View } from './protocol/nouns';
import { isPassing, Problem } from './problem';

/** Where the viewer stands; `asOfMs` is the server's time that `view.clock` is true for. */
export interface Position {
  readonly n: number;
  readonly cursor: string;
  readonly view: View;
  readonly asOfMs: number | null;
  /** The event that led here; `null` after a snapshot. */
  readonly event: GameEvent | null;
}

/** `reopen`: this socket does not mend; take another. `refused`: subscribing is of no use. */
export type Verdict =
  | { readonly type: 'unchanged' }
  | { readonly type: 'changed'; readonly frame: Frame }
  | { readonly type: 'reopen' }
  | { readonly type: 'refused'; readonly problem: Problem };

export interface FeedOutput {
  readonly verdict: Verdict;
  readonly send: readonly ClientMessage[];
}

/** How often the missing frames are asked for before the cursor, then the socket, is given up. */
const HOLES_BEFORE_SNAPSHOT = 2;
const HOLES_BEFORE_REOPEN = 3;

const unchanged: FeedOutput = { verdict: { type: 'unchanged' }, send: [] };

export class GameFeed {
  readonly topic: string;
  game: Game | null = null;
  position: Position | null = null;

  private ref: string | null = null;
  private awaiting = false;
  private subscriptions = 0;
  private holes = 0;
  private useCursor = true;
  /** The highest `n` the server has told of; above `position.n` an event is still to come. */
  private promisedN = 0;

  constructor(gameId: string) {
    this.topic = `game:${gameId}`;
  }

  /** Whether the gateway still owes an answer to the latest subscribe. */
  get isAwaiting(): boolean {
    return this.awaiting;
  }

  /** Whether an acknowledged event has not arrived: a hole that no later event has shown yet. */
  get isBehind(): boolean {
    return this.position !== null && this.promisedN > this.position.n;
  }

  /** The first message of a new socket. */
  open(): readonly ClientMessage[] {
    this.holes = 0;
    return [this.subscribe()];
  }

  /** Asks again on the same socket, for what lies after the cursor. */
  resubscribe(): readonly ClientMessage[] {
    const unsubscribe = { type: 'unsubscribe', ref: `${this.ref ?? ''}-end`, topic: this.topic } as const;
    return [unsubscribe, this.subscribe()];
  }

  receive(message: ServerMessage): FeedOutput {
    switch (message.type) {
      case 'subscribed':
        if (message.ref === this.ref) this.awaiting = false;
        return unchanged;
      case 'snapshot':
      case 'event':
        return message.topic === this.topic ? this.merge(message) : unchanged;
      case 'ack':
        this.promisedN = Math.max(this.promisedN, message.n);
        return unchanged;
      case 'error':
        return message.ref !== undefined && message.ref === this.ref ? this.refused(message) : unchanged;
      default:
        return unchanged;
    }
  }

  /** A frame from anywhere: the socket, a long poll, the answer of a command. */
  merge(frame: Frame): FeedOutput {
    if (frame.type === 'snapshot') {
      this.game = frame.game;
      this.promisedN = frame.n;
      this.useCursor = true;
      return this.moveTo(frame, frame.at_ms ?? frame.now_ms ?? null, null);
    }
    const expectedN = (this.position?.n ?? 0) + 1;
    if (frame.n < expectedN) return unchanged;
    if (frame.n > expectedN) return this.hole();
    return this.moveTo(frame, frame.event.at_ms, frame.event);
  }

  private moveTo(frame: Frame, asOfMs: number | null, event: GameEvent | null): FeedOutput {
    this.holes = 0;
    this.position = { n: frame.n, cursor: frame.cursor, view: frame.view, asOfMs, event };
    return { verdict: { type: 'changed', frame }, send: [] };
  }

  private hole(): FeedOutput {
    if (this.awaiting) return unchanged;
    this.holes += 1;
    if (this.holes >= HOLES_BEFORE_REOPEN) return { verdict: { type: 'reopen' }, send: [] };
    if (this.holes >= HOLES_BEFORE_SNAPSHOT) this.useCursor = false;
    return { verdict: { type: 'unchanged' }, send: this.resubscribe() };
  }

  private subscribe(): ClientMessage {
    this.subscriptions += 1;
    this.ref = `sub-${this.subscriptions}`;
    this.awaiting = true;
    const base = { type: 'subscribe', ref: this.ref, topic: this.topic } as const;
    const cursor = this.useCursor ? this.position?.cursor : undefined;
    return cursor === undefined ? base : { ...base, cursor };
  }

  /** A cursor that is not ours any more (we took a seat meanwhile) is dropped for a snapshot. */
  private refused(error: ErrorMessage): FeedOutput {
    this.awaiting = false;
    if (error.reason === 'invalid' && this.useCursor && this.position !== null) {
      this.useCursor = false;
      return { verdict: { type: 'unchanged' }, send: [this.subscribe()] };
    }
    if (isPassing(error.reason)) return { verdict: { type: 'reopen' }, send: [] };
    const problem = new Problem(error.reason, error.detail);
    return { verdict: { type: 'refused', problem }, send: [] };
  }
}
