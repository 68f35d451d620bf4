-- Which games are whose: what a player is told of without having a game open. `games` has no index
-- by player, since each would be written by every move; a row here is written when a game is made,
-- joined and ended.
create table player_games (
    player_id  uuid        not null,
    game_id    uuid        not null,
    status     text        not null check (status in ('open', 'active', 'finished', 'aborted')),
    changed_at timestamptz not null default statement_timestamp(),
    primary key (player_id, game_id)
);
create index player_games_latest on player_games (player_id, changed_at desc);

insert into player_games (player_id, game_id, status, changed_at)
select p.player_id, g.id, g.status, g.last_event_at
from games g cross join lateral (values (g.white_id), (g.black_id)) as p (player_id)
where p.player_id is not null;

create function fogline_grant_player_games() returns void
    language plpgsql volatile
as $$
begin
    if to_regrole('fogline_api') is not null then
        grant select, insert, update on player_games to fogline_api;
    end if;
end
$$;
revoke execute on function fogline_grant_player_games() from public;
select fogline_grant();
