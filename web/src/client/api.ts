/** The HTTP calls of `/v1`. The session is the HttpOnly cookie that `POST /v1/players` sets. */

import { randomUuid } from './ids';
import { decodeFrame, decodeGame, decodeView, isObject } from './protocol/decode';
import type { Action, NewGame } from './protocol/from-client';
import type { CommandAnswer, EventsPage, Frame, GameState } from './protocol/from-server';
import type { Game } from './protocol/nouns';
import { Problem, problemOf } from './problem';

/** The server answers a failed write within 10 s; past this the connection is taken for dead. */
const REQUEST_TIMEOUT_MS = 15_000;

export interface Player {
  readonly id: string;
  readonly name: string;
}

/** Body of `POST /v1/games/{id}/commands`. */
export interface CommandBody {
  readonly command_id: string;
  readonly at?: number;
  readonly action: Action;
}

interface RequestOptions {
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

function malformed(what: string): Problem {
  return new Problem('unavailable', `the server's answer holds no ${what}`);
}

export class Api {
  /** `base` is empty in the page, which talks to the host that served it. */
  constructor(
    private readonly base = '',
    private readonly fetchFn: typeof fetch = (input, init) => globalThis.fetch(input, init),
  ) {}

  /** Whom the cookie speaks for, or `null` without a session. */
  async me(): Promise<Player | null> {
    try {
      return this.player(await this.request('GET', '/v1/players/me'));
    } catch (error) {
      if (error instanceof Problem && error.reason === 'unauthorized') return null;
      throw error;
    }
  }

  async createPlayer(name: string): Promise<Player> {
    return this.player(await this.request('POST', '/v1/players', { body: { name } }));
  }

  async createGame(game: NewGame): Promise<Game> {
    return this.game(await this.request('POST', '/v1/games', { body: game }));
  }

  async joinGame(id: string): Promise<Game> {
    return this.game(await this.request('POST', `/v1/games/${encodeURIComponent(id)}/join`));
  }

  async joinByCode(code: string): Promise<Game> {
    return this.game(await this.request('POST', '/v1/join', { body: { code } }));
  }

  /** The first page of public games: `open` ones wait for an opponent, `active` ones can be watched. */
  async games(status: 'open' | 'active'): Promise<readonly Game[]> {
    const body = await this.request('GET', `/v1/games?status=${status}`);
    if (!isObject(body) || !Array.isArray(body.games)) throw malformed('list of games');
    return body.games.map(decodeGame).filter((game) => game !== null);
  }

  async gameState(id: string): Promise<GameState> {
    const body = await this.request('GET', `/v1/games/${encodeURIComponent(id)}`);
    const view = isObject(body) ? decodeView(body.view) : null;
    if (view === null) throw malformed('view');
    return { ...(body as GameState), game: this.game(body), view };
  }

  /** Declines a challenge, but not a game that has begun since it was shown. */
  async decline(gameId: string): Promise<void> {
    await this.command(gameId, { command_id: randomUuid(), at: 1, action: { type: 'abort' } });
  }

  async command(gameId: string, command: CommandBody): Promise<CommandAnswer> {
    const path = `/v1/games/${encodeURIComponent(gameId)}/commands`;
    const { frame, ...answer } = (await this.request('POST', path, { body: command })) as
      Omit<CommandAnswer, 'frame'> & { frame?: unknown };
    const decoded = decodeFrame(frame);
    return decoded === null ? answer : { ...answer, frame: decoded };
  }

  /** Long poll: answers at once if frames wait after the cursor, else within `waitMs`. */
  async events(
    gameId: string,
    after: string,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<EventsPage> {
    const query = new URLSearchParams({ after, wait_ms: String(waitMs) });
    const path = `/v1/games/${encodeURIComponent(gameId)}/events?${query.toString()}`;
    const options = { signal, timeoutMs: waitMs + REQUEST_TIMEOUT_MS };
    const body = await this.request('GET', path, options);
    if (!isObject(body) || !Array.isArray(body.frames)) throw malformed('frames');
    const frames = body.frames.map(decodeFrame).filter((frame): frame is Frame => frame !== null);
    return { frames, cursor: String(body.cursor ?? after), reset: body.reset === true };
  }

  private player(body: unknown): Player {
    const player = isObject(body) && isObject(body.player) ? body.player : body;
    if (!isObject(player) || typeof player.id !== 'string') throw malformed('player');
    return { id: player.id, name: String(player.name) };
  }

  private game(body: unknown): Game {
    const game = isObject(body) ? decodeGame(body.game) : null;
    if (game === null) throw malformed('game');
    return game;
  }

  /** The parsed body of a success; anything else is thrown as a `Problem`. */
  private async request(
    method: 'GET' | 'POST',
    path: string,
    { body, signal, timeoutMs = REQUEST_TIMEOUT_MS }: RequestOptions = {},
  ): Promise<unknown> {
    const deadline = AbortSignal.timeout(timeoutMs);
    const init: RequestInit = {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    };
    if (body !== undefined) {
      init.headers = { 'content-type': 'application/json' };
      init.body = JSON.stringify(body);
    }
    let response: Response;
    try {
      response = await this.fetchFn(this.base + path, init);
    } catch {
      throw new Problem('unavailable', 'the server could not be reached');
    }
    if (!response.ok) throw await problemOf(response);
    return response.json().catch(() => {
      throw malformed('JSON');
    });
  }
}
