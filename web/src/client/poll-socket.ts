/**
 * The long poll dressed as a socket, for networks that let no WebSocket through. It answers the
 * messages of one game as a gateway would, so nothing above it has to know; it is slower, and
 * closes itself now and then so that the WebSocket gets another chance.
 */

import type { Api } from './api';
import type { Socket } from './connection';
import type { ClientMessage, Command, Subscribe } from './protocol/from-client';
import type { GameState, ServerMessage } from './protocol/from-server';
import { isPassing, Problem } from './problem';

/** How long the server may hold a poll; under the minute at which proxies cut a quiet request. */
const WAIT_MS = 20_000;
/** After this the WebSocket is tried again. */
const LIFETIME_MS = 300_000;

export class PollSocket implements Socket {
  onopen: Socket['onopen'] = null;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;

  private readonly closed = new AbortController();
  private readonly lifetime: ReturnType<typeof setTimeout>;
  /** Ends the poll of an earlier subscribe. */
  private subscription = new AbortController();

  constructor(
    private readonly api: Api,
    private readonly gameId: string,
  ) {
    this.lifetime = setTimeout(() => this.fail(), LIFETIME_MS);
    void this.probe();
  }

  send(text: string): void {
    const message = JSON.parse(text) as ClientMessage;
    if (message.type === 'ping') this.emit({ type: 'pong', ref: message.ref });
    else if (message.type === 'subscribe') void this.subscribe(message);
    else if (message.type === 'command') void this.command(message);
  }

  close(): void {
    clearTimeout(this.lifetime);
    this.closed.abort();
    this.subscription.abort();
  }

  /** It counts as open once the server answers at all, if only to refuse. */
  private async probe(): Promise<void> {
    try {
      await this.api.gameState(this.gameId);
    } catch (error) {
      if (!(error instanceof Problem) || isPassing(error.reason)) return this.fail();
    }
    if (!this.closed.signal.aborted) this.onopen?.(new Event('open'));
  }

  private async subscribe({ ref, topic, cursor }: Subscribe): Promise<void> {
    this.subscription.abort();
    const subscription = new AbortController();
    this.subscription = subscription;
    try {
      const after = cursor ?? (await this.snapshot(topic));
      this.emit({ type: 'subscribed', ref, topic, resumed: cursor !== undefined });
      await this.poll(after, subscription.signal);
    } catch (error) {
      if (subscription.signal.aborted) return;
      if (!(error instanceof Problem) || isPassing(error.reason)) return this.fail();
      this.emit({ type: 'error', ref, reason: error.reason, detail: error.detail });
    }
  }

  /** Emits the caller's present state and gives the cursor behind it. */
  private async snapshot(topic: string): Promise<string> {
    const state: GameState = await this.api.gameState(this.gameId);
    this.emit({ ...state, type: 'snapshot', topic });
    return state.cursor;
  }

  private async poll(after: string, signal: AbortSignal): Promise<void> {
    let cursor = after;
    while (!signal.aborted) {
      const page = await this.api.events(this.gameId, cursor, WAIT_MS, signal);
      if (signal.aborted) return;
      page.frames.forEach((frame) => this.emit(frame));
      cursor = page.cursor;
    }
  }

  private async command({ ref, command_id, at, action }: Command): Promise<void> {
    const body = at === undefined ? { command_id, action } : { command_id, at, action };
    try {
      const { n, cursor, duplicate, frame } = await this.api.command(this.gameId, body);
      if (frame !== undefined) this.emit(frame);
      this.emit({ type: 'ack', ref, n, cursor, duplicate });
    } catch (error) {
      const { reason, detail } = error instanceof Problem ? error : new Problem('unavailable', '');
      this.emit({ type: 'error', ref, reason, detail });
    }
  }

  private emit(message: ServerMessage): void {
    if (!this.closed.signal.aborted) this.onmessage?.(new MessageEvent('message', { data: JSON.stringify(message) }));
  }

  private fail(): void {
    if (this.closed.signal.aborted) return;
    this.close();
    this.onclose?.(new Event('close') as CloseEvent);
  }
}
