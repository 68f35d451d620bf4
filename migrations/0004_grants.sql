-- What each service may do, as little as it needs. The login roles are made by
-- `game-api migrate --roles`, not here: they belong to the whole server and have passwords. This
-- grants to those of them that exist; `migrate` calls it again after making them.
--
-- A migration that adds a table which a service uses replaces this function and calls it.

create function fogline_grant() returns void
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
        grant select, insert on outbox_published to fogline_relay;
        grant select, update on outbox_shards, outbox_identity to fogline_relay;
        -- Reads how far ids have been given, to know a backlog's end.
        grant usage, select on sequence outbox_events_id_seq to fogline_relay;
        if to_regclass('public._sqlx_migrations') is not null then
            grant select on _sqlx_migrations to fogline_relay;
        end if;
    end if;
end
$$;
revoke execute on function fogline_grant() from public;
select fogline_grant();
