/** Everything a gateway sent to one page, and the check that no fog leaked through it. */

import assert from 'node:assert/strict';

/** Boards are snapshots and events too, and have no number. */
const isFrame = (message) => (message.type === 'snapshot' || message.type === 'event') && message.n !== undefined;

export class Traffic {
  /** Each entry is the raw text and the parsed message. */
  received = [];
  sockets = 0;
  #reading = [];

  constructor(page) {
    page.on('websocket', (socket) => {
      this.sockets += 1;
      socket.on('framereceived', ({ payload }) => this.#note(String(payload)));
    });
    page.on('response', (response) => {
      if (!/\/v1\/games\//.test(response.url())) return;
      this.#reading.push(response.text().then((text) => this.#note(text), () => {}));
    });
  }

  #note(text) {
    try {
      this.received.push({ text, message: JSON.parse(text) });
    } catch {
      // Not one of ours: every answer of the contract is JSON.
    }
  }

  /**
   * While the game lived: each view is the hand-made one of its ply, and no message of any kind
   * names a move of the opponent. After it: the last frame shows the whole board.
   */
  async check({ seat, views, finalBoard, opponentMoves }) {
    await Promise.all(this.#reading);
    const live = this.received.filter(({ message }) => !tellsTheEnd(message));
    for (const { text, message } of live) {
      if (message.view) {
        const { ply, board } = message.view;
        assert.equal(board, views[ply], `${seat} at ply ${ply} saw another board`);
      }
      for (const uci of opponentMoves) {
        assert.ok(!namesMove(text, uci), `${seat} was told the opponent's move ${uci}: ${text}`);
      }
    }
    const frames = this.received.map(({ message }) => message).filter(isFrame);
    const plies = new Set(frames.map(({ view }) => view.ply));
    assert.deepEqual([...plies].sort(), [0, 1, 2, 3, 4, 5], `${seat} got frames of every ply`);
    const last = frames.at(-1);
    assert.equal(last.view.board, finalBoard, `${seat} sees the whole board in the end`);
    assertDense(frames, seat);
    return frames.length;
  }
}

function tellsTheEnd({ view, game }) {
  return Boolean(view?.result ?? game?.result);
}

/** Ids and cursors may hold the same four characters inside a longer word; that names nothing. */
function namesMove(text, uci) {
  return new RegExp(`(^|[^0-9A-Za-z_-])${uci}([^0-9A-Za-z_-]|$)`).test(text);
}

/** Between snapshots `n` goes up by one; a repeated frame is allowed, a hole is not. */
function assertDense(frames, seat) {
  let n = null;
  for (const frame of frames) {
    if (frame.type === 'event' && n !== null) {
      assert.ok(frame.n <= n + 1, `${seat}: n jumps from ${n} to ${frame.n}`);
    }
    n = frame.type === 'snapshot' ? frame.n : Math.max(n ?? 0, frame.n);
  }
}
