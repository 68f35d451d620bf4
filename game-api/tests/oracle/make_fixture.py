#!/usr/bin/env python3
"""Plays random games of dark chess with OpenSpiel and writes down what each side sees.

OpenSpiel's `dark_chess` is an implementation of the same game by other people; the rules engine
must agree with it on every ply. Install it with `pip install open_spiel`, then:

    make_fixture.py digests --games 2000 --seed 1 > digests.txt     what the tests always check
    make_fixture.py text --games 5 --seed 18 > sample.txt           a few games to read
    make_fixture.py text --games 2000                               what the live check reads
    make_fixture.py text --only 17 --seed 1                         one game of digests.txt

A ply's text is `fen|white's view|black's view|moves`, before the move of that ply; a view is
`board castling ep`: 64 characters from a8 to h1 (`.` seen and empty, `?` fog), own rights in
capitals or `-`, and the usable en passant square or `-`. Moves are UCI, sorted; none at the end.

Where OpenSpiel is known to differ:
- While an en passant square is set, its view of the side not to move is wrong: that side's own
  pawns count as able to capture there. It is then asked about the same position without that
  square, which by the rules means nothing to that side; the number of such plies is reported.
- It leaves a captured king its castling rights, which can only show at the end of a game. They are
  dropped here.

Its endings are the same: king capture, no move, 100 quiet half-moves, third occurrence; with
`dark_chess` it does not draw for want of material (seen on 2.0.2).
"""

import argparse
import hashlib
import random
import sys

import pyspiel

# Where games start: mostly the start, and positions rich in what random games rarely reach.
STARTS = [
    "rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1",
    "r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1",
    "8/2p5/3p4/KP5r/1R3p1k/8/4P1P1/8 w - - 0 1",
    "r3k2r/Pppp1ppp/1b3nbN/nP6/BBP1P3/q4N2/Pp1P2PP/R2Q1RK1 w kq - 0 1",
    "rnbq1k1r/pp1Pbppp/2p5/8/2B5/8/PPP1NnPP/RNBQK2R w KQ - 1 8",
    "r3k2r/8/8/8/8/8/8/R3K2R b KQkq - 0 1",
    "4k3/pppppppp/8/8/8/8/PPPPPPPP/4K3 w - - 0 1",
    "7k/8/8/p1p1p1p1/P1P1P1P1/8/8/K7 w - - 0 1",
    "7k/5p2/5P2/8/1p6/1P6/8/K6B b - - 90 80",
    "8/PPPk4/8/8/8/8/4Kppp/8 w - - 0 1",
    "6K1/8/8/8/8/8/ppp1p3/kbrbB3 w - - 0 1",
]
START_WEIGHTS = [20, 3, 2, 2, 2, 2, 3, 2, 1, 2, 1]

# How the players choose, so that every ending and every special move is met.
STYLES = ["any", "spare", "special", "shuffle", "quiet"]
STYLE_WEIGHTS = [4, 3, 3, 2, 1]

# Half-moves after which a game is left unfinished, to bound the fixture.
PLIES_MAX = 170

WHITE, BLACK = 1, 0
CHESS = pyspiel.load_game("chess")
DARK = {fen: pyspiel.load_game("dark_chess", {"fen": fen}) for fen in STARTS}


def expand(placement):
    """The 64 characters of a FEN's placement, gaps written out."""
    gaps = {str(n): "." * n for n in range(1, 9)}
    return "".join(gaps.get(c, c) for c in placement.replace("/", ""))


def square(board, name):
    """What stands on the square of that name."""
    return board["abcdefgh".index(name[0]) + 8 * (8 - int(name[1]))]


def without_rights_of_the_dead(fields):
    """A FEN's or a view's fields, in which a side without a king has no rights to castle."""
    gone = [side for side, king in (("KQ", "K"), ("kq", "k")) if king not in fields[0]]
    rights = "".join(right for right in fields[2] if not any(right in side for side in gone))
    return fields[:2] + [rights or "-"] + fields[3:]


class Table:
    """A game in progress."""

    def __init__(self, start):
        self.start = start
        self.state = DARK[start].new_initial_state()
        self.asked_again = 0

    def fen(self):
        return str(self.state)

    def actions(self):
        """The legal actions by their UCI text."""
        if self.state.is_terminal():
            return {}
        board = CHESS.new_initial_state(self.fen()).board()
        return {
            pyspiel.chess.action_to_move(action, board).to_lan(): action
            for action in self.state.legal_actions()
        }

    def view(self, player):
        """What a player sees, as text."""
        state, fields = self.state, self.fen().split()
        waiting = (fields[1] == "w") != (player == WHITE)
        if fields[3] != "-" and waiting:
            self.asked_again += 1
            fields[3] = "-"
            game = pyspiel.load_game("dark_chess", {"fen": " ".join(fields)})
            state = game.new_initial_state()
        seen = without_rights_of_the_dead(state.observation_string(player).split())
        return f"{expand(seen[0])} {seen[2].upper()} {seen[3]}"

    def text(self, moves):
        views = f"{self.view(WHITE)}|{self.view(BLACK)}"
        fen = " ".join(without_rights_of_the_dead(self.fen().split()))
        return f"{fen}|{views}|{' '.join(moves)}"

    def result(self):
        """How it ended; `cut` if it was left."""
        if not self.state.is_terminal():
            return "cut"
        return {1.0: "white", -1.0: "black", 0.0: "draw"}[self.state.returns()[WHITE]]


def choose(rng, style, fen, moves, own_last):
    """The move that a player of this style makes."""
    board = expand(fen.split()[0])
    if style == "any":
        return rng.choice(moves)
    moves = [m for m in moves if square(board, m[2:4]) not in "kK"] or moves
    if style == "special" and rng.random() < 0.7:
        ep = fen.split()[3]
        pawn = lambda m: square(board, m[:2]) in "pP"
        king = lambda m: square(board, m[:2]) in "kK"
        special = [
            m
            for m in moves
            if len(m) == 5
            or (pawn(m) and (m[2:4] == ep or abs(int(m[1]) - int(m[3])) == 2))
            or (king(m) and m[0] == "e" and m[2] in "cg")
        ]
        moves = special or [m for m in moves if pawn(m)] or moves
    if style == "shuffle" and own_last and rng.random() < 0.6:
        back = own_last[2:4] + own_last[:2]
        moves = [back] if back in moves else moves
    if style == "quiet":
        still = lambda m: square(board, m[:2]) not in "pP" and square(board, m[2:4]) == "."
        moves = [m for m in moves if still(m)] or moves
    return rng.choice(moves)


def play(seed, number):
    """Plays game `number` of `seed`: yields (text, moves, chosen) a ply, and last (table, result)."""
    rng = random.Random(f"{seed}/{number}")
    table = Table(rng.choices(STARTS, START_WEIGHTS)[0])
    style = rng.choices(STYLES, STYLE_WEIGHTS)[0]
    made = []
    while True:
        actions = table.actions()
        moves = sorted(actions) if len(made) < PLIES_MAX else []
        text = table.text(moves)
        if not moves:
            yield text, moves, None
            break
        own_last = made[-2] if len(made) > 1 else None
        chosen = choose(rng, style, table.fen(), moves, own_last)
        yield text, moves, chosen
        made.append(chosen)
        table.state.apply_action(actions[chosen])
    yield table, table.result(), None


def write_text(seed, numbers):
    """One line a ply: `ply text|chosen`, between `game number start` and `end result`."""
    asked_again = 0
    for number in numbers:
        *plies, (table, result, _) = play(seed, number)
        print(f"game {number} {table.start}")
        for text, _, chosen in plies:
            print(f"ply {text}|{chosen or '-'}")
        print(f"end {result}")
        asked_again += table.asked_again
    print(f"asked_again {asked_again}")


def write_digests(seed, numbers):
    """One line a game: `game start result digest plies`, `plies` being five hexadecimal digits a
    ply: two of the chosen move's index in the sorted list (`--` at the end), three of the SHA-256
    of its text. `digest` is 16 digits of the SHA-256 of all texts, each with its line feed."""
    asked_again = 0
    for number, fen in enumerate(STARTS):
        print(f"start {number} {fen}")
    for number in numbers:
        *plies, (table, result, _) = play(seed, number)
        whole, marks = hashlib.sha256(), []
        for text, moves, chosen in plies:
            whole.update(f"{text}\n".encode())
            index = f"{moves.index(chosen):02x}" if chosen else "--"
            marks.append(index + hashlib.sha256(text.encode()).hexdigest()[:3])
        start = STARTS.index(table.start)
        print(f"game {start} {result} {whole.hexdigest()[:16]} {''.join(marks)}")
        asked_again += table.asked_again
    print(f"asked_again {asked_again}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("form", choices=["digests", "text"])
    parser.add_argument("--games", type=int, default=2000)
    parser.add_argument("--only", type=int, help="the number of the one game to play")
    parser.add_argument("--seed", default="random", help="any text; `random` chooses one")
    options = parser.parse_args()
    if options.seed == "random":
        options.seed = str(random.SystemRandom().randrange(2**32))
    numbers = range(options.games) if options.only is None else [options.only]
    print(f"seed {options.seed}")
    write = {"digests": write_digests, "text": write_text}[options.form]
    write(options.seed, numbers)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
