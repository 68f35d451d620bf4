import { describe, expect, it } from 'vitest';
import { MoveInput } from '../src/page/move-input';

const MOVES = ['e2e3', 'e2e4', 'g1f3', 'a7a8q', 'a7a8r', 'a7a8b', 'a7a8n'];

describe('move input', () => {
  it('makes a move of two taps', () => {
    const input = new MoveInput();
    expect(input.tap('e2', MOVES)).toEqual({ type: 'selection' });
    expect([...input.targets(MOVES)]).toEqual(['e3', 'e4']);
    expect(input.tap('e4', MOVES)).toEqual({ type: 'move', candidates: ['e2e4'] });
    expect(input.selected).toBeNull();
  });

  it('offers every promotion', () => {
    const input = new MoveInput();
    input.tap('a7', MOVES);
    expect(input.tap('a8', MOVES)).toMatchObject({ candidates: ['a7a8q', 'a7a8r', 'a7a8b', 'a7a8n'] });
  });

  it('changes its mind', () => {
    const input = new MoveInput();
    input.tap('e2', MOVES);
    input.tap('g1', MOVES);
    expect(input.selected).toBe('g1');
    input.tap('g1', MOVES);
    expect(input.selected).toBeNull();
    input.tap('e2', MOVES);
    input.tap('h8', MOVES);
    expect(input.selected).toBeNull();
  });

  it('selects nothing that cannot move', () => {
    const input = new MoveInput();
    input.tap('e2', []);
    expect(input.selected).toBeNull();
  });
});
