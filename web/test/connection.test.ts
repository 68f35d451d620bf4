import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Connection, type Transport } from '../src/client/connection';
import { FakeSocket } from './fake-socket';

let sockets: FakeSocket[];
let transports: Transport[];
let received: string[];
let losses: number;

function connection(): Connection {
  return new Connection({
    openSocket: (transport) => {
      transports.push(transport);
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    handlers: {
      opened: () => [],
      received: (message) => received.push(message.type),
      lost: () => (losses += 1),
      statusChanged: () => {},
    },
    nowMs: () => Date.now(),
    random: () => 1,
  });
}

const latest = (): FakeSocket => sockets.at(-1) ?? new FakeSocket();

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  transports = [];
  received = [];
  losses = 0;
});

afterEach(() => {
  vi.useRealTimers();
});

describe('connection', () => {
  it('opens, tells, and comes back after a loss', () => {
    const subject = connection();
    subject.open();
    expect(subject.status).toBe('connecting');
    latest().accept();
    expect(subject.status).toBe('connected');
    latest().die();
    expect([subject.status, losses]).toEqual(['reconnecting', 1]);
    vi.advanceTimersByTime(250);
    expect(sockets).toHaveLength(2);
    latest().accept();
    expect(subject.status).toBe('connected');
  });

  it('waits longer each time until a connection has proved itself', () => {
    const subject = connection();
    subject.open();
    const delays = [250, 500, 1_000].map((delay) => {
      latest().accept();
      latest().die();
      vi.advanceTimersByTime(delay - 1);
      const before = sockets.length;
      vi.advanceTimersByTime(1);
      return sockets.length - before;
    });
    expect(delays).toEqual([1, 1, 1]);
    latest().accept();
    subject.proved();
    latest().die();
    vi.advanceTimersByTime(250);
    expect(sockets).toHaveLength(5);
  });

  it('notices a socket that is dead without saying so', () => {
    const subject = connection();
    subject.open();
    latest().accept();
    vi.advanceTimersByTime(10_000);
    expect(latest().sentOf('ping')).toHaveLength(1);
    vi.advanceTimersByTime(7_999);
    expect(subject.status).toBe('connected');
    vi.advanceTimersByTime(1);
    expect(subject.status).toBe('reconnecting');
    expect(latest().isClosed).toBe(true);
  });

  it('keeps a socket that answers', () => {
    const subject = connection();
    subject.open();
    latest().accept();
    for (let round = 0; round < 5; round += 1) {
      vi.advanceTimersByTime(10_000);
      latest().say({ type: 'pong', ref: `ping-${round + 1}` });
      vi.advanceTimersByTime(8_000);
    }
    expect([subject.status, sockets.length]).toEqual(['connected', 1]);
    expect(latest().sentOf('ping')).toHaveLength(5);
  });

  it('gives up a handshake that never ends', () => {
    connection().open();
    vi.advanceTimersByTime(10_250);
    expect(sockets).toHaveLength(2);
    expect(sockets[0]?.isClosed).toBe(true);
  });

  it('moves at the time a draining gateway names, and listens until then', () => {
    const subject = connection();
    subject.open();
    latest().accept();
    latest().say({ type: 'reconnect', after_ms: 3_000 });
    vi.advanceTimersByTime(2_999);
    latest().say({ type: 'pong', ref: 'late' });
    expect([subject.status, sockets.length]).toEqual(['connected', 1]);
    expect(received).toEqual(['reconnect', 'pong']);
    vi.advanceTimersByTime(1);
    expect(sockets[0]?.isClosed).toBe(true);
    vi.advanceTimersByTime(1);
    expect(sockets).toHaveLength(2);
  });

  it('waits for that time also when the socket is closed before it', () => {
    connection().open();
    latest().accept();
    latest().say({ type: 'reconnect', after_ms: 3_000 });
    vi.advanceTimersByTime(1_000);
    latest().die();
    vi.advanceTimersByTime(1_999);
    expect(sockets).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(sockets).toHaveLength(2);
  });

  it('tries the long poll where no WebSocket opens, and the WebSocket again later', () => {
    const subject = connection();
    subject.open();
    latest().die();
    vi.advanceTimersByTime(250);
    latest().die();
    vi.advanceTimersByTime(500);
    expect(transports).toEqual(['websocket', 'websocket', 'long-poll']);
    latest().accept();
    latest().die();
    vi.advanceTimersByTime(10_000);
    expect(transports.slice(3)).toEqual(['websocket']);
    latest().die();
    vi.advanceTimersByTime(10_000);
    expect(transports.slice(3)).toEqual(['websocket', 'long-poll']);
  });

  it('does not wait when the network is back', () => {
    const subject = connection();
    subject.open();
    latest().accept();
    latest().die();
    subject.nudge();
    expect(sockets).toHaveLength(2);
    latest().accept();
    subject.nudge();
    expect(latest().sentOf('ping')).toHaveLength(1);
  });

  it('stays closed once it is closed', () => {
    const subject = connection();
    subject.open();
    latest().accept();
    subject.close();
    subject.nudge();
    vi.advanceTimersByTime(60_000);
    expect([subject.status, sockets.length]).toEqual(['closed', 1]);
    expect(subject.send({ type: 'ping', ref: 'x' })).toBe(false);
  });
});
