-- Challenges: games whose free seat is reserved to one player, and which nobody else may know of
-- until that player has taken it.

-- Whoever waits for a lock holds up all who come after, moves among them. Run it again if it gives up.
set local lock_timeout = '2s';

-- The challenges that are open: one row each, which goes in the statement that seats the challenged
-- player or ends the game. An index, the game itself decides. It stands beside `player_games`, as a
-- player's own games must not be crowded out by whoever challenges them. It is written three times
-- in a challenge's life, never by a move; `shard` is the game's.
create table challenges (
    challenged_id uuid        not null,
    game_id       uuid        not null,
    shard         smallint    not null check (shard between 0 and 63),
    challenger_id uuid        not null,
    made_at       timestamptz not null default statement_timestamp(),
    primary key (challenged_id, game_id)
);
-- What a player is shown, newest first.
create index challenges_latest on challenges (challenged_id, made_at desc, game_id desc);
-- How many a player has made.
create index challenges_of_challenger on challenges (challenger_id);

create function fogline_grant_challenges() returns void
    language plpgsql volatile
as $$
begin
    if to_regrole('fogline_api') is not null then
        grant select, insert, delete on challenges to fogline_api;
    end if;
end
$$;
revoke execute on function fogline_grant_challenges() from public;
select fogline_grant();

-- A player's games that are not over, newest first: what `me` begins with. Those that have ended since
-- do not crowd them out, and need not be passed over.
create index player_games_live on player_games (player_id, changed_at desc)
    where status in ('open', 'active');

-- Last, as this holds up every move until the transaction ends.
alter table games
    -- To whom the free seat is reserved; null for a game that anyone may join. It stays when the seat
    -- is taken, and when it never is.
    add column challenged_id uuid,
    -- The visibility from the moment on in which the seat is taken. Until then `visibility` is
    -- 'private': so the lobby's index and its query leave a challenge out by themselves, and so does
    -- an instance of the release before. No check: it would read the whole table under the lock.
    add column visibility_joined text;
