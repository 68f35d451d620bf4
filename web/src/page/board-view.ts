/** The board as 64 buttons in a grid: one look and one label for piece, seen and empty, and fog. */

import { decodeBoard, describeSquare, isDarkSquare, squaresAsSeenFrom, type Seat, type SquareContent } from '../client';
import { el } from './dom';
import { pieceDrawing } from './pieces';

export interface BoardPicture {
  readonly board: string;
  readonly bottom: Seat;
  readonly selected: string | null;
  readonly targets: ReadonlySet<string>;
  /** Squares of the viewer's own last move. */
  readonly last: readonly string[];
  /** Where the viewer's own piece was captured by the last half-move. */
  readonly lost: string | null;
  /** Squares of a move that the server has not answered yet. */
  readonly pending: readonly string[];
}

const ARROWS: Readonly<Record<string, readonly [columns: number, rows: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export class BoardView {
  readonly element = el('div', { class: 'board', testId: 'board', attributes: { role: 'grid' } });
  private readonly squares = new Map<string, HTMLButtonElement>();
  private order: readonly string[] = [];
  private focused = '';

  constructor(
    private readonly onTap: (square: string) => void,
    private readonly onEscape: () => void,
  ) {
    for (const square of squaresAsSeenFrom('white')) this.squares.set(square, this.makeSquare(square));
    this.element.addEventListener('keydown', (event) => this.keyPressed(event));
    this.arrange('white');
  }

  show(picture: BoardPicture): void {
    this.arrange(picture.bottom);
    for (const [square, content] of decodeBoard(picture.board)) this.showSquare(square, content, picture);
  }

  private makeSquare(square: string): HTMLButtonElement {
    const shade = isDarkSquare(square) ? 'dark' : 'light';
    const attributes = { type: 'button', tabindex: '-1', 'data-square': square };
    const element = el('button', { class: `square ${shade}`, attributes, onClick: () => this.onTap(square) });
    element.addEventListener('focus', () => this.rove(square));
    return element;
  }

  /** Puts the rows in reading order for the side at the bottom; nothing moves if they are. */
  private arrange(bottom: Seat): void {
    if (this.element.dataset.bottom === bottom) return;
    this.element.dataset.bottom = bottom;
    this.element.setAttribute('aria-label', `Board, ${bottom} at the bottom`);
    this.order = squaresAsSeenFrom(bottom);
    const rows = Array.from({ length: 8 }, (_, row) => {
      const cells = this.order.slice(row * 8, row * 8 + 8).map((square) => this.cell(square, row));
      return el('div', { class: 'row', attributes: { role: 'row' } }, ...cells);
    });
    this.element.replaceChildren(...rows);
    // The tab stop is the near left corner's own square until the player has moved it.
    this.rove(this.focused === '' ? (this.order[56] ?? '') : this.focused);
  }

  private cell(square: string, row: number): HTMLElement {
    const button = this.squares.get(square);
    const isFirstOfRow = this.order.indexOf(square) % 8 === 0;
    const cell = el('div', { class: 'cell', attributes: { role: 'gridcell' } }, ...(button ? [button] : []));
    if (isFirstOfRow) cell.dataset.rank = square.charAt(1);
    if (row === 7) cell.dataset.file = square.charAt(0);
    return cell;
  }

  private showSquare(square: string, content: SquareContent, picture: BoardPicture): void {
    const element = this.squares.get(square);
    if (element === undefined) return;
    const isTarget = picture.targets.has(square);
    const piece = content.state === 'piece' ? content.letter : '';
    if (element.dataset.state !== content.state || (element.dataset.piece ?? '') !== piece) {
      const drawing = content.state === 'piece' ? [pieceDrawing(content.side, content.kind)] : [];
      element.replaceChildren(...drawing);
    }
    setData(element, 'state', content.state);
    setData(element, 'piece', piece || null);
    setData(element, 'selected', picture.selected === square ? 'true' : null);
    setData(element, 'target', isTarget ? 'true' : null);
    setData(element, 'last', picture.last.includes(square) ? 'true' : null);
    setData(element, 'lost', picture.lost === square ? 'true' : null);
    setData(element, 'pending', picture.pending.includes(square) ? 'true' : null);
    const notes = [
      picture.selected === square ? ', selected' : '',
      isTarget ? ', possible move' : '',
      picture.lost === square ? ', your piece was captured here' : '',
    ];
    element.setAttribute('aria-label', describeSquare(square, content) + notes.join(''));
  }

  private keyPressed(event: KeyboardEvent): void {
    if (event.key === 'Escape') this.onEscape();
    const arrow = ARROWS[event.key];
    if (arrow === undefined) return;
    event.preventDefault();
    const index = this.order.indexOf(this.focused);
    const column = clamp((index % 8) + arrow[0]);
    const row = clamp(Math.floor(index / 8) + arrow[1]);
    this.squares.get(this.order[row * 8 + column] ?? '')?.focus();
  }

  /** One tab stop for the whole board: Tab passes it in one step, the arrows walk inside. */
  private rove(square: string): void {
    this.squares.get(this.focused)?.setAttribute('tabindex', '-1');
    this.squares.get(square)?.setAttribute('tabindex', '0');
    this.focused = square;
  }
}

const clamp = (index: number): number => Math.min(7, Math.max(0, index));

function setData(element: HTMLElement, name: string, value: string | null): void {
  if (value === null) delete element.dataset[name];
  else if (element.dataset[name] !== value) element.dataset[name] = value;
}
