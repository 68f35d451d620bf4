import { describe, expect, it, vi } from 'vitest';
import { Api } from '../src/client';
import { PollSocket } from '../src/client/poll-socket';
import type { ServerMessage } from '../src/client/protocol/from-server';
import { event, game, GAME_ID, TOPIC, view } from './fixtures';

/** A server with a log of events; a poll past its end is held until it is aborted. */
function serverWith(last: number, refusal?: Response): Api {
  return new Api('http://gateway', (input, init) => {
    const url = new URL(String(input));
    if (refusal !== undefined) return Promise.resolve(refusal.clone());
    if (url.pathname.endsWith('/commands')) {
      return Promise.resolve(Response.json({ n: last + 1, cursor: 'x', duplicate: false, frame: event(last + 1) }));
    }
    if (!url.pathname.endsWith('/events')) {
      return Promise.resolve(Response.json({ game: game(), view: view(1), n: 1, cursor: 'cursor-1' }));
    }
    const after = Number(url.searchParams.get('after')?.split('-')[1]);
    if (after < last) {
      const frames = [event(after + 1)];
      return Promise.resolve(Response.json({ frames, cursor: `cursor-${after + 1}`, reset: false }));
    }
    return new Promise((_, reject) => {
      init?.signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
    });
  });
}

async function open(api: Api): Promise<{ socket: PollSocket; messages: ServerMessage[] }> {
  const socket = new PollSocket(api, GAME_ID);
  const messages: ServerMessage[] = [];
  socket.onmessage = ({ data }) => messages.push(JSON.parse(String(data)) as ServerMessage);
  await new Promise((resolve) => (socket.onopen = resolve));
  return { socket, messages };
}

const say = (socket: PollSocket, message: object): void => socket.send(JSON.stringify(message));

describe('long poll as a socket', () => {
  it('begins with the present state and goes on with events', async () => {
    const { socket, messages } = await open(serverWith(3));
    say(socket, { type: 'subscribe', ref: 's', topic: TOPIC });
    await vi.waitFor(() => expect(messages).toHaveLength(4));
    expect(messages.map(({ type }) => type)).toEqual(['snapshot', 'subscribed', 'event', 'event']);
    socket.close();
  });

  it('resumes after a cursor', async () => {
    const { socket, messages } = await open(serverWith(3));
    say(socket, { type: 'subscribe', ref: 's', topic: TOPIC, cursor: 'cursor-2' });
    await vi.waitFor(() => expect(messages).toHaveLength(2));
    expect(messages).toMatchObject([{ type: 'subscribed', resumed: true }, { type: 'event', n: 3 }]);
    socket.close();
  });

  it('acknowledges a command after its frame', async () => {
    const { socket, messages } = await open(serverWith(3));
    say(socket, { type: 'command', ref: 'c', game: GAME_ID, command_id: 'c', action: { type: 'resign' } });
    await vi.waitFor(() => expect(messages).toHaveLength(2));
    expect(messages).toMatchObject([{ type: 'event', n: 4 }, { type: 'ack', ref: 'c', n: 4 }]);
    socket.close();
  });

  it('passes a refusal on as a gateway would', async () => {
    const refusal = new Response('{"reason":"not_found"}', { status: 404 });
    const { socket, messages } = await open(serverWith(3, refusal));
    say(socket, { type: 'subscribe', ref: 's', topic: TOPIC });
    await vi.waitFor(() => expect(messages).toHaveLength(1));
    expect(messages).toMatchObject([{ type: 'error', ref: 's', reason: 'not_found' }]);
    socket.close();
  });

  it('closes when the server cannot be reached', async () => {
    const socket = new PollSocket(new Api('', () => Promise.reject(new TypeError('down'))), GAME_ID);
    await new Promise((resolve) => (socket.onclose = resolve));
  });
});
