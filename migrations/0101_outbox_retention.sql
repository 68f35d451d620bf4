-- Published rows go by dropping a time partition, never by a mass delete; what operators did with
-- dead letters is counted.

-- How often operators retried, skipped or dropped a dead letter, and what verifications came to.
create table outbox_tally (
    name  text   primary key,
    count bigint not null default 0
);
insert into outbox_tally (name) values
    ('dead_retried'), ('dead_skipped'), ('dead_dropped'),
    ('verify_republished'), ('verify_settled'), ('verify_moved'), ('verify_unknown');

-- Makes the six-hour partitions of outbox_published from now to `ahead`, and drops those whose
-- every row is older than `keep`. Gives how many it made and dropped. Does nothing while another
-- session does it. A range that the default partition holds rows of is left to it.
create function outbox_roll_partitions(keep interval, ahead interval default '18 hours')
    returns table (made integer, dropped integer)
    language plpgsql volatile security definer set search_path = public, pg_temp
as $$
declare
    step constant interval := '6 hours';
    low timestamptz := date_bin(step, statement_timestamp(), timestamptz '2000-01-01 00:00+00');
    part record;
begin
    made := 0;
    dropped := 0;
    if not pg_try_advisory_xact_lock(7242, 1) then
        return next;
        return;
    end if;
    perform set_config('lock_timeout', '2s', true);
    while low < statement_timestamp() + ahead loop
        if to_regclass('outbox_published_' || to_char(low at time zone 'UTC', 'YYYYMMDDHH24')) is null
            and not exists (select from outbox_published_default
                            where published_at >= low and published_at < low + step) then
            execute format('create table %I partition of outbox_published for values from (%L) to (%L)',
                'outbox_published_' || to_char(low at time zone 'UTC', 'YYYYMMDDHH24'), low, low + step);
            made := made + 1;
        end if;
        low := low + step;
    end loop;
    for part in
        select child.relname from pg_inherits i join pg_class child on child.oid = i.inhrelid
        where i.inhparent = 'outbox_published'::regclass and child.relname ~ '^outbox_published_[0-9]{10}$'
          and to_timestamp(right(child.relname, 10) || '+00', 'YYYYMMDDHH24TZH') + step
              < statement_timestamp() - keep
    loop
        execute format('drop table %I', part.relname);
        dropped := dropped + 1;
    end loop;
    -- The default partition is for the case that no relay ran for long: a little at a time.
    delete from outbox_published_default d where (d.shard, d.event_id, d.published_at) in (
        select o.shard, o.event_id, o.published_at from outbox_published_default o
        where o.published_at < statement_timestamp() - keep limit 10000);
    return next;
end
$$;
revoke execute on function outbox_roll_partitions(interval, interval) from public;
select outbox_roll_partitions('72 hours');

-- As in 0004, with what the relay needs of the above and of `verify`.
create or replace function fogline_grant() returns void
    language plpgsql volatile
as $$
begin
    if exists (select from pg_roles where rolname = 'fogline_api') then
        revoke all on all tables in schema public from fogline_api;
        revoke all on all sequences in schema public from fogline_api;
        grant usage on schema public to fogline_api;
        grant select, insert, update on players, games to fogline_api;
        -- The log and its index of codes only grow.
        grant select, insert on game_codes, game_events, game_results to fogline_api;
        -- A producer appends, and can neither read nor change what waits.
        grant insert on outbox_events to fogline_api;
        grant usage on sequence outbox_events_id_seq to fogline_api;
        if to_regclass('public._sqlx_migrations') is not null then
            grant select on _sqlx_migrations to fogline_api;
        end if;
    end if;
    if exists (select from pg_roles where rolname = 'fogline_relay') then
        revoke all on all tables in schema public from fogline_relay;
        revoke all on all sequences in schema public from fogline_relay;
        grant usage on schema public to fogline_relay;
        -- It knows nothing of games and players.
        grant select, insert, update, delete on outbox_events, outbox_dead, outbox_relays to fogline_relay;
        grant select, insert, update on outbox_published to fogline_relay;
        grant select, update on outbox_tally to fogline_relay;
        grant execute on function outbox_roll_partitions(interval, interval) to fogline_relay;
        grant select, update on outbox_shards, outbox_identity to fogline_relay;
        -- Reads how far ids have been given, to know a backlog's end.
        grant usage, select on sequence outbox_events_id_seq to fogline_relay;
        if to_regclass('public._sqlx_migrations') is not null then
            grant select on _sqlx_migrations to fogline_relay;
        end if;
    end if;
end
$$;
select fogline_grant();
