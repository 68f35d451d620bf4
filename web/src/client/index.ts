/** The client library: everything a page, a bot or a test needs to play over the public contract. */

export { Api, type Player } from './api';
export { decodeBoard, describeSquare, isDarkSquare, squaresAsSeenFrom, type PieceKind, type SquareContent } from './board';
export { Challenges } from './challenges';
export { formatClock, remainingMs } from './clock';
export type { PendingCommand } from './command-queue';
export type { Socket } from './connection';
export { GameSession, type SessionState } from './game-session';
export { fromSquare, movesBetween, targetsOf, toSquare, type PromotionLetter } from './moves';
export { Problem } from './problem';
export type { Action, NewGame } from './protocol/from-client';
export type { Presence } from './protocol/from-server';
export type { EndReason, Game, GameResult, Reason, Seat, TimeControl, View, Visibility } from './protocol/nouns';
export { ServerTime } from './server-time';
export { webSocket } from './web-socket';
