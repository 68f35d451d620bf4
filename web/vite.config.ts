import { defineConfig } from 'vitest/config';

/** Where `npm run dev` finds a gateway; the built page talks to the host that served it. */
const GATEWAY = 'http://127.0.0.1:8080';

export default defineConfig({
  build: {
    // A strict Content-Security-Policy forbids data: URIs and inline scripts, so nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
  },
  server: {
    proxy: { '/v1': { target: GATEWAY, ws: true } },
  },
  test: { include: ['test/**/*.test.ts'] },
});
