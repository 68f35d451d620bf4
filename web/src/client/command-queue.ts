/**
 * Commands on their way. Each has a `command_id` from the moment the player acts and keeps it
 * until the server has acknowledged or refused it, however many sockets that takes: the server
 * makes at most one event of a `command_id`, so sending again is safe and silence is not an
 * answer. Without IO; times come in as arguments.
 */

import { backoffMs } from './backoff';
import type { Action, Command } from './protocol/from-client';
import type { Ack, ErrorMessage } from './protocol/from-server';
import { isPassing, Problem } from './problem';

/** A player acts on one game at a time; more than this waiting is a fault of the caller. */
const PENDING_MAX = 8;
/** The server answers a write within 10 s, a failed one too; past that the answer is lost. */
const ANSWER_MS_MAX = 12_000;
/** Passing refusals after which the player is told; about a minute with the backoff. */
const REFUSALS_MAX = 10;

/** A command as the page may show it while it is under way. */
export interface PendingCommand {
  readonly commandId: string;
  readonly action: Action;
  readonly at: number | null;
}

interface Entry extends PendingCommand {
  /** When it is to be sent (again); `null` while an answer is awaited. */
  dueMs: number | null;
  sentMs: number;
  refusals: number;
  readonly resolve: (ack: Ack) => void;
  readonly reject: (problem: Problem) => void;
}

export class CommandQueue {
  private readonly entries = new Map<string, Entry>();

  constructor(
    private readonly gameId: string,
    private readonly random: () => number,
  ) {}

  get pending(): readonly PendingCommand[] {
    return [...this.entries.values()];
  }

  /** Resolves with the acknowledgement, rejects with the refusal as a `Problem`. */
  add(commandId: string, action: Action, at: number | null, nowMs: number): Promise<Ack> {
    if (this.entries.size >= PENDING_MAX) {
      return Promise.reject(new Problem('rate_limited', 'too many commands are under way'));
    }
    return new Promise((resolve, reject) => {
      const entry = { commandId, action, at, dueMs: nowMs, sentMs: 0, refusals: 0, resolve, reject };
      this.entries.set(commandId, entry);
    });
  }

  /** The messages to send now, in the order the player acted; they count as sent. */
  takeDue(nowMs: number): readonly Command[] {
    const due: Command[] = [];
    for (const entry of this.entries.values()) {
      const lost = entry.dueMs === null && nowMs - entry.sentMs >= ANSWER_MS_MAX;
      if (!lost && (entry.dueMs === null || entry.dueMs > nowMs)) continue;
      entry.dueMs = null;
      entry.sentMs = nowMs;
      due.push(this.message(entry));
    }
    return due;
  }

  /** The socket is gone and with it any answer: all are due on the next one. */
  disconnected(nowMs: number): void {
    for (const entry of this.entries.values()) entry.dueMs ??= nowMs;
  }

  acknowledged(ack: Ack): void {
    const entry = this.take(ack.ref);
    entry?.resolve(ack);
  }

  /** `persistence_failure` may have been committed all the same: asked again, the server knows. */
  refused(error: ErrorMessage, nowMs: number): void {
    const entry = error.ref === undefined ? undefined : this.entries.get(error.ref);
    if (entry === undefined) return;
    if (isPassing(error.reason) && entry.refusals < REFUSALS_MAX) {
      entry.dueMs = nowMs + backoffMs(entry.refusals, this.random);
      entry.refusals += 1;
      return;
    }
    this.entries.delete(entry.commandId);
    entry.reject(new Problem(error.reason, error.detail));
  }

  /** The viewer leaves; whoever awaits an answer is told that none will come. */
  abandon(problem: Problem): void {
    for (const entry of this.entries.values()) entry.reject(problem);
    this.entries.clear();
  }

  private take(ref: string): Entry | undefined {
    const entry = this.entries.get(ref);
    this.entries.delete(ref);
    return entry;
  }

  /** The `command_id` doubles as `ref`: whichever socket the answer comes on, it is recognised. */
  private message(entry: Entry): Command {
    const { commandId, action, at } = entry;
    const base = { type: 'command', ref: commandId, game: this.gameId, command_id: commandId, action } as const;
    return at === null ? base : { ...base, at };
  }
}
