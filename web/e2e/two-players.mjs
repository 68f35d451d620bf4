/**
 * Two people at two browsers on two gateways play a short game to the capture of a king.
 * Usage: node e2e/two-players.mjs http://127.0.0.1:8080 http://127.0.0.1:8081
 * CHROMIUM names the browser; SCREENSHOTS, if set, a directory for pictures.
 */

import assert from 'node:assert/strict';
import { BLACK_VIEWS, FINAL_BOARD, MOVES, WHITE_VIEWS } from './line.mjs';
import { Player } from './player.mjs';

async function seatTwo(ada, bob, gatewayA, gatewayB) {
  await ada.page.goto(gatewayA);
  await ada.enter();
  await ada.find('seat-select').selectOption('white');
  await ada.assertAccessible('the lobby');
  await ada.screenshot('lobby');
  await ada.find('create-button').click();
  await ada.connected();
  await ada.find('share').waitFor();
  const link = new URL(await ada.find('share-link').inputValue());
  assert.equal(link.searchParams.get('join'), await ada.find('share-code').textContent());

  // The same link on the other gateway: any instance serves any game.
  await bob.page.goto(new URL(link.pathname + link.search, gatewayB).href);
  await bob.enter();
  await bob.find('join-button').click();
  await bob.connected();
}

/** Both sides agree on the ply and each sees its own board, nothing of the other's. */
async function assertBoards(ada, bob, ply) {
  await Promise.all([ada.atPly(ply), bob.atPly(ply)]);
  assert.equal(await ada.board(), WHITE_VIEWS[ply], `white's page at ply ${ply}`);
  assert.equal(await bob.board(), BLACK_VIEWS[ply], `black's page at ply ${ply}`);
}

async function playLine(ada, bob) {
  await ada.find('turn', '[data-turn="white"]').waitFor();
  await assertBoards(ada, bob, 0);
  await ada.click(MOVES[0]);
  await assertBoards(ada, bob, 1);
  await bob.click(MOVES[1]);
  await assertBoards(ada, bob, 2);

  await ada.page.reload();
  await ada.connected();
  await assertBoards(ada, bob, 2);

  await ada.click(MOVES[2]);
  await assertBoards(ada, bob, 3);
  await ada.assertAccessible('a live game');
  await ada.screenshot('live');
  await bob.screenshot('live');
  // a7 to a6 by keyboard: Black sits below, so higher on the screen is a lower rank.
  await bob.type('a7', 'Enter', 'ArrowUp', 'Enter');
  await assertBoards(ada, bob, 4);
  await ada.click(MOVES[4]);
}

async function assertEnd(ada, bob) {
  for (const player of [ada, bob]) {
    await player.find('result', '[data-winner="white"][data-reason="king_captured"]').waitFor();
    await player.atPly(5);
    assert.equal(await player.board(), FINAL_BOARD, `${player.name} sees the whole board`);
    assert.deepEqual(player.faults, [], `${player.name}'s page had no errors`);
    assert.equal(await player.find('resign-button').isVisible(), false);
  }
  assert.match(await ada.find('result').textContent(), /^You won/);
  assert.match(await bob.find('result').textContent(), /^You lost/);
  await bob.assertAccessible('a finished game');
  await bob.screenshot('end');
}

/** Ada challenges Bob by his id: once he declines, once he accepts. */
async function challenge(ada, bob, gatewayA, gatewayB) {
  await bob.page.goto(gatewayB);
  const id = await bob.find('own-id').textContent();
  for (const answer of ['decline-challenge', 'accept-challenge']) {
    await ada.page.goto(gatewayA);
    await ada.find('opponent-input').fill(id);
    await ada.find('visibility-select').selectOption('public');
    await ada.find('create-button').click();
    await ada.connected();
    assert.equal(await ada.find('share').isVisible(), false);
    await bob.find('challenges').locator('li').waitFor();
    await bob.assertAccessible('a challenge');
    await bob.screenshot(answer);
    await bob.find(answer).click();
    if (answer === 'decline-challenge') {
      await ada.find('result', '[data-reason="aborted"]').waitFor();
      await bob.find('challenges').locator('li').waitFor({ state: 'detached' });
    }
  }
  await Promise.all([ada.atPly(0), bob.atPly(0)]);
  await bob.find('turn', '[data-turn="white"]').waitFor();
  await ada.find('turn', '[data-turn="white"]').waitFor();
}

async function assertTraffic(ada, bob) {
  const whites = MOVES.filter((_, ply) => ply % 2 === 0);
  const blacks = MOVES.filter((_, ply) => ply % 2 === 1);
  const common = { finalBoard: FINAL_BOARD };
  const a = await ada.traffic.check({ ...common, seat: 'white', views: WHITE_VIEWS, opponentMoves: blacks });
  const b = await bob.traffic.check({ ...common, seat: 'black', views: BLACK_VIEWS, opponentMoves: whites });
  assert.ok(ada.traffic.sockets >= 2 && bob.traffic.sockets >= 1, 'frames came over WebSockets');
  console.log(`frames checked: ${a} for white, ${b} for black`);
}

async function main([gatewayA, gatewayB]) {
  if (!gatewayA || !gatewayB) {
    console.error('usage: node e2e/two-players.mjs <gateway URL> <another gateway URL>');
    return 64;
  }
  const players = [];
  try {
    for (const name of ['Ada', 'Bob']) players.push(await Player.launch(name));
    const [ada, bob] = players;
    await seatTwo(ada, bob, gatewayA, gatewayB);
    await playLine(ada, bob);
    await assertEnd(ada, bob);
    await assertTraffic(ada, bob);
    await challenge(ada, bob, gatewayA, gatewayB);
    console.log('1 passed, 0 failed');
    return 0;
  } catch (error) {
    console.error(error);
    for (const player of players) await player.screenshot('failure').catch(() => {});
    console.log('0 passed, 1 failed');
    return 1;
  } finally {
    await Promise.all(players.map(({ browser }) => browser.close()));
  }
}

process.exitCode = await main(process.argv.slice(2));
