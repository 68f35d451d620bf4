/**
 * One live socket to some gateway, kept up: opens, notices death, waits, opens again. It knows
 * nothing of games; it carries messages. After a lost connection the next one may reach
 * another instance, so nothing is remembered about where the last one was.
 */

import { backoffMs } from './backoff';
import { decodeServerMessage } from './protocol/decode';
import type { ClientMessage } from './protocol/from-client';
import type { ServerMessage } from './protocol/from-server';

/** How often a quiet socket is asked whether it lives. */
const PING_EVERY_MS = 10_000;
/** How long an answer to the ping may take. Under this, a stalled mobile link is let live. */
const PONG_MS_MAX = 8_000;
/** How long opening may take; a dropped handshake is silent otherwise. */
const OPEN_MS_MAX = 10_000;
/** Of attempts that fail in a row, each third is by long poll, for networks that block sockets. */
const ATTEMPTS_PER_ROUND = 3;

export type ConnectionStatus = 'connecting' | 'connected' | 'reconnecting' | 'closed';
export type Transport = 'websocket' | 'long-poll';

/**
 * What `WebSocket` and the long poll have in common. The close code decides nothing: whether a
 * gateway restarts (1012) or vanishes, the answer is to come back, sooner after a first loss.
 */
export interface Socket {
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface ConnectionHandlers {
  /** A socket is open: the messages to begin with. */
  readonly opened: () => readonly ClientMessage[];
  readonly received: (message: ServerMessage) => void;
  readonly lost: () => void;
  readonly statusChanged: () => void;
}

export interface ConnectionOptions {
  readonly openSocket: (transport: Transport) => Socket;
  readonly handlers: ConnectionHandlers;
  readonly nowMs: () => number;
  readonly random: () => number;
}

export class Connection {
  status: ConnectionStatus = 'connecting';
  transport: Transport = 'websocket';

  private socket: Socket | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private failures = 0;
  private pings = 0;
  /** While set, nothing has been heard since the ping that was sent then. */
  private pingSentMs: number | null = null;
  private reconnectAtMs: number | null = null;

  constructor(private readonly options: ConnectionOptions) {}

  open(): void {
    this.reconnectAtMs = null;
    const isLastOfRound = this.failures % ATTEMPTS_PER_ROUND === ATTEMPTS_PER_ROUND - 1;
    this.transport = isLastOfRound ? 'long-poll' : 'websocket';
    const socket = this.options.openSocket(this.transport);
    this.socket = socket;
    this.wait(OPEN_MS_MAX, () => this.drop());
    socket.onopen = () => this.opened();
    socket.onmessage = (event) => this.received(event.data);
    socket.onclose = () => this.drop();
  }

  /** Whether it was handed to an open socket; if not, it is for the caller to send it again. */
  send(message: ClientMessage): boolean {
    if (this.status !== 'connected' || this.socket === null) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** The connection has proved itself useful: the next loss starts the backoff anew. */
  proved(): void {
    this.attempt = 0;
  }

  /** The network is back or the tab is: do not sit out a long wait, and ask a quiet socket now. */
  nudge(): void {
    if (this.status === 'closed') return;
    if (this.socket === null) this.open();
    else if (this.status === 'connected' && this.pingSentMs === null) this.ping();
  }

  /** Gives this socket up and comes back on another one, after the backoff. */
  reopen(): void {
    this.drop();
  }

  close(): void {
    this.release();
    this.become('closed');
  }

  private opened(): void {
    // Where only the long poll works, one failed WebSocket is enough to come back to it.
    this.failures = this.transport === 'long-poll' ? ATTEMPTS_PER_ROUND - 2 : 0;
    this.become('connected');
    for (const message of this.options.handlers.opened()) this.send(message);
    this.scheduleTick();
  }

  private received(data: unknown): void {
    this.pingSentMs = null;
    const message = typeof data === 'string' ? decodeServerMessage(data) : null;
    if (message === null) return;
    if (message.type === 'reconnect') this.drained(message.after_ms);
    this.options.handlers.received(message);
  }

  /** The gateway spreads its clients: keep listening, and move when our turn comes. */
  private drained(afterMs: number): void {
    this.reconnectAtMs = this.options.nowMs() + Math.max(0, afterMs);
    this.wait(Math.max(0, afterMs), () => this.drop());
  }

  private scheduleTick(): void {
    this.wait(PING_EVERY_MS, () => this.ping());
  }

  private ping(): void {
    this.pings += 1;
    this.pingSentMs = this.options.nowMs();
    this.send({ type: 'ping', ref: `ping-${this.pings}` });
    if (this.reconnectAtMs !== null) return;
    this.wait(PONG_MS_MAX, () => {
      if (this.pingSentMs === null) this.scheduleTick();
      else this.drop();
    });
  }

  /** The socket is dead or given up. `close` may hang on a dead link, so nobody waits for it. */
  private drop(): void {
    if (this.status === 'closed') return;
    if (this.status !== 'connected') this.failures += 1;
    const reconnectAtMs = this.reconnectAtMs;
    this.release();
    this.become(this.status === 'connected' ? 'reconnecting' : this.status);
    this.options.handlers.lost();
    this.wait(this.delayMs(reconnectAtMs), () => this.open());
  }

  /** A drained gateway has named the time; else the time grows with each attempt. */
  private delayMs(reconnectAtMs: number | null): number {
    if (reconnectAtMs !== null) return Math.max(0, reconnectAtMs - this.options.nowMs());
    const delay = backoffMs(this.attempt, this.options.random);
    this.attempt += 1;
    return delay;
  }

  private release(): void {
    clearTimeout(this.timer);
    this.pingSentMs = null;
    this.reconnectAtMs = null;
    const socket = this.socket;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private become(status: ConnectionStatus): void {
    if (this.status === status) return;
    this.status = status;
    this.options.handlers.statusChanged();
  }

  /** One timer at a time: whatever is awaited, something else being awaited replaces it. */
  private wait(ms: number, then: () => void): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(then, ms);
  }
}
