/** One error type for everything a server may refuse, over HTTP or over the socket. */

import { decodeReason, isObject } from './protocol/decode';
import type { Reason } from './protocol/nouns';

/** Faults that pass: the same request may be sent again, with the same `command_id`. */
const PASSING: ReadonlySet<Reason> = new Set(['rate_limited', 'persistence_failure', 'unavailable']);

export const isPassing = (reason: Reason): boolean => PASSING.has(reason);

/** A refusal. `status` is the HTTP status, or 0 where there was none. */
export class Problem extends Error {
  constructor(
    readonly reason: Reason,
    readonly detail: string,
    readonly status = 0,
  ) {
    super(detail === '' ? reason : `${reason}: ${detail}`);
    this.name = 'Problem';
  }
}

/** A response that is no success, as a `Problem`; bodies that are not RFC 9457 are passing faults. */
export async function problemOf(response: Response): Promise<Problem> {
  const body: unknown = await response.json().catch(() => null);
  if (!isObject(body)) return new Problem('unavailable', '', response.status);
  const detail = typeof body.detail === 'string' ? body.detail : '';
  return new Problem(decodeReason(body.reason), detail, response.status);
}
