/** The screen of one game, for its players and for whoever watches. */

import {
  fromSquare,
  GameSession,
  ServerTime,
  toSquare,
  webSocket,
  type Action,
  type Api,
  type Player,
  type Seat,
  type SessionState,
} from '../client';
import { ActionBar } from './action-bar';
import { BoardView } from './board-view';
import { button, el, setText } from './dom';
import { MoveInput } from './move-input';
import { PlayerStrip } from './player-strip';
import { choosePromotion } from './promotion';
import { problemSentence, resultSentence, turnSentence } from './sentences';
import { SharePanel } from './share-panel';
import { StatusLine } from './status-line';

/** How often running clocks are redrawn; they show tenths at the end. */
const TICK_MS = 100;
const FOGGED_BOARD = '?'.repeat(64);

export class GameScreen {
  private readonly serverTime = new ServerTime(() => performance.now());
  private readonly input = new MoveInput();
  private readonly board = new BoardView((square) => this.tapped(square), () => this.deselect());
  private readonly strips = {
    white: new PlayerStrip('white', this.serverTime),
    black: new PlayerStrip('black', this.serverTime),
  };
  private readonly share = new SharePanel();
  private readonly actions = new ActionBar((action) => void this.give(action));
  private readonly connection = new StatusLine();
  private readonly turn = el('p', { class: 'turn', testId: 'turn', attributes: { role: 'status' } });
  private readonly result = el('p', { class: 'result', testId: 'result', attributes: { role: 'status' } });
  private readonly alert = el('p', { class: 'alert', testId: 'alert', attributes: { role: 'alert' } });
  private readonly join = button('Join this game', 'watch-join-button', () => void this.takeSeat());
  private readonly table = el('div', { class: 'table' });
  private readonly session: GameSession;
  private isFlipped = false;

  constructor(
    private readonly api: Api,
    private readonly gameId: string,
    private readonly player: Player | null,
  ) {
    const { serverTime } = this;
    this.session = new GameSession({
      gameId,
      api,
      openWebSocket: webSocket,
      serverTime,
      onChange: (state) => this.show(state),
    });
  }

  /** Draws the screen into `place` and goes live. */
  open(place: HTMLElement): void {
    const flip = button('Flip the board', 'flip', () => this.flip());
    const side = el('div', { class: 'side' }, this.connection.element, this.turn, this.result, this.alert);
    side.append(this.share.element, this.join, this.actions.element, flip);
    const heading = el('h1', { class: 'visually-hidden' }, 'Game');
    place.replaceChildren(heading, el('div', { class: 'game' }, this.table, side));
    this.show(this.session.state);
    this.session.open();
    setInterval(() => this.tick(), TICK_MS);
    window.addEventListener('online', () => this.session.nudge());
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.session.nudge();
    });
  }

  private show(state: SessionState): void {
    const { game, position, failure } = state;
    const own = this.ownSeat(state);
    this.connection.show(state);
    this.showBoard(state, own);
    if (failure !== null) setText(this.alert, problemSentence(failure));
    // Nobody else can join a challenge, whatever link they are sent.
    const canBeJoined = game?.status === 'open' && game.challenged === undefined;
    this.share.show(canBeJoined ? (game.code ?? null) : null);
    this.join.hidden = game?.status !== 'open' || own !== null || this.player === null;
    if (game === null || position === null) {
      this.actions.element.hidden = true;
      return;
    }
    const { view } = position;
    this.strips.white.show(game, state.presence, own);
    this.strips.black.show(game, state.presence, own);
    this.actions.show(game, view, own, state.busy);
    this.turn.dataset.turn = view.turn ?? '';
    this.turn.dataset.ply = String(view.ply);
    setText(this.turn, turnSentence(game, view, own));
    setText(this.result, view.result === null ? '' : resultSentence(view.result, own));
    this.result.dataset.winner = view.result?.winner ?? '';
    this.result.dataset.reason = view.result?.reason ?? '';
    document.title = view.turn === own && view.result === null ? 'Your turn · Fogline' : 'Fogline';
    this.tick();
  }

  private showBoard(state: SessionState, own: Seat | null): void {
    const view = state.position?.view;
    const bottom = this.bottomSeat(own);
    const top = bottom === 'white' ? 'black' : 'white';
    if (this.table.dataset.bottom !== bottom) {
      this.table.dataset.bottom = bottom;
      const { element } = this.board;
      this.table.replaceChildren(this.strips[top].element, element, this.strips[bottom].element);
    }
    const moves = this.playableMoves(state);
    if (moves.length === 0) this.input.clear();
    this.board.show({
      board: view?.board ?? FOGGED_BOARD,
      bottom,
      selected: this.input.selected,
      targets: this.input.targets(moves),
      last: view?.last === undefined ? [] : [fromSquare(view.last), toSquare(view.last)],
      lost: view?.lost ?? null,
      pending: pendingSquares(state),
    });
  }

  /** Nothing can be moved while an earlier command is unanswered: its outcome changes the list. */
  private playableMoves(state: SessionState): readonly string[] {
    return state.busy || state.failure !== null ? [] : (state.position?.view.moves ?? []);
  }

  private tapped(square: string): void {
    const state = this.session.state;
    const tap = this.input.tap(square, this.playableMoves(state));
    this.show(state);
    if (tap.type === 'move') void this.play(tap.candidates);
  }

  private deselect(): void {
    this.input.clear();
    this.show(this.session.state);
  }

  private async play(candidates: readonly string[]): Promise<void> {
    const [first] = candidates;
    const own = this.ownSeat(this.session.state);
    if (first === undefined || own === null) return;
    if (candidates.length === 1) return this.give({ type: 'move', uci: first });
    const letter = await choosePromotion(own);
    const uci = candidates.find((candidate) => candidate.endsWith(letter ?? '-'));
    if (uci !== undefined) await this.give({ type: 'move', uci });
  }

  private async give(action: Action): Promise<void> {
    setText(this.alert, '');
    try {
      await this.session.command(action);
    } catch (error) {
      setText(this.alert, problemSentence(error));
    }
  }

  /** A seat sees other frames than a spectator does, so the screen starts over. */
  private async takeSeat(): Promise<void> {
    try {
      await this.api.joinGame(this.gameId);
      window.location.reload();
    } catch (error) {
      setText(this.alert, problemSentence(error));
    }
  }

  private flip(): void {
    this.isFlipped = !this.isFlipped;
    this.show(this.session.state);
  }

  private tick(): void {
    const { state } = this.session;
    this.strips.white.tick(state);
    this.strips.black.tick(state);
  }

  private ownSeat({ game }: SessionState): Seat | null {
    if (this.player === null || game === null) return null;
    if (game.white?.id === this.player.id) return 'white';
    return game.black?.id === this.player.id ? 'black' : null;
  }

  private bottomSeat(own: Seat | null): Seat {
    const isBlackBelow = (own === 'black') !== this.isFlipped;
    return isBlackBelow ? 'black' : 'white';
  }
}

function pendingSquares({ pending }: SessionState): readonly string[] {
  return pending.flatMap(({ action }) =>
    action.type === 'move' ? [fromSquare(action.uci), toSquare(action.uci)] : [],
  );
}
