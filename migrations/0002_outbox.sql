-- The outbox: any service that can insert a row can use it. The contract is docs/outbox.md.

-- CACHE 1: ids are given in the order of nextval, so that per key the id order is commit order.
create sequence outbox_events_id_seq as bigint cache 1;

-- The next row id. The transaction has its xid before it has the id, always: so once every
-- transaction that ran at some moment has ended, no row with an id given before that moment can
-- appear any more. That is what lets a relay skip, for good, the ids it has dealt with, instead of
-- reading over their dead index entries while some transaction elsewhere keeps vacuum away.
create function outbox_next_id() returns bigint
    language plpgsql volatile
as $$
begin
    perform pg_current_xact_id();
    return nextval('outbox_events_id_seq');
end
$$;

-- Pending rows only: a row leaves when its event stands in the stream (outbox_published) or
-- cannot ever (outbox_dead).
create table outbox_events (
    shard         smallint    not null check (shard between 0 and 63),
    id            bigint      not null default outbox_next_id(),
    event_id      uuid        not null default fogline_uuid_v7(),
    key           text        not null,
    subject       text        not null,
    type          text        not null,
    payload       json        not null,
    carrier       jsonb       not null default '{}',
    attempt_count integer     not null default 0,
    created_at    timestamptz not null default statement_timestamp(),
    primary key (shard, id)
) with (
    -- A queue table: every row dies soon. Vacuum by count, not by a share of a size that varies.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0
);

-- What was published, findable by event id until its partition is dropped.
create table outbox_published (
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
    -- Where it stands in the stream, and the stream's generation when it was put there.
    stream_seq   bigint      not null,
    generation   bigint      not null,
    primary key (shard, event_id, published_at)
) partition by range (published_at);
-- In stream order: what `verify` walks, and how a take-over learns what the database has recorded.
create index outbox_published_in_order on outbox_published (shard, generation, stream_seq);

-- Catches what no partition was made for, so that publishing never stops for want of one.
create table outbox_published_default partition of outbox_published default;

-- What cannot be published, and why. Its key is blocked until an operator retries or drops it.
create table outbox_dead (
    shard         smallint    not null,
    id            bigint      not null,
    event_id      uuid        not null,
    key           text        not null,
    subject       text        not null,
    type          text        not null,
    payload       json        not null,
    carrier       jsonb       not null,
    attempt_count integer     not null,
    created_at    timestamptz not null,
    dead_at       timestamptz not null default statement_timestamp(),
    reason        text        not null,
    blocks_key    boolean     not null,
    primary key (shard, event_id)
);
create index outbox_dead_blocking on outbox_dead (shard, key) where blocks_key;

-- One lease per shard. `epoch` rises by one at each take-over; `fence_seq` is the stream sequence
-- of the shard's last known fence, 0 before its first; `generation` is the stream generation that
-- the shard was verified for; no row of the shard with an id up to `low_id` is pending or can become
-- so. `fence_seq` and `low_id` are written with the renewal of the lease, not with each batch: they
-- may lie behind, never ahead.
create table outbox_shards (
    shard       smallint    primary key check (shard between 0 and 63),
    owner       text,
    epoch       bigint      not null default 0,
    lease_until timestamptz,
    fence_seq   bigint      not null default 0,
    generation  bigint      not null default 0,
    low_id      bigint      not null default 0
) with (fillfactor = 10);
insert into outbox_shards (shard) select generate_series(0, 63);

-- The relay instances that are alive, for an even spread of the shards.
create table outbox_relays (
    owner     text        primary key,
    last_seen timestamptz not null default statement_timestamp()
) with (fillfactor = 50);

-- Which outbox this is, and what is known of the stream it publishes to. One row.
create table outbox_identity (
    only_row          boolean     primary key default true check (only_row),
    id                uuid        not null default fogline_uuid_v7(),
    stream_created    text,
    stream_last_seq   bigint      not null default 0,
    stream_generation bigint      not null default 0,
    -- The first generation of the stream that was created at stream_created: sequences recorded
    -- under an earlier one belong to a stream that is gone.
    stream_since      bigint      not null default 0
);
insert into outbox_identity default values;

-- The producer's contract: call it in the transaction that makes the change the event speaks of.
-- Returns the event's id. The advisory lock makes producers of one key take turns until they
-- commit, so that per key the order of ids is the order of commits.
create function outbox_append(key text, subject text, type text, payload jsonb, carrier jsonb default '{}')
    returns uuid
    language plpgsql volatile
as $$
declare
    new_event_id uuid := fogline_uuid_v7();
begin
    if outbox_append.key is null or outbox_append.key = '' or octet_length(outbox_append.key) > 200 then
        raise exception 'outbox_append: key must be 1 to 200 bytes long'
            using errcode = 'invalid_parameter_value';
    end if;
    if outbox_append.subject is null
        or outbox_append.subject !~ '^events\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$'
        or octet_length(outbox_append.subject) > 200
        or outbox_append.subject like 'events.fence.%' then
        raise exception 'outbox_append: subject % is not of the form events.<kind>.<id>, at most 200 bytes, and not events.fence.*',
            coalesce(quote_literal(left(outbox_append.subject, 80)), 'null')
            using errcode = 'invalid_parameter_value',
                  hint = 'tokens are letters, digits, _ and -, separated by dots';
    end if;
    if outbox_append.type is null or outbox_append.type !~ '^[A-Za-z0-9._-]{1,200}$' then
        raise exception 'outbox_append: type must be 1 to 200 letters, digits, dots, _ or -'
            using errcode = 'invalid_parameter_value';
    end if;
    if outbox_append.payload is null or octet_length(outbox_append.payload::text) > 262144 then
        raise exception 'outbox_append: payload must be JSON of at most 262144 bytes'
            using errcode = 'invalid_parameter_value';
    end if;
    if outbox_append.carrier is not null and (jsonb_typeof(outbox_append.carrier) <> 'object'
        or octet_length(outbox_append.carrier::text) > 4096
        or exists (select 1 from jsonb_each(outbox_append.carrier) as c (name, value)
                   where c.name not in ('traceparent', 'tracestate') or jsonb_typeof(c.value) <> 'string')) then
        raise exception 'outbox_append: carrier must be an object with the strings traceparent and tracestate alone, at most 4096 bytes'
            using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock(hashtextextended(outbox_append.key, 7241));
    insert into outbox_events (shard, event_id, key, subject, type, payload, carrier)
    values (fogline_shard(outbox_append.key), new_event_id, outbox_append.key, outbox_append.subject,
            outbox_append.type, outbox_append.payload, coalesce(outbox_append.carrier, '{}'));
    return new_event_id;
end
$$;
