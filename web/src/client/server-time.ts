/** The server's time, estimated: clocks are drawn from it and no rule depends on it. */

/**
 * Every time the server states is already past when it arrives, so each one is a lower bound
 * of the offset between the two clocks; the largest bound is the one that travelled fastest.
 */
export class ServerTime {
  private offsetMs: number | null = null;

  /** `monotonicMs` is a clock that nobody sets, such as `performance.now`. */
  constructor(private readonly monotonicMs: () => number) {}

  /** A new connection measures afresh, since a suspended machine's clock may have stood still. */
  restart(serverMs: number): void {
    this.offsetMs = serverMs - this.monotonicMs();
  }

  observe(serverMs: number): void {
    const bound = serverMs - this.monotonicMs();
    if (this.offsetMs === null || bound > this.offsetMs) this.offsetMs = bound;
  }

  /** `null` until the server has stated a time. */
  nowMs(): number | null {
    return this.offsetMs === null ? null : this.monotonicMs() + this.offsetMs;
  }
}
