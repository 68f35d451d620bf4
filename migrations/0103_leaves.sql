-- What waits is kept in four leaves, by row id: 65,536 ids of one, then of the next, round and round.
-- A leaf whose rows have all been published is emptied as a whole before its turn comes again, so
-- that dead rows stay few even while a transaction elsewhere keeps vacuum away. Only the leaf is
-- locked for that, never the outbox: partitions that are made and dropped would need the latter.

alter table outbox_events rename to outbox_events_whole;

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
    created_at    timestamptz not null default statement_timestamp()
) partition by list (((id >> 16) & 3));

-- Which leaf a row is in follows from its id: what is unique in each leaf is unique in all.
do $$
begin
    for nth in 0..3 loop
        execute format(
            'create table %I partition of outbox_events (primary key (shard, id)) for values in (%s) with (
                 -- Every row dies soon. Vacuum by count, not by a share of a size that varies.
                 autovacuum_vacuum_scale_factor = 0,
                 autovacuum_vacuum_threshold = 5000,
                 autovacuum_vacuum_insert_scale_factor = 0,
                 autovacuum_vacuum_insert_threshold = 50000,
                 autovacuum_vacuum_cost_delay = 0)',
            'outbox_events_leaf_' || nth, nth);
    end loop;
end
$$;

insert into outbox_events (shard, id, event_id, key, subject, type, payload, carrier, attempt_count,
                           created_at)
select shard, id, event_id, key, subject, type, payload, carrier, attempt_count, created_at
from outbox_events_whole;
drop table outbox_events_whole;

-- Empties one leaf in which nothing waits and into which no new id leads. `cleared` is its name, null
-- if there is none; `busy` says that somebody else had one in use that could have been emptied. The
-- lock is waited for so briefly because whoever comes after waits, too.
create function outbox_clear_leaf(out cleared text, out busy boolean)
    language plpgsql volatile security definer
    set search_path = public, pg_temp
    set lock_timeout = '20ms'
    set enable_seqscan = on
as $$
declare
    current_leaf bigint := (select (last_value >> 16) & 3 from outbox_events_id_seq);
    leaf text;
    waits boolean;
begin
    busy := false;
    -- The second look has to see what was committed before the lock was had.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'outbox_clear_leaf: the transaction must be read committed'
            using errcode = 'active_sql_transaction';
    end if;
    if not pg_try_advisory_xact_lock(7242, 2) then
        return;
    end if;
    -- The one whose turn is next comes first.
    for step in 1..3 loop
        leaf := 'outbox_events_leaf_' || ((current_leaf + step) & 3);
        continue when pg_relation_size(to_regclass(leaf)) = 0;
        execute format('select exists (select from %I)', leaf) into waits;
        continue when waits;
        begin
            execute format('lock table only %I in access exclusive mode', leaf);
        exception when lock_not_available then
            busy := true;
            continue;
        end;
        -- A row that came before the lock is seen now.
        execute format('select exists (select from %I)', leaf) into waits;
        continue when waits;
        execute format('truncate only %I', leaf);
        cleared := leaf;
        return;
    end loop;
end
$$;
revoke execute on function outbox_clear_leaf() from public;

create function fogline_grant_outbox_leaves() returns void
    language plpgsql volatile
as $$
begin
    if to_regrole('fogline_relay') is null then
        return;
    end if;
    grant execute on function outbox_clear_leaf() to fogline_relay;
end
$$;
revoke execute on function fogline_grant_outbox_leaves() from public;
select fogline_grant();
