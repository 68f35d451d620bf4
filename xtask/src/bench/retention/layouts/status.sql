-- The design that most write first: one table, and a column that says what became of the row.
create table event (
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
    status        smallint    not null default 0,
    published_at  timestamptz,
    stream_seq    bigint,
    generation    bigint,
    primary key (shard, id)
) with (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);
create unique index event_by_event_id on event (shard, event_id);
create index event_waiting on event (shard, id) where status = 0;
create index event_in_order on event (shard, generation, stream_seq) where status = 1;
