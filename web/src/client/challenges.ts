/**
 * The challenges addressed to the viewer, kept up to date over the topic `me`. Whatever was missed
 * while the connection was away is in the snapshot with which the topic begins anew.
 */

import { Connection, type Socket } from './connection';
import type { ServerMessage } from './protocol/from-server';
import type { Game } from './protocol/nouns';

/** So many the server shows; whoever keeps more would keep some of which nothing is told any more. */
export const CHALLENGES_MAX = 50;

/** The challenges after a message, newest first. */
export function challengesAfter(challenges: readonly Game[], message: ServerMessage): readonly Game[] {
  if (message.type === 'own-whole') return message.challenges;
  if (message.type !== 'own-change') return challenges;
  return message.events.reduce((before, { kind, game }) => {
    const others = before.filter(({ id }) => id !== game.id);
    return kind === 'challenged' ? newestFirst([game, ...others]).slice(0, CHALLENGES_MAX) : others;
  }, challenges);
}

/** One that is told of now may be older than the others, if newer ones had kept it from being shown. */
function newestFirst(challenges: readonly Game[]): readonly Game[] {
  return [...challenges].sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at));
}

export interface ChallengesOptions {
  readonly openWebSocket: () => Socket;
  readonly onChange: (challenges: readonly Game[]) => void;
  readonly nowMs?: () => number;
  readonly random?: () => number;
}

export class Challenges {
  private challenges: readonly Game[] = [];
  private readonly connection: Connection;

  constructor(private readonly options: ChallengesOptions) {
    this.connection = new Connection({
      // Boards come over sockets alone.
      openSocket: () => options.openWebSocket(),
      handlers: {
        opened: () => [{ type: 'subscribe', ref: 'me', topic: 'me' }],
        received: (message) => this.received(message),
        lost: () => {},
        statusChanged: () => {},
      },
      nowMs: options.nowMs ?? (() => performance.now()),
      random: options.random ?? Math.random,
    });
  }

  open(): void {
    this.connection.open();
  }

  close(): void {
    this.connection.close();
  }

  private received(message: ServerMessage): void {
    if (message.type === 'subscribed') this.connection.proved();
    const after = challengesAfter(this.challenges, message);
    if (after === this.challenges) return;
    this.challenges = after;
    this.options.onChange(after);
  }
}
