//! Partitions of published rows.

use std::time::Duration;

use outbox_relay::retention::roll;
use sqlx::PgPool;

use crate::harness::Outbox;

#[sqlx::test(migrations = "../migrations")]
async fn partitions_are_made_ahead_and_dropped_whole(pool: PgPool) {
    let outbox = Outbox::new(&pool);
    let partitions =
        "select count(*) from pg_inherits where inhparent = 'outbox_published'::regclass";
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let before = outbox.number(partitions).await;
    assert!(before >= 4, "the migration makes the first: {before}");
    outbox
        .execute(
            "create table outbox_published_2026010106 partition of outbox_published
                    for values from ('2026-01-01 06:00+00') to ('2026-01-01 12:00+00')",
        )
        .await;
    outbox
        .execute(
            "insert into outbox_published (shard, id, event_id, key, subject, type, payload,
                        carrier, created_at, published_at, stream_seq, generation)
                    values (1, 1, gen_random_uuid(), 'k', 's', 't', '{}', '{}', now(),
                            '2026-01-01 07:00+00', 5, 0)",
        )
        .await;
    assert_eq!(roll(&pool, hours(72)).await.unwrap(), (0, 1));
    assert_eq!(outbox.number(partitions).await, before);
    assert_eq!(outbox.published().await, 0);
    assert_eq!(roll(&pool, hours(72)).await.unwrap(), (0, 0));
    // A partition that went missing is made again.
    outbox
        .execute(
            "do $$ declare p text; begin
                    select max(child.relname) into p from pg_inherits i
                    join pg_class child on child.oid = i.inhrelid
                    where i.inhparent = 'outbox_published'::regclass and child.relname ~ '[0-9]$';
                    execute 'drop table ' || p; end $$",
        )
        .await;
    assert_eq!(roll(&pool, hours(72)).await.unwrap(), (1, 0));
}
