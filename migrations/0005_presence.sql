-- Who is there: which gateways live, and who has which game open at which of them. Nothing here is
-- worth keeping: a gateway writes all of its rows again when it finds them gone. So the tables are
-- unlogged, and a crash of Postgres empties them.

-- One row for each start of a gateway. It lives for as long as it is seen by the database's clock;
-- once it has been silent for too long it is dead for good, and what was behind it comes back under
-- a new incarnation: so its rows can be reaped without asking it.
create unlogged table gateways (
    id          text        not null check (id <> ''),
    incarnation uuid        not null,
    last_seen   timestamptz not null default statement_timestamp(),
    -- Each gateway says itself how long it may be silent, since each has its own heartbeat.
    silent_max  interval    not null check (silent_max > interval '0'),
    primary key (incarnation)
) with (fillfactor = 50);

-- A player has one row at each gateway where they have the game open, however many tabs. Viewers
-- who are not signed in share one row a game and gateway, under the incarnation as their viewer.
create unlogged table presence (
    shard        smallint    not null check (shard between 0 and 63),
    game_id      uuid        not null,
    viewer_id    uuid        not null,
    gateway_id   text        not null,
    incarnation  uuid        not null,
    -- How many viewers the row stands for.
    viewers      integer     not null check (viewers > 0),
    -- Whether the game is public, so that what is counted over all games tells of no other.
    listed       boolean     not null,
    connected_at timestamptz not null default statement_timestamp(),
    primary key (shard, game_id, viewer_id, incarnation)
);
create index presence_of_gateway on presence (incarnation);

-- Each row with when its gateway was last seen, and whether that is recent enough to count.
create view presence_seen as
select p.shard, p.game_id, p.viewer_id, p.gateway_id, p.incarnation, p.viewers, p.listed,
    p.connected_at, p.viewer_id = p.incarnation as is_anonymous, g.last_seen,
    g.last_seen + g.silent_max > statement_timestamp() as is_alive
from presence p
join gateways g on g.incarnation = p.incarnation;
