import { describe, expect, it } from 'vitest';
import { Api, Problem } from '../src/client';
import { game, GAME_ID, snapshot } from './fixtures';

type Call = { readonly url: string; readonly init: RequestInit };

/** An `Api` whose every request gets the same answer, and the requests it made. */
function apiAnswering(answer: () => Response): { api: Api; calls: Call[] } {
  const calls: Call[] = [];
  const fetchFn = (input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    calls.push({ url: String(input), init });
    return Promise.resolve(answer());
  };
  return { api: new Api('', fetchFn), calls };
}

function problem(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/problem+json' } });
}

describe('api', () => {
  it('turns problem+json into a typed error', async () => {
    const body = { title: 'Slow down', status: 429, reason: 'rate_limited', detail: 'too many' };
    const { api } = apiAnswering(() => problem(429, body));
    const error: unknown = await api.createPlayer('Ada').catch((e: unknown) => e);
    expect(error).toBeInstanceOf(Problem);
    expect(error).toMatchObject({ reason: 'rate_limited', detail: 'too many', status: 429 });
  });

  it('takes anything else that fails for a passing fault', async () => {
    const { api } = apiAnswering(() => new Response('<h1>Bad gateway</h1>', { status: 502 }));
    await expect(api.games('open')).rejects.toMatchObject({ reason: 'unavailable', status: 502 });
    const dead = new Api('', () => Promise.reject(new TypeError('Failed to fetch')));
    await expect(dead.games('open')).rejects.toMatchObject({ reason: 'unavailable', status: 0 });
  });

  it('knows that no session is no error', async () => {
    const { api } = apiAnswering(() => problem(401, { reason: 'unauthorized' }));
    await expect(api.me()).resolves.toBeNull();
    const { api: down } = apiAnswering(() => problem(503, { reason: 'unavailable' }));
    await expect(down.me()).rejects.toMatchObject({ reason: 'unavailable' });
  });

  it('reads a player with or without the wrapping', async () => {
    const player = { id: 'p', name: 'Ada' };
    for (const body of [player, { player, ratings: [] }]) {
      const { api } = apiAnswering(() => Response.json(body));
      await expect(api.me()).resolves.toEqual(player);
    }
  });

  it('joins by code with the cookie, as JSON', async () => {
    const { api, calls } = apiAnswering(() => Response.json({ game: game() }));
    await expect(api.joinByCode('ABC')).resolves.toMatchObject({ id: GAME_ID });
    expect(calls[0]).toMatchObject({
      url: '/v1/join',
      init: { method: 'POST', body: '{"code":"ABC"}', credentials: 'same-origin' },
    });
  });

  it('sends no body where a call needs none', async () => {
    const { api, calls } = apiAnswering(() => Response.json({ game: game() }));
    await api.joinGame(GAME_ID);
    expect(calls[0]?.init.body).toBeUndefined();
    expect(calls[0]?.init.headers).toBeUndefined();
  });

  it('leaves out of a page of frames what is none', async () => {
    const body = { frames: [snapshot(1), { type: 'event' }], cursor: 'c', reset: true };
    const { api } = apiAnswering(() => Response.json(body));
    const page = await api.events(GAME_ID, 'c0', 1_000, new AbortController().signal);
    expect(page).toEqual({ frames: [snapshot(1)], cursor: 'c', reset: true });
  });
});
