//! The leaves of the outbox: 65,536 ids of one, then of the next, round and round.

use outbox_relay::backlog::repo::{LeafLook, clear_leaf};
use sqlx::PgPool;

use crate::harness::{NatsServer, Outbox, Relay, Stream, until};

/// Ids of a leaf before those of the next.
const IDS: i64 = 1 << 16;

/// The next id is this one.
async fn next_id(outbox: &Outbox, id: i64) {
    sqlx::query("select setval('outbox_events_id_seq', $1, false)")
        .bind(id)
        .execute(&outbox.pool)
        .await
        .unwrap();
}

async fn waiting_in(outbox: &Outbox, leaf: i64) -> i64 {
    outbox
        .number(match leaf {
            0 => "select count(*) from outbox_events_leaf_0",
            1 => "select count(*) from outbox_events_leaf_1",
            2 => "select count(*) from outbox_events_leaf_2",
            _ => "select count(*) from outbox_events_leaf_3",
        })
        .await
}

fn cleared(leaf: i64) -> LeafLook {
    LeafLook {
        cleared: Some(format!("outbox_events_leaf_{leaf}")),
        busy: false,
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn a_key_keeps_its_order_from_leaf_to_leaf(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    // From the last leaf into the first: the order of leaves is not that of ids.
    next_id(&outbox, 4 * IDS - 25).await;
    outbox.append_many(5, 10).await;
    assert_eq!(waiting_in(&outbox, 3).await, 25);
    assert_eq!(waiting_in(&outbox, 0).await, 25);
    let relay = Relay::start(&outbox, &nats.url(), &[("OUTBOX_BATCH_MAX", "3")]).await;
    outbox.until_drained().await;
    Stream::of(&nats).await.assert_complete(5, 10).await;
    assert_eq!(outbox.published().await, 50);
    relay.drain().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_leaf_without_rows_that_wait_is_emptied_while_vacuum_is_kept_away(pool: PgPool) {
    let outbox = Outbox::new(&pool);
    let mut elsewhere = pool.begin().await.unwrap();
    sqlx::query("select pg_current_xact_id()")
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    outbox.append_many(1, 3).await;
    assert_eq!(
        clear_leaf(&pool).await.unwrap(),
        LeafLook::default(),
        "new ids lead into the only one that is used"
    );
    next_id(&outbox, IDS).await;
    outbox.append_many(1, 2).await;
    assert_eq!(
        clear_leaf(&pool).await.unwrap(),
        LeafLook::default(),
        "rows wait in the first"
    );
    outbox
        .execute("delete from outbox_events where id < 65536")
        .await;
    let first = "select pg_relation_size('outbox_events_leaf_0')";
    assert!(outbox.number(first).await > 0, "dead rows are there");
    assert_eq!(clear_leaf(&pool).await.unwrap(), cleared(0));
    assert_eq!(outbox.number(first).await, 0);
    assert_eq!(clear_leaf(&pool).await.unwrap(), LeafLook::default());
    assert_eq!(outbox.pending().await, 2, "what waits is where it was");
    elsewhere.rollback().await.unwrap();
}

#[sqlx::test(migrations = "../migrations")]
async fn a_leaf_that_a_producer_uses_is_left_to_it(pool: PgPool) {
    let outbox = Outbox::new(&pool);
    let mut producer = pool.begin().await.unwrap();
    sqlx::query("select outbox_append('k', 'events.test.k', 'test.happened.v1', '{}')")
        .execute(&mut *producer)
        .await
        .unwrap();
    next_id(&outbox, IDS).await;
    outbox.append_one("other", 1).await;
    // Its row cannot be seen yet, and is not lost.
    let busy = LeafLook {
        cleared: None,
        busy: true,
    };
    assert_eq!(clear_leaf(&pool).await.unwrap(), busy);
    producer.commit().await.unwrap();
    assert_eq!(waiting_in(&outbox, 0).await, 1);
    assert_eq!(clear_leaf(&pool).await.unwrap(), LeafLook::default());
    assert_eq!(outbox.pending().await, 2);
}

/// With an older snapshot, a row that was committed just before the lock would not be seen.
#[sqlx::test(migrations = "../migrations")]
async fn no_leaf_is_emptied_by_an_older_snapshot(pool: PgPool) {
    let outbox = Outbox::new(&pool);
    outbox.append_one("k", 1).await;
    outbox.execute("delete from outbox_events").await;
    next_id(&outbox, IDS).await;
    for isolation in ["repeatable read", "serializable"] {
        let mut transaction = pool.begin().await.unwrap();
        let set = format!("set transaction isolation level {isolation}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(set))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let refused = sqlx::query("select outbox_clear_leaf()")
            .execute(&mut *transaction)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("must be read committed"),
            "{refused}"
        );
    }
    assert_eq!(clear_leaf(&pool).await.unwrap(), cleared(0));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_relay_empties_leaves_as_it_goes(pool: PgPool) {
    let (outbox, nats) = (Outbox::new(&pool), NatsServer::start().await);
    let relay = Relay::start(&outbox, &nats.url(), &[]).await;
    outbox.append_many(5, 20).await;
    outbox.until_drained().await;
    next_id(&outbox, IDS).await;
    outbox.append_one("k0", 21).await;
    until("the first leaf is emptied", || async {
        outbox
            .number("select pg_relation_size('outbox_events_leaf_0')")
            .await
            == 0
    })
    .await;
    outbox.until_drained().await;
    assert_eq!(outbox.published().await, 101);
    relay.drain().await;
}
