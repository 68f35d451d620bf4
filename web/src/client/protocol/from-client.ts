/** What a client says over `/v1/ws`, and the bodies it posts over HTTP. */

import type { Seat, TimeControl, Visibility } from './nouns';

export type Action =
  | { readonly type: 'move'; readonly uci: string }
  | { readonly type: 'resign' }
  | { readonly type: 'offer_draw' }
  | { readonly type: 'accept_draw' }
  | { readonly type: 'decline_draw' }
  | { readonly type: 'abort' }
  | { readonly type: 'flag' }
  | { readonly type: 'rematch' };

/** `ref` is at most 64 bytes and comes back in the answer. */
export interface Subscribe {
  readonly type: 'subscribe';
  readonly ref: string;
  readonly topic: string;
  readonly cursor?: string;
}

export interface Unsubscribe {
  readonly type: 'unsubscribe';
  readonly ref: string;
  readonly topic: string;
}

/** `at` is the `n` the player acted upon; the server answers `stale` if it is not the latest. */
export interface Command {
  readonly type: 'command';
  readonly ref: string;
  readonly game: string;
  readonly command_id: string;
  readonly at?: number;
  readonly action: Action;
}

export interface Ping {
  readonly type: 'ping';
  readonly ref: string;
}

export type ClientMessage = Subscribe | Unsubscribe | Command | Ping;

/** Body of `POST /v1/games`. */
export interface NewGame {
  readonly ruleset: 'fog-chess';
  readonly clock: TimeControl | null;
  readonly seat: Seat | 'random';
  readonly visibility: Visibility;
  readonly rated: boolean;
  /** The id of the player whom it challenges. */
  readonly opponent?: string;
}
