/** One person at one browser: a Chromium of its own, with its own cookies. */

import assert from 'node:assert/strict';
import { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { Traffic } from './traffic.mjs';

/** Long enough for a busy machine; every wait is on a condition and ends as soon as it holds. */
const WAIT_MS_MAX = 20_000;

const CHROMIUM_ARGUMENTS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export class Player {
  constructor(name, browser, page) {
    this.name = name;
    this.browser = browser;
    this.page = page;
    this.traffic = new Traffic(page);
    this.faults = [];
    page.on('pageerror', (error) => this.faults.push(String(error)));
    page.on('console', (message) => {
      if (/Content.Security.Policy/i.test(message.text())) this.faults.push(message.text());
    });
  }

  static async launch(name) {
    const isRoot = process.getuid?.() === 0;
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: isRoot ? [...CHROMIUM_ARGUMENTS, '--no-sandbox'] : CHROMIUM_ARGUMENTS,
    });
    const context = await browser.newContext({ viewport: { width: 1100, height: 800 } });
    context.setDefaultTimeout(WAIT_MS_MAX);
    return new Player(name, browser, await context.newPage());
  }

  find(testId, more = '') {
    return this.page.locator(`[data-testid="${testId}"]${more}`);
  }

  square(name) {
    return this.page.locator(`[data-square="${name}"]`);
  }

  /** Gives the name that the page asks a newcomer for. */
  async enter() {
    await this.find('name-input').fill(this.name);
    await this.find('enter-button').click();
  }

  async connected() {
    await this.find('connection', '[data-state="connected"]').waitFor();
  }

  async atPly(ply) {
    await this.find('turn', `[data-ply="${ply}"]`).waitFor({ state: 'attached' });
    await this.find('connection', '[data-busy="false"]').waitFor();
  }

  async click(uci) {
    await this.square(uci.slice(0, 2)).click();
    await this.page.locator(`[data-square="${uci.slice(2, 4)}"][data-target="true"]`).click();
  }

  /** The same without a pointer; the arrows go as the board is drawn. */
  async type(from, ...keys) {
    await this.square(from).focus();
    for (const key of keys) await this.page.keyboard.press(key);
  }

  /** The drawn board, as `view.board` writes it, and read from the labels again. */
  async board() {
    const squares = await this.page.locator('[data-square]').evaluateAll((buttons) =>
      buttons.map(({ dataset, ariaLabel }) => ({ ...dataset, label: ariaLabel })),
    );
    assert.equal(squares.length, 64);
    const rank = (name) => 8 - Number(name[1]);
    const order = (name) => rank(name) * 8 + name.charCodeAt(0);
    squares.sort((a, b) => order(a.square) - order(b.square));
    for (const { square, state, piece, label } of squares) assertLabel(square, state, piece, label);
    return squares.map(({ state, piece }) => ({ piece, empty: '.', fog: '?' })[state]).join('');
  }

  /** WCAG rules that a machine can check. */
  async assertAccessible(where) {
    const { violations } = await new AxeBuilder({ page: this.page }).analyze();
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
    assert.deepEqual(found, [], `accessibility of ${where}`);
  }

  /** For whoever looks into a failure: SCREENSHOTS names a directory. */
  async screenshot(label) {
    const directory = process.env.SCREENSHOTS;
    if (directory) await this.page.screenshot({ path: `${directory}/${this.name}-${label}.png`, fullPage: true });
  }
}

function assertLabel(square, state, piece, label) {
  const side = piece === piece?.toUpperCase() ? 'white' : 'black';
  const said = { fog: 'fog', empty: 'empty', piece: side }[state];
  assert.ok(label.startsWith(`${square}, ${said}`), `label of ${square}: ${label}`);
}
