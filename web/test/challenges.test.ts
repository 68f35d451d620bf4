import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Game } from '../src/client';
import { Challenges, CHALLENGES_MAX, challengesAfter } from '../src/client/challenges';
import { decodeServerMessage } from '../src/client/protocol/decode';
import type { OwnEvent, ServerMessage } from '../src/client/protocol/from-server';
import { FakeSocket } from './fake-socket';
import { game } from './fixtures';

const open = (id: string): Game => game({ id, status: 'open', black: null });
const change = (...events: OwnEvent[]): ServerMessage => ({ type: 'own-change', events });
const ids = (challenges: readonly Game[]): string[] => challenges.map(({ id }) => id);

describe('challenges', () => {
  it('come first, and go when they are ended or accepted', () => {
    let challenges: readonly Game[] = [open('old')];
    const after = (...events: OwnEvent[]): string[] => {
      challenges = challengesAfter(challenges, change(...events));
      return ids(challenges);
    };
    expect(after({ kind: 'challenged', game: open('new') })).toEqual(['new', 'old']);
    expect(after({ kind: 'created', game: open('mine') })).toEqual(['new', 'old']);
    expect(after({ kind: 'challenge_ended', game: open('old') })).toEqual(['new']);
    expect(after({ kind: 'started', game: open('new') })).toEqual([]);
  });

  it('are the newest fifty, as the server keeps them', () => {
    const many = Array.from({ length: CHALLENGES_MAX }, (_, nth) => open(`${nth}`));
    const after = challengesAfter(many, change({ kind: 'challenged', game: open('new') }));
    expect(after).toHaveLength(CHALLENGES_MAX);
    expect(after[0]?.id).toBe('new');
    expect(ids(after)).not.toContain('49');
  });

  it('have one that was kept from being shown in its place', () => {
    const newer = { ...open('newer'), created_at: '2026-11-29T12:00:01Z' };
    const older = { ...open('older'), created_at: '2026-11-29T12:00:00Z' };
    const after = challengesAfter([newer], change({ kind: 'challenged', game: older }));
    expect(ids(after)).toEqual(['newer', 'older']);
  });

  it('are read from the topic, whose messages are no frames', () => {
    const whole = { type: 'snapshot', topic: 'me', games: [open('mine')], challenges: [open('a')] };
    expect(decodeServerMessage(JSON.stringify(whole))).toEqual({
      type: 'own-whole',
      games: [open('mine')],
      challenges: [open('a')],
    });
    const event = { type: 'event', topic: 'me', events: [{ kind: 'challenged', game: open('a') }, { kind: 'x' }] };
    expect(decodeServerMessage(JSON.stringify(event))).toEqual(change({ kind: 'challenged', game: open('a') }));
    // A gateway of the release before knows of none.
    const older = { type: 'snapshot', topic: 'me', games: [] };
    expect(decodeServerMessage(JSON.stringify(older))).toMatchObject({ challenges: [] });
  });
});

describe('the list of challenges', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('subscribes anew on each socket and shows what the snapshot has', () => {
    const sockets: FakeSocket[] = [];
    const shown: string[][] = [];
    const subject = new Challenges({
      openWebSocket: () => {
        const socket = new FakeSocket();
        sockets.push(socket);
        return socket;
      },
      onChange: (challenges) => shown.push(ids(challenges)),
      nowMs: () => Date.now(),
      random: () => 1,
    });
    const say = (message: object): void => {
      sockets.at(-1)?.onmessage?.(new MessageEvent('message', { data: JSON.stringify(message) }));
    };
    subject.open();
    sockets[0]?.accept();
    expect(sockets[0]?.sentOf('subscribe')).toMatchObject([{ topic: 'me' }]);
    say({ type: 'snapshot', topic: 'me', games: [], challenges: [open('a')] });
    sockets[0]?.die();
    vi.advanceTimersByTime(250);
    sockets[1]?.accept();
    expect(sockets[1]?.sentOf('subscribe')).toMatchObject([{ topic: 'me' }]);
    say({ type: 'snapshot', topic: 'me', games: [], challenges: [open('b')] });
    say({ type: 'presence', topic: 'game:x', watching: 1, seats: {} });
    expect(shown).toEqual([['a'], ['b']]);
    subject.close();
    expect(sockets[1]?.isClosed).toBe(true);
  });
});
