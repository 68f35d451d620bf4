import { describe, expect, it } from 'vitest';
import { CommandQueue } from '../src/client/command-queue';
import type { Reason } from '../src/client/protocol/nouns';
import { GAME_ID } from './fixtures';

const MOVE = { type: 'move', uci: 'e2e4' } as const;

function queueWith(id: string): { queue: CommandQueue; answer: Promise<unknown> } {
  const queue = new CommandQueue(GAME_ID, () => 1);
  const answer = queue.add(id, MOVE, 7, 0);
  // Each test looks at the answer it expects; the others end with the queue.
  answer.catch(() => {});
  return { queue, answer };
}

const error = (ref: string, reason: Reason) => ({ type: 'error', ref, reason, detail: 'why' }) as const;

describe('command queue', () => {
  it('sends a command once, with the n it was given upon', () => {
    const { queue } = queueWith('a');
    expect(queue.takeDue(0)).toEqual([
      { type: 'command', ref: 'a', game: GAME_ID, command_id: 'a', at: 7, action: MOVE },
    ]);
    expect(queue.takeDue(1)).toEqual([]);
    expect(queue.pending).toMatchObject([{ commandId: 'a', action: MOVE }]);
  });

  it('leaves `at` out where none was meant', () => {
    const queue = new CommandQueue(GAME_ID, () => 1);
    void queue.add('r', { type: 'resign' }, null, 0);
    expect(queue.takeDue(0)[0]).not.toHaveProperty('at');
  });

  it('resolves with the acknowledgement', async () => {
    const { queue, answer } = queueWith('a');
    queue.takeDue(0);
    const ack = { type: 'ack', ref: 'a', n: 8, cursor: 'c', duplicate: false } as const;
    queue.acknowledged(ack);
    await expect(answer).resolves.toEqual(ack);
    expect(queue.pending).toEqual([]);
  });

  it('sends the same command_id again after a lost connection, in order', () => {
    const { queue } = queueWith('a');
    void queue.add('b', { type: 'offer_draw' }, 7, 0);
    queue.takeDue(0);
    queue.disconnected(50);
    expect(queue.takeDue(50).map((command) => command.command_id)).toEqual(['a', 'b']);
  });

  it('does not send again what was acknowledged', () => {
    const { queue } = queueWith('a');
    queue.takeDue(0);
    queue.acknowledged({ type: 'ack', ref: 'a', n: 8, cursor: 'c', duplicate: false });
    queue.disconnected(50);
    expect(queue.takeDue(60_000)).toEqual([]);
  });

  it('sends again when the answer is overdue', () => {
    const { queue } = queueWith('a');
    queue.takeDue(0);
    expect(queue.takeDue(11_999)).toEqual([]);
    expect(queue.takeDue(12_000)).toHaveLength(1);
  });

  it.each(['illegal_action', 'stale', 'not_your_turn', 'game_over', 'conflict'] as const)(
    'ends with the refusal %s',
    async (reason) => {
      const { queue, answer } = queueWith('a');
      queue.takeDue(0);
      queue.refused(error('a', reason), 1);
      await expect(answer).rejects.toMatchObject({ reason, detail: 'why' });
      queue.disconnected(2);
      expect(queue.takeDue(60_000)).toEqual([]);
    },
  );

  it.each(['persistence_failure', 'unavailable', 'rate_limited'] as const)(
    'asks again after %s, since the outcome may be unknown',
    (reason) => {
      const { queue } = queueWith('a');
      queue.takeDue(0);
      queue.refused(error('a', reason), 0);
      expect(queue.takeDue(0)).toEqual([]);
      expect(queue.takeDue(10_000).map((command) => command.command_id)).toEqual(['a']);
    },
  );

  it('gives up in the end and says so', async () => {
    const { queue, answer } = queueWith('a');
    for (let refusal = 0; refusal <= 10; refusal += 1) {
      queue.takeDue(refusal * 20_000);
      queue.refused(error('a', 'persistence_failure'), refusal * 20_000);
    }
    await expect(answer).rejects.toMatchObject({ reason: 'persistence_failure' });
  });

  it('is bounded', async () => {
    const queue = new CommandQueue(GAME_ID, () => 1);
    for (let i = 0; i < 8; i += 1) void queue.add(`c${i}`, MOVE, 1, 0);
    await expect(queue.add('one-more', MOVE, 1, 0)).rejects.toMatchObject({ reason: 'rate_limited' });
    expect(queue.pending).toHaveLength(8);
  });
});
