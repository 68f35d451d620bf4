-- What SQL and Rust share: the shard of an aggregate's key, ids, and the clock.
--
-- Expand-then-contract: a migration only adds, so that the previous release keeps working beside
-- it; what it replaces goes in a later release's migration.

-- The shard of an aggregate's key, 0..63: the first byte of SHA-256 of its UTF-8 text, modulo 64.
-- shared::shard::Shard::of_key is the same function; a test compares the two.
create function fogline_shard(key text) returns smallint
    language sql immutable strict parallel safe
    return (get_byte(sha256(convert_to(key, 'UTF8')), 0) & 63)::smallint;

-- A UUIDv7 (RFC 9562 §5.7) on the database's clock: 48 bits of milliseconds, then random bits.
create function fogline_uuid_v7() returns uuid
    language sql volatile parallel safe
    return encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from statement_timestamp()) * 1000)::bigint) from 3)
                    from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid;

-- Milliseconds since 1970-01-01 UTC, the unit of every *_at_ms in the protocol.
create function fogline_ms(at timestamptz) returns bigint
    language sql immutable strict parallel safe
    return (extract(epoch from at) * 1000)::bigint;
