/** A socket whose other end is the test. */

import type { Socket } from '../src/client';
import type { ClientMessage } from '../src/client/protocol/from-client';
import type { ServerMessage } from '../src/client/protocol/from-server';

export class FakeSocket implements Socket {
  onopen: Socket['onopen'] = null;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  readonly sent: ClientMessage[] = [];
  isClosed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as ClientMessage);
  }

  close(): void {
    this.isClosed = true;
  }

  /** The gateway accepts. */
  accept(): void {
    this.onopen?.(new Event('open'));
  }

  say(message: ServerMessage): void {
    this.onmessage?.(new MessageEvent('message', { data: JSON.stringify(message) }));
  }

  /** The other end goes away. */
  die(): void {
    this.onclose?.(new Event('close') as CloseEvent);
  }

  sentOf<Type extends ClientMessage['type']>(type: Type): Extract<ClientMessage, { type: Type }>[] {
    return this.sent.filter((message) => message.type === type) as Extract<ClientMessage, { type: Type }>[];
  }

  /** Grants the latest subscribe. */
  grant(resumed: boolean): void {
    const { ref, topic } = this.sentOf('subscribe').at(-1) ?? { ref: '', topic: '' };
    this.say({ type: 'subscribed', ref, topic, resumed });
  }
}
