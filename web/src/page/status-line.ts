/** Whether the page is in touch with the server. */

import type { SessionState } from '../client';
import { el, setText } from './dom';

const TEXTS: Readonly<Record<SessionState['connection'], string>> = {
  connecting: 'Connecting…',
  connected: 'Connected',
  reconnecting: 'Reconnecting…',
  closed: 'Not connected',
};

export class StatusLine {
  private readonly text = el('span');
  private readonly watching = el('span', { class: 'watching', testId: 'watching' });
  readonly element = el('p', { class: 'connection', testId: 'connection', attributes: { role: 'status' } });

  constructor() {
    this.element.append(this.text, this.watching);
  }

  show({ connection, transport, busy, presence }: SessionState): void {
    this.element.dataset.state = connection;
    this.element.dataset.transport = transport;
    this.element.dataset.busy = String(busy);
    setText(this.text, connection === 'connected' && busy ? 'Sending…' : TEXTS[connection]);
    setText(this.watching, presence === null ? '' : ` · ${presence.watching} watching`);
  }
}
