/**
 * One viewer's live game: the state to draw, and the commands to give. It joins the parts that
 * know one thing each: the connection, the feed of frames, the queue of commands, the clock.
 */

import type { Api } from './api';
import { CommandQueue, type PendingCommand } from './command-queue';
import { Connection, type ConnectionStatus, type Socket, type Transport } from './connection';
import { GameFeed, type FeedOutput, type Position } from './game-feed';
import { randomUuid } from './ids';
import { PollSocket } from './poll-socket';
import { Problem } from './problem';
import type { Action } from './protocol/from-client';
import type { Ack, Presence, ServerMessage } from './protocol/from-server';
import type { Game } from './protocol/nouns';
import { ServerTime } from './server-time';

/** How often overdue answers and unfulfilled promises of the server are looked for. */
const CHECK_EVERY_MS = 1_000;
/** How many checks in a row a promised frame may be missing before it is asked for. */
const CHECKS_BEFORE_RESUBSCRIBE = 3;
/** How many checks a subscribe may go unanswered before the socket is given up. */
const CHECKS_BEFORE_REOPEN = 10;

/** What a page draws. Replaced as a whole at each change, never modified. */
export interface SessionState {
  readonly game: Game | null;
  readonly position: Position | null;
  readonly pending: readonly PendingCommand[];
  /** Whether a command is under way, or acknowledged and its event not yet here. */
  readonly busy: boolean;
  readonly presence: Presence | null;
  readonly connection: ConnectionStatus;
  readonly transport: Transport;
  /** Set once the game cannot be had at all, for instance `not_found`. */
  readonly failure: Problem | null;
}

/** What the session takes from its surroundings, so that tests can give it something else. */
export interface SessionOptions {
  readonly gameId: string;
  readonly api: Api;
  readonly openWebSocket: () => Socket;
  readonly serverTime: ServerTime;
  readonly onChange: (state: SessionState) => void;
  readonly nowMs?: () => number;
  readonly random?: () => number;
  readonly newId?: () => string;
}

export class GameSession {
  private readonly feed: GameFeed;
  private readonly queue: CommandQueue;
  private readonly connection: Connection;
  private readonly nowMs: () => number;
  private presence: Presence | null = null;
  private failure: Problem | null = null;
  private check: ReturnType<typeof setInterval> | undefined;
  private checksOwed = 0;

  constructor(private readonly options: SessionOptions) {
    const { gameId, api, openWebSocket, random = Math.random } = options;
    this.nowMs = options.nowMs ?? (() => performance.now());
    this.feed = new GameFeed(gameId);
    this.queue = new CommandQueue(gameId, random);
    this.connection = new Connection({
      openSocket: (transport) =>
        transport === 'websocket' ? openWebSocket() : new PollSocket(api, gameId),
      handlers: {
        opened: () => [...this.feed.open(), ...this.queue.takeDue(this.nowMs())],
        received: (message) => this.received(message),
        lost: () => this.queue.disconnected(this.nowMs()),
        statusChanged: () => this.changed(),
      },
      nowMs: this.nowMs,
      random,
    });
  }

  get state(): SessionState {
    return {
      game: this.feed.game,
      position: this.feed.position,
      pending: this.queue.pending,
      busy: this.queue.pending.length > 0 || this.feed.isBehind,
      presence: this.presence,
      connection: this.connection.status,
      transport: this.connection.transport,
      failure: this.failure,
    };
  }

  open(): void {
    this.connection.open();
    this.check = setInterval(() => this.lookAfter(), CHECK_EVERY_MS);
  }

  /** Tells the session that the network or the tab is back. */
  nudge(): void {
    this.connection.nudge();
  }

  close(): void {
    this.end(new Problem('unavailable', 'the game was left'));
  }

  /**
   * Gives a command. Resolves when the server has committed it, rejects with its refusal.
   * `at` binds it to the state the player saw; resigning is meant whatever came meanwhile.
   */
  async command(action: Action): Promise<Ack> {
    if (this.failure !== null) throw this.failure;
    const at = action.type === 'resign' ? null : (this.feed.position?.n ?? null);
    const id = (this.options.newId ?? randomUuid)();
    const answer = this.queue.add(id, action, at, this.nowMs());
    this.flush();
    this.changed();
    try {
      return await answer;
    } finally {
      this.changed();
    }
  }

  private received(message: ServerMessage): void {
    if ('now_ms' in message && message.now_ms !== undefined) this.learnTime(message.type, message.now_ms);
    if (message.type === 'event') this.options.serverTime.observe(message.event.at_ms);
    if (message.type === 'subscribed') this.connection.proved();
    this.apply(this.feed.receive(message));
    if (message.type === 'ack') this.queue.acknowledged(message);
    if (message.type === 'error') this.queue.refused(message, this.nowMs());
    if (message.type === 'presence' && message.topic === this.feed.topic) {
      this.presence = message;
      this.changed();
    }
  }

  private apply({ verdict, send }: FeedOutput): void {
    send.forEach((message) => this.connection.send(message));
    if (verdict.type === 'reopen') this.connection.reopen();
    if (verdict.type === 'refused') this.fail(verdict.problem);
    if (verdict.type !== 'changed') return;
    const { frame } = verdict;
    const tellsOfGame = frame.type === 'snapshot';
    if (!tellsOfGame && (frame.event.kind === 'joined' || frame.view.result !== null)) {
      void this.refreshGame();
    }
    this.changed();
  }

  /** An event carries the view only; who sits where and the status are asked for. */
  private async refreshGame(): Promise<void> {
    try {
      const { game } = await this.options.api.gameState(this.options.gameId);
      this.feed.game = game;
      this.changed();
    } catch {
      // The names are decoration, and the next snapshot brings them; the result is in the view.
    }
  }

  private learnTime(type: ServerMessage['type'], serverMs: number): void {
    if (type === 'welcome') this.options.serverTime.restart(serverMs);
    else this.options.serverTime.observe(serverMs);
  }

  /** Once a second: sends what is due again, and asks for what the server owes. */
  private lookAfter(): void {
    this.flush();
    const owed = this.connection.status === 'connected' && (this.feed.isAwaiting || this.feed.isBehind);
    this.checksOwed = owed ? this.checksOwed + 1 : 0;
    if (this.checksOwed >= CHECKS_BEFORE_REOPEN) {
      this.checksOwed = 0;
      this.connection.reopen();
    } else if (this.checksOwed === CHECKS_BEFORE_RESUBSCRIBE && !this.feed.isAwaiting) {
      this.feed.resubscribe().forEach((message) => this.connection.send(message));
    }
  }

  private flush(): void {
    if (this.connection.status !== 'connected') return;
    for (const message of this.queue.takeDue(this.nowMs())) this.connection.send(message);
  }

  private fail(problem: Problem): void {
    this.failure = problem;
    this.end(problem);
    this.changed();
  }

  private end(problem: Problem): void {
    clearInterval(this.check);
    this.connection.close();
    this.queue.abandon(problem);
  }

  private changed(): void {
    this.options.onChange(this.state);
  }
}
