-- What each append calls, made cheaper; what it does is unchanged. In PL/pgSQL an expression
-- without a subquery is evaluated in place, where `perform` and a function in SQL that cannot be
-- inlined (`convert_to` is only stable) start the executor each time.

create or replace function fogline_shard(key text) returns smallint
    language plpgsql immutable strict parallel safe
as $$
begin
    return get_byte(sha256(convert_to(key, 'UTF8')), 0) & 63;
end
$$;

-- `date_part` counts in floating point, `extract` in numeric.
create or replace function fogline_uuid_v7() returns uuid
    language sql volatile parallel safe
    return encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((date_part('epoch', statement_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid;

-- The transaction has its xid before it has the id, always: see 0002. `case` keeps that order.
create or replace function outbox_next_id() returns bigint
    language plpgsql volatile
as $$
begin
    return case when pg_current_xact_id() is not null then nextval('outbox_events_id_seq') end;
end
$$;

-- The producer's contract: see 0002.
create or replace function outbox_append(key text, subject text, type text, payload jsonb, carrier jsonb default '{}')
    returns uuid
    language plpgsql volatile
as $$
declare
    new_event_id uuid := fogline_uuid_v7();
    body text := outbox_append.payload::text;
    locked boolean;
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
    if body is null or octet_length(body) > 262144 then
        raise exception 'outbox_append: payload must be JSON of at most 262144 bytes'
            using errcode = 'invalid_parameter_value';
    end if;
    if outbox_append.carrier <> '{}' and (case jsonb_typeof(outbox_append.carrier)
        when 'object' then octet_length(outbox_append.carrier::text) > 4096
            or outbox_append.carrier - 'traceparent' - 'tracestate' <> '{}'
            or jsonb_typeof(outbox_append.carrier -> 'traceparent') <> 'string'
            or jsonb_typeof(outbox_append.carrier -> 'tracestate') <> 'string'
        else true end) then
        raise exception 'outbox_append: carrier must be an object with the strings traceparent and tracestate alone, at most 4096 bytes'
            using errcode = 'invalid_parameter_value';
    end if;
    -- Whoever appends to this key waits here for whoever did before it to commit.
    locked := pg_advisory_xact_lock(hashtextextended(outbox_append.key, 7241)) is not null;
    insert into outbox_events (shard, event_id, key, subject, type, payload, carrier)
    values (fogline_shard(outbox_append.key), new_event_id, outbox_append.key, outbox_append.subject,
            outbox_append.type, body::json, coalesce(outbox_append.carrier, '{}'));
    return new_event_id;
end
$$;
