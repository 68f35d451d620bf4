-- Players, and the games they play.

create table players (
    id          uuid        primary key,
    name        text        not null check (char_length(name) between 1 and 40),
    -- SHA-256 of a 256-bit random secret: a fast hash is enough for what cannot be guessed.
    secret_hash bytea       not null,
    seq         bigint      not null default 1,
    created_at  timestamptz not null default statement_timestamp(),
    updated_at  timestamptz not null default statement_timestamp()
);

-- The current state of each game: enough to validate the next command with one row.
create table games (
    shard           smallint    not null check (shard between 0 and 63),
    id              uuid        not null,
    code            text        not null,
    ruleset         text        not null,
    status          text        not null check (status in ('open', 'active', 'finished', 'aborted')),
    visibility      text        not null check (visibility in ('public', 'private')),
    rated           boolean     not null,
    -- Sequence number of the last event; events of a game are 1, 2, 3 … without a hole.
    seq             bigint      not null,
    -- How many events each view class has been shown, white, black, public.
    n_white         bigint      not null,
    n_black         bigint      not null,
    n_public        bigint      not null,
    -- The ruleset's own state, and the scene that views are drawn from.
    state           json        not null,
    scene           json        not null,
    turn            text        not null check (turn in ('white', 'black')),
    -- How many moves each side has made, up to what abort needs to know.
    moves_made      integer     not null default 0,
    draw_offer      text        check (draw_offer in ('white', 'black')),
    white_id        uuid,
    black_id        uuid,
    creator_id      uuid        not null,
    -- The clock: null for an untimed game. Remaining times are as of turn_started_at.
    initial_ms      bigint,
    increment_ms    bigint,
    white_ms        bigint,
    black_ms        bigint,
    running         text        check (running in ('white', 'black')),
    turn_started_at timestamptz,
    flag_at         timestamptz,
    result          jsonb,
    rematch_of      uuid,
    created_at      timestamptz not null default statement_timestamp(),
    last_event_at   timestamptz not null default statement_timestamp(),
    ended_at        timestamptz,
    primary key (shard, id)
) with (fillfactor = 70);
-- For the sweeper: games whose flag may be due.
create index games_flag on games (shard, flag_at) where flag_at is not null;
-- For the lobby: what can be joined or watched, newest first.
create index games_lobby on games (shard, status, created_at desc, id desc) where visibility = 'public';

-- The code that one shares, unique across shards.
create table game_codes (
    code    text     primary key,
    shard   smallint not null,
    game_id uuid     not null
);

-- The log, kept for ever: the source of truth.
create table game_events (
    shard       smallint    not null,
    game_id     uuid        not null,
    seq         bigint      not null,
    event_id    uuid        not null,
    command_id  uuid        not null,
    kind        text        not null check (kind in ('created', 'joined', 'moved', 'draw_offered', 'draw_declined', 'ended')),
    -- The player who caused it; the game's own id for what the server did (flag).
    actor       uuid        not null,
    -- The seat that caused it; null for the server.
    by          text        check (by in ('white', 'black')),
    -- The action as sent, to tell a repeated command from another under the same id.
    action      text        not null,
    -- What a frame of any class is made from: see games::entity::Logged.
    payload     json        not null,
    n_white     bigint      not null,
    n_black     bigint      not null,
    n_public    bigint      not null,
    white_ms    bigint,
    black_ms    bigint,
    running     text,
    recorded_at timestamptz not null default statement_timestamp(),
    primary key (shard, game_id, seq),
    unique (shard, game_id, actor, command_id)
);

-- One row a game, whoever ended it first.
create table game_results (
    shard    smallint    not null,
    game_id  uuid        not null,
    winner   text        check (winner in ('white', 'black')),
    reason   text        not null,
    white_id uuid,
    black_id uuid,
    rated    boolean     not null,
    ended_at timestamptz not null default statement_timestamp(),
    primary key (shard, game_id)
);
