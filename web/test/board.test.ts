import { describe, expect, it } from 'vitest';
import { decodeBoard, describeSquare, isDarkSquare, squaresAsSeenFrom } from '../src/client';

const BOARD = `k${'?'.repeat(54)}P${'.'.repeat(7)}R`;

describe('board', () => {
  it('reads a8 first and h1 last', () => {
    const squares = decodeBoard(BOARD);
    expect(squares.size).toBe(64);
    expect(squares.get('a8')).toEqual({ state: 'piece', letter: 'k', side: 'black', kind: 'king' });
    expect(squares.get('h2')).toEqual({ state: 'piece', letter: 'P', side: 'white', kind: 'pawn' });
    expect(squares.get('h1')).toMatchObject({ kind: 'rook' });
  });

  it('tells fog from seen and empty', () => {
    const squares = decodeBoard(BOARD);
    expect(squares.get('b8')?.state).toBe('fog');
    expect(squares.get('a1')?.state).toBe('empty');
  });

  it('claims to see nothing that the server did not say', () => {
    const squares = decodeBoard('x.');
    expect(squares.get('a8')?.state).toBe('fog');
    expect(squares.get('h1')?.state).toBe('fog');
  });

  it('puts the own side at the bottom', () => {
    expect(squaresAsSeenFrom('white')[0]).toBe('a8');
    expect(squaresAsSeenFrom('white')[63]).toBe('h1');
    expect(squaresAsSeenFrom('black')[0]).toBe('h1');
    expect(squaresAsSeenFrom('black')[63]).toBe('a8');
  });

  it('describes squares in words', () => {
    const squares = decodeBoard(BOARD);
    const say = (square: string): string => describeSquare(square, squares.get(square) ?? { state: 'fog' });
    expect([say('h2'), say('a1'), say('b8')]).toEqual(['h2, white pawn', 'a1, empty', 'b8, fog']);
  });

  it('knows that a1 is dark and h1 is light', () => {
    expect([isDarkSquare('a1'), isDarkSquare('h1'), isDarkSquare('e4')]).toEqual([true, false, false]);
  });
});
