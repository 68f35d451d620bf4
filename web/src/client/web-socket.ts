/** The browser's WebSocket to the host that served the page. */

import type { Socket } from './connection';

/** The session cookie goes along with the handshake; without one the viewer is a spectator. */
export function webSocket(): Socket {
  const url = new URL('/v1/ws', window.location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return new WebSocket(url);
}
