import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Api, GameSession, ServerTime } from '../src/client';
import { FakeSocket } from './fake-socket';
import { event, game, GAME_ID, snapshot, view } from './fixtures';

let sockets: FakeSocket[];
let fetched: string[];
let session: GameSession;

const MOVE = { type: 'move', uci: 'e2e4' } as const;
const latest = (): FakeSocket => sockets.at(-1) ?? new FakeSocket();
const ack = (ref: string, n: number) => ({ type: 'ack', ref, n, cursor: `cursor-${n}`, duplicate: false }) as const;

function makeSession(): GameSession {
  let ids = 0;
  const fetchFn = (input: RequestInfo | URL): Promise<Response> => {
    fetched.push(String(input));
    const body = { game: game({ black: { id: 'b', name: 'Late Bob' } }), view: view(2), n: 2, cursor: 'c' };
    return Promise.resolve(Response.json(body));
  };
  return new GameSession({
    gameId: GAME_ID,
    api: new Api('http://gateway', fetchFn),
    openWebSocket: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    serverTime: new ServerTime(() => Date.now()),
    onChange: () => {},
    nowMs: () => Date.now(),
    random: () => 1,
    newId: () => `id-${(ids += 1)}`,
  });
}

/** Accepts the socket in being opened and brings the session to `n`. */
function goLive(n: number): void {
  latest().accept();
  latest().grant(false);
  latest().say(snapshot(n));
}

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  fetched = [];
  session = makeSession();
  session.open();
});

afterEach(() => {
  session.close();
  vi.useRealTimers();
});

describe('game session', () => {
  it('shows the snapshot and then each event', () => {
    goLive(3);
    latest().say(event(4));
    expect(session.state).toMatchObject({ connection: 'connected', busy: false, position: { n: 4 } });
  });

  it('resumes after the latest cursor on the next socket', () => {
    goLive(3);
    latest().say(event(4));
    latest().die();
    vi.advanceTimersByTime(250);
    latest().accept();
    expect(latest().sentOf('subscribe')).toMatchObject([{ cursor: 'cursor-4' }]);
    latest().grant(true);
    latest().say(event(5));
    expect(session.state.position?.n).toBe(5);
  });

  it('gives a command upon what the player saw and is busy until its event is here', async () => {
    goLive(3);
    const answer = session.command(MOVE);
    expect(latest().sentOf('command')).toMatchObject([{ command_id: 'id-1', at: 3, action: MOVE }]);
    expect(session.state.busy).toBe(true);
    latest().say(ack('id-1', 4));
    await answer;
    expect(session.state.busy).toBe(true);
    latest().say(event(4));
    expect(session.state.busy).toBe(false);
  });

  it('sends an unanswered command again, the same, after a reconnect', async () => {
    goLive(3);
    const answer = session.command(MOVE);
    const [first] = latest().sentOf('command');
    latest().die();
    vi.advanceTimersByTime(250);
    latest().accept();
    expect(latest().sentOf('command')).toEqual([first]);
    latest().grant(true);
    latest().say(event(4));
    latest().say({ ...ack('id-1', 4), duplicate: true });
    await expect(answer).resolves.toMatchObject({ duplicate: true });
    expect(session.state).toMatchObject({ pending: [], busy: false });
  });

  it('keeps a command given while there is no connection', () => {
    goLive(3);
    latest().die();
    session.command(MOVE).catch(() => {});
    expect(session.state.pending).toHaveLength(1);
    vi.advanceTimersByTime(250);
    latest().accept();
    expect(latest().sentOf('command')).toHaveLength(1);
  });

  it('passes a refusal on', async () => {
    goLive(3);
    const answer = session.command(MOVE);
    latest().say({ type: 'error', ref: 'id-1', reason: 'illegal_action', detail: '' });
    await expect(answer).rejects.toMatchObject({ reason: 'illegal_action' });
    expect(session.state.busy).toBe(false);
  });

  it('resigns whatever has come meanwhile', () => {
    goLive(3);
    session.command({ type: 'resign' }).catch(() => {});
    expect(latest().sentOf('command')[0]).not.toHaveProperty('at');
  });

  it('asks for an event that was acknowledged and does not come', () => {
    goLive(3);
    latest().say(ack('someone', 4));
    vi.advanceTimersByTime(3_000);
    expect(latest().sentOf('subscribe').at(-1)).toMatchObject({ cursor: 'cursor-3' });
  });

  it('gives up a socket on which subscribing is not answered', () => {
    latest().accept();
    vi.advanceTimersByTime(8_000);
    latest().say({ type: 'presence', topic: 'lobby', watching: 0, seats: {} });
    vi.advanceTimersByTime(2_250);
    expect(sockets.length).toBeGreaterThan(1);
  });

  it('learns the names when the second player has joined', async () => {
    goLive(1);
    latest().say(event(2, { kind: 'joined' }));
    await vi.waitFor(() => expect(session.state.game?.black?.name).toBe('Late Bob'));
    expect(fetched).toEqual([`http://gateway/v1/games/${GAME_ID}`]);
  });

  it('ends with a sentence where there is no such game', () => {
    latest().accept();
    const ref = latest().sentOf('subscribe')[0]?.ref ?? '';
    latest().say({ type: 'error', ref, reason: 'not_found', detail: '' });
    expect(session.state).toMatchObject({ connection: 'closed', failure: { reason: 'not_found' } });
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
  });
});
