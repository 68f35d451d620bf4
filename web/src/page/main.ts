/**
 * Entry of the page. Each address is one screen and each change of screen a page load, so that
 * reload, back and a shared link need no code of their own:
 * `/` the lobby, `/?join=CODE` an invitation, `/?game=ID` a game to play or watch.
 */

import { Api, type Player } from '../client';
import { GameScreen } from './game-screen';
import { HomeScreen, unreachable } from './home-screen';

function mustFind(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`index.html has no #${id}`);
  return element;
}

const api = new Api();
const place = mustFind('screen');
const parameters = new URLSearchParams(window.location.search);

function showPlayer(player: Player | null): void {
  mustFind('who').textContent = player === null ? '' : player.name;
}

function openHome(player: Player | null): void {
  showPlayer(player);
  new HomeScreen(api, openHome, parameters.get('join')).open(place, player);
}

async function start(): Promise<void> {
  const player = await api.me();
  const gameId = parameters.get('game');
  if (gameId === null) return openHome(player);
  showPlayer(player);
  new GameScreen(api, gameId, player).open(place);
}

start().catch((error: unknown) => unreachable(place, error));
