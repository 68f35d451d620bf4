-- As in migrations/: the whole row is moved from the pending table to the published one.
create table pending (
    shard         smallint    not null,
    id            bigint      not null default nextval('ids'),
    event_id      uuid        not null default gen_random_uuid(),
    key           text        not null,
    subject       text        not null,
    type          text        not null,
    payload       json        not null,
    carrier       jsonb       not null default '{}',
    attempt_count integer     not null default 0,
    created_at    timestamptz not null default statement_timestamp(),
    primary key (shard, id)
) /*ring*/ with (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
) /**/;
create table published (
    shard        smallint    not null,
    id           bigint      not null,
    event_id     uuid        not null,
    key          text        not null,
    subject      text        not null,
    type         text        not null,
    payload      json        not null,
    carrier      jsonb       not null,
    created_at   timestamptz not null,
    published_at timestamptz not null default statement_timestamp(),
    stream_seq   bigint      not null,
    generation   bigint      not null,
    primary key (shard, event_id, published_at)
);
create index published_in_order on published (shard, generation, stream_seq);
