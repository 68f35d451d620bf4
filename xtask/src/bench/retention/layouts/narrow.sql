-- The row is written once, where it stays; what waits, and where it was published, are narrow rows
-- beside it.
create table event (
    shard         smallint    not null,
    id            bigint      not null default nextval('ids'),
    event_id      uuid        not null default gen_random_uuid(),
    key           text        not null,
    subject       text        not null,
    type          text        not null,
    payload       json        not null,
    carrier       jsonb       not null default '{}',
    created_at    timestamptz not null default statement_timestamp(),
    primary key (shard, id)
);
create unique index event_by_event_id on event (shard, event_id);
create table pending (
    shard         smallint    not null,
    id            bigint      not null,
    attempt_count integer     not null default 0,
    primary key (shard, id)
) /*ring*/ with (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
) /**/;
create table placed (
    shard        smallint    not null,
    id           bigint      not null,
    published_at timestamptz not null default statement_timestamp(),
    stream_seq   bigint      not null,
    generation   bigint      not null,
    primary key (shard, id)
);
create index placed_in_order on placed (shard, generation, stream_seq);
