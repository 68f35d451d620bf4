/**
 * From bytes of a gateway to typed messages. A message that does not have the agreed shape
 * becomes `null` and is dropped: the dense `n` then shows that something is missing, and the
 * ordinary resume fetches it again. Unknown members and types are let through or passed over,
 * so that a newer server can say more.
 */

import type { ErrorMessage, Frame, OwnChange, OwnEvent, OwnWhole, ServerMessage } from './from-server';
import { REASONS, type Game, type GameEvent, type Reason, type View } from './nouns';

/** Squares of the board, and so characters of `view.board`. */
const BOARD_LENGTH = 64;

type Json = Record<string, unknown>;

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isString = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => Number.isFinite(value);

/** A reason this client does not know is treated as a passing fault of the server. */
export function decodeReason(value: unknown): Reason {
  return REASONS.find((reason) => reason === value) ?? 'unavailable';
}

export function decodeView(value: unknown): View | null {
  if (!isObject(value) || !isString(value.board) || value.board.length !== BOARD_LENGTH) return null;
  if (!isNumber(value.ply)) return null;
  if (value.moves !== undefined && !Array.isArray(value.moves)) return null;
  // The server leaves out what is null for some members; the rest of the client sees one form.
  const defaults = { turn: null, clock: null, draw_offer: null, result: null };
  return { ...defaults, ...value } as unknown as View;
}

export function decodeGame(value: unknown): Game | null {
  if (!isObject(value) || !isString(value.id) || !isString(value.status)) return null;
  const defaults = { white: null, black: null, clock: null, result: null };
  return { ...defaults, ...value } as unknown as Game;
}

function decodeGameEvent(value: unknown): GameEvent | null {
  if (!isObject(value) || !isString(value.kind) || !isNumber(value.at_ms)) return null;
  return value as unknown as GameEvent;
}

/** A `snapshot` or `event`, wherever it stood: socket, long poll, answer of a command. */
export function decodeFrame(value: unknown): Frame | null {
  if (!isObject(value) || !isNumber(value.n) || !isString(value.cursor)) return null;
  const view = decodeView(value.view);
  if (view === null) return null;
  if (value.type === 'snapshot') {
    const game = decodeGame(value.game);
    return game && ({ ...value, game, view } as unknown as Frame);
  }
  if (value.type === 'event') {
    const event = decodeGameEvent(value.event);
    return event && ({ ...value, event, view } as unknown as Frame);
  }
  return null;
}

const gamesOf = (value: unknown): readonly Game[] =>
  Array.isArray(value) ? value.map(decodeGame).filter((game) => game !== null) : [];

function decodeOwnEvent(value: unknown): OwnEvent | null {
  const game = isObject(value) ? decodeGame(value.game) : null;
  if (!isObject(value) || !isString(value.kind) || game === null) return null;
  return { kind: value.kind, game } as OwnEvent;
}

/** What the topic `me` says; a gateway that knows of no challenges leaves them out. */
function decodeOwn(value: Json): OwnWhole | OwnChange {
  if (value.type === 'snapshot') {
    return { type: 'own-whole', games: gamesOf(value.games), challenges: gamesOf(value.challenges) };
  }
  const events = Array.isArray(value.events) ? value.events : [];
  return { type: 'own-change', events: events.map(decodeOwnEvent).filter((event) => event !== null) };
}

function decodeError(value: Json): ErrorMessage {
  const detail = isString(value.detail) ? value.detail : '';
  const base = { type: 'error', reason: decodeReason(value.reason), detail } as const;
  return isString(value.ref) ? { ...base, ref: value.ref } : base;
}

/** Which members a message must carry besides `type`, for those checked by shape alone. */
const SHAPES: ReadonlyMap<string, (message: Json) => boolean> = new Map([
  ['welcome', (m: Json) => isNumber(m.now_ms)],
  ['subscribed', (m: Json) => isString(m.ref) && isString(m.topic) && typeof m.resumed === 'boolean'],
  ['presence', (m: Json) => isString(m.topic) && isNumber(m.watching) && isObject(m.seats)],
  ['ack', (m: Json) => isString(m.ref) && isNumber(m.n)],
  ['pong', (m: Json) => isString(m.ref)],
  ['reconnect', (m: Json) => isNumber(m.after_ms)],
]);

/** One text message of the socket, or `null` if it is none that this client knows. */
export function decodeServerMessage(text: string): ServerMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isObject(value) || !isString(value.type)) return null;
  if (value.type === 'snapshot' || value.type === 'event') {
    return value.topic === 'me' ? decodeOwn(value) : decodeFrame(value);
  }
  if (value.type === 'error') return decodeError(value);
  const hasShape = SHAPES.get(value.type);
  return hasShape?.(value) ? (value as unknown as ServerMessage) : null;
}
