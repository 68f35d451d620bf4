import { describe, expect, it } from 'vitest';
import { Problem } from '../src/client';
import { REASONS } from '../src/client/protocol/nouns';
import { problemSentence, resultSentence, timeControlName, turnSentence } from '../src/page/sentences';
import { game, view } from './fixtures';

describe('sentences', () => {
  it.each(REASONS)('has words for %s', (reason) => {
    expect(problemSentence(new Problem(reason, ''))).toMatch(/\.$/);
  });

  it('tells a result from the side of whoever looks', () => {
    const mate = { winner: 'white', reason: 'king_captured' } as const;
    expect(resultSentence(mate, 'white')).toBe('You won. The king was captured.');
    expect(resultSentence(mate, 'black')).toBe('You lost. Your king was captured.');
    expect(resultSentence(mate, null)).toBe('White won. The king was captured.');
    expect(resultSentence({ winner: null, reason: 'agreed' }, 'white')).toMatch(/^Draw/);
    expect(resultSentence({ winner: null, reason: 'aborted' }, 'white')).toBe('The game was aborted.');
  });

  it('says whose turn it is and what was lost', () => {
    expect(turnSentence(game(), view(1), 'white')).toBe('Your turn.');
    expect(turnSentence(game(), view(1, { lost: 'e4' }), 'white')).toContain('captured');
    expect(turnSentence(game(), view(1), null)).toBe('White to move.');
    expect(turnSentence(game({ status: 'open' }), view(0), 'white')).toMatch(/^Waiting/);
    const challenge = game({ status: 'open', black: null, challenged: { id: 'b', name: 'Bob' } });
    expect(turnSentence(challenge, view(0), 'white')).toBe('Waiting for Bob to accept.');
    expect(turnSentence(challenge, view(0), null)).toMatch(/^You are challenged/);
  });

  it('names time controls as players do', () => {
    expect(timeControlName({ initial_ms: 180_000, increment_ms: 2_000 })).toBe('3+2');
    expect(timeControlName(null)).toBe('unlimited');
  });
});
