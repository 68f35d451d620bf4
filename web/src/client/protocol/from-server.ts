/** What a gateway says over `/v1/ws`, and the bodies its HTTP calls answer with. */

import type { Game, GameEvent, Reason, View } from './nouns';

export interface Welcome {
  readonly type: 'welcome';
  readonly now_ms: number;
}

/** `resumed` false means that a snapshot follows in place of the missing events. */
export interface Subscribed {
  readonly type: 'subscribed';
  readonly ref: string;
  readonly topic: string;
  readonly resumed: boolean;
  readonly now_ms?: number;
}

/** The whole of a viewer's state; it replaces whatever the client held. */
export interface SnapshotFrame {
  readonly type: 'snapshot';
  readonly topic: string;
  readonly n: number;
  readonly cursor: string;
  readonly game: Game;
  readonly view: View;
  readonly now_ms?: number;
  /** When the view's clock was read; without it the clock is taken to be as of `now_ms`. */
  readonly at_ms?: number;
}

/** One change of a viewer's state. `n` is dense: a hole means that something was missed. */
export interface EventFrame {
  readonly type: 'event';
  readonly topic: string;
  readonly n: number;
  readonly cursor: string;
  readonly event: GameEvent;
  readonly view: View;
}

export type Frame = SnapshotFrame | EventFrame;

/** How many watch, and whether each seat has a socket somewhere. */
export interface Presence {
  readonly type: 'presence';
  readonly topic: string;
  readonly watching: number;
  readonly seats: { readonly white?: boolean; readonly black?: boolean };
}

export interface Ack {
  readonly type: 'ack';
  readonly ref: string;
  readonly n: number;
  readonly cursor: string;
  readonly duplicate: boolean;
  readonly trace_id?: string;
}

/** A refusal; without `ref` it concerns the socket as a whole. */
export interface ErrorMessage {
  readonly type: 'error';
  readonly ref?: string;
  readonly reason: Reason;
  readonly detail: string;
}

export interface Pong {
  readonly type: 'pong';
  readonly ref: string;
}

/** The gateway drains: come back, to any gateway, after `after_ms`. */
export interface Reconnect {
  readonly type: 'reconnect';
  readonly after_ms: number;
}

/** What happened to one of the viewer's games, or to a challenge addressed to them. */
export interface OwnEvent {
  readonly kind: 'created' | 'started' | 'ended' | 'challenged' | 'challenge_ended';
  readonly game: Game;
}

/**
 * What the topic `me` says. On the wire these are a `snapshot` and an `event` without `n`; here they
 * have a name of their own, so that nobody takes them for frames of a game.
 */
export interface OwnWhole {
  readonly type: 'own-whole';
  readonly games: readonly Game[];
  readonly challenges: readonly Game[];
}

export interface OwnChange {
  readonly type: 'own-change';
  readonly events: readonly OwnEvent[];
}

export type ServerMessage =
  | Welcome
  | Subscribed
  | SnapshotFrame
  | EventFrame
  | Presence
  | OwnWhole
  | OwnChange
  | Ack
  | ErrorMessage
  | Pong
  | Reconnect;

/** Answer of `GET /v1/games/{id}/events`. */
export interface EventsPage {
  readonly frames: readonly Frame[];
  readonly cursor: string;
  readonly reset: boolean;
}

/** Answer of `POST /v1/games/{id}/commands`. */
export interface CommandAnswer {
  readonly n: number;
  readonly cursor: string;
  readonly duplicate: boolean;
  readonly frame?: Frame;
}

/** Answer of `GET /v1/games/{id}`: the caller's own state. */
export interface GameState {
  readonly game: Game;
  readonly view: View;
  readonly n: number;
  readonly cursor: string;
  readonly now_ms?: number;
  readonly at_ms?: number;
}
