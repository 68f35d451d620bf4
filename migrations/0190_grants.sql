-- What each service may do, in parts: every `fogline_grant_<concern>()` without parameters is called
-- by `fogline_grant()`, which takes away whatever was granted before. A migration that adds a table
-- which a service uses defines the part of its own concern, or replaces it, and calls
-- `fogline_grant()`; it never replaces the function here. One with a number below this one needs no
-- call.
--
-- This takes the place of the whole-schema functions of 0004 and 0101, which stay as they were
-- applied and count no more. It has this number because it must come after 0101.

create or replace function fogline_grant() returns void
    language plpgsql volatile
as $$
declare
    role text;
    part regprocedure;
begin
    foreach role in array array['fogline_api', 'fogline_relay'] loop
        if to_regrole(role) is not null then
            execute format('revoke all on all tables in schema public from %I', role);
            execute format('revoke all on all sequences in schema public from %I', role);
            execute format('grant usage on schema public to %I', role);
            if to_regclass('public._sqlx_migrations') is not null then
                execute format('grant select on _sqlx_migrations to %I', role);
            end if;
        end if;
    end loop;
    for part in
        select p.oid::regprocedure from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname like 'fogline\_grant\_%'
            and p.pronargs = 0
        order by p.proname
    loop
        execute format('select %s', part);
    end loop;
end
$$;

create function fogline_grant_games() returns void
    language plpgsql volatile
as $$
begin
    if to_regrole('fogline_api') is null then
        return;
    end if;
    grant select, insert, update on players, games to fogline_api;
    -- The log and its index of codes only grow.
    grant select, insert on game_codes, game_events, game_results to fogline_api;
    -- A producer appends, and can neither read nor change what waits.
    grant insert on outbox_events to fogline_api;
    grant usage on sequence outbox_events_id_seq to fogline_api;
end
$$;

create function fogline_grant_presence() returns void
    language plpgsql volatile
as $$
begin
    if to_regrole('fogline_api') is null then
        return;
    end if;
    -- Every gateway writes its own rows and reaps those of the dead.
    grant select, insert, update, delete on gateways, presence to fogline_api;
    grant select on presence_seen to fogline_api;
end
$$;

create function fogline_grant_outbox() returns void
    language plpgsql volatile
as $$
begin
    if to_regrole('fogline_relay') is null then
        return;
    end if;
    -- The relay knows nothing of games and players.
    grant select, insert, update, delete on outbox_events, outbox_dead, outbox_relays to fogline_relay;
    grant select, insert, update on outbox_published to fogline_relay;
    grant select, update on outbox_tally to fogline_relay;
    grant execute on function outbox_roll_partitions(interval, interval) to fogline_relay;
    grant select, update on outbox_shards, outbox_identity to fogline_relay;
    -- Reads how far ids have been given, to know a backlog's end.
    grant usage, select on sequence outbox_events_id_seq to fogline_relay;
end
$$;

revoke execute on function fogline_grant(), fogline_grant_games(), fogline_grant_presence(),
    fogline_grant_outbox() from public;
select fogline_grant();
