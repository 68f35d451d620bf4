//! A producer and an observer of the outbox.

use sqlx::{ConnectOptions, PgPool};

use super::until;

#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) pool: PgPool,
}

impl Outbox {
    pub(crate) fn new(pool: &PgPool) -> Self {
        Self { pool: pool.clone() }
    }

    pub(crate) fn url(&self) -> String {
        self.pool.connect_options().to_url_lossy().to_string()
    }

    /// The database as it is reached through another port.
    pub(crate) fn url_by(&self, port: u16) -> String {
        let options = (*self.pool.connect_options()).clone();
        let options = options.host("127.0.0.1").port(port);
        options.to_url_lossy().to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.pool.connect_options().get_port()
    }

    /// Appends events `first..=last` of the key, a transaction each.
    pub(crate) async fn append(&self, key: &str, numbers: std::ops::RangeInclusive<i64>) {
        for n in numbers {
            self.append_one(key, n).await;
        }
    }

    pub(crate) async fn append_one(&self, key: &str, n: i64) {
        sqlx::query(
            "select outbox_append($1, $2, 'test.happened.v1', jsonb_build_object('n', $3::bigint))",
        )
        .bind(key)
        .bind(format!("events.test.{key}"))
        .bind(n)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Appends events of `bytes` bytes to the key, all in one transaction.
    pub(crate) async fn append_large(
        &self,
        key: &str,
        numbers: std::ops::RangeInclusive<i64>,
        bytes: i32,
    ) {
        sqlx::query(
            "insert into outbox_events (shard, key, subject, type, payload)
             select fogline_shard($1), $1, 'events.test.' || $1, 'test.happened.v1',
                    json_build_object('n', n, 'x', repeat('x', $4))
             from generate_series($2, $3) n order by n",
        )
        .bind(key)
        .bind(numbers.start())
        .bind(numbers.end())
        .bind(bytes)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Appends `count` events to each of `keys` keys `k0`, `k1` … in one transaction.
    pub(crate) async fn append_many(&self, keys: i64, count: i64) {
        sqlx::query(
            "insert into outbox_events (shard, key, subject, type, payload)
             select fogline_shard('k' || k), 'k' || k, 'events.test.k' || k, 'test.happened.v1',
                    json_build_object('n', n)
             from generate_series(1, $2) n, generate_series(0, $1 - 1) k order by n, k",
        )
        .bind(keys)
        .bind(count)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn pending(&self) -> i64 {
        self.number("select count(*) from outbox_events").await
    }

    pub(crate) async fn published(&self) -> i64 {
        self.number("select count(*) from outbox_published").await
    }

    /// How often the broker's refusals were counted against events that wait.
    pub(crate) async fn attempts(&self) -> i64 {
        self.number("select coalesce(sum(attempt_count), 0)::bigint from outbox_events")
            .await
    }

    /// Waits until every shard has passed a verification.
    pub(crate) async fn until_verified(&self) {
        until("every shard is verified for a later generation", || async {
            self.number(
                "select count(*) from outbox_shards s, outbox_identity i
                 where s.generation = i.stream_generation and i.stream_generation > 0",
            )
            .await
                == 64
        })
        .await;
    }

    /// What verifications have come to so far, all relays together.
    pub(crate) async fn tally(&self, name: &str) -> i64 {
        sqlx::query_scalar("select count from outbox_tally where name = $1")
            .bind(format!("verify_{name}"))
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn until_drained(&self) {
        until("the outbox is empty", || async {
            self.pending().await == 0
        })
        .await;
    }

    pub(crate) async fn until_published(&self, count: i64) {
        until(&format!("{count} events are published"), || async {
            self.published().await >= count
        })
        .await;
    }

    /// How many shards each living owner holds, in no order.
    pub(crate) async fn spread(&self) -> Vec<i64> {
        sqlx::query_scalar(
            "select count(*) from outbox_shards
             where owner is not null and lease_until > statement_timestamp() group by owner
             order by 1",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    pub(crate) async fn until_spread(&self, wanted: &[i64]) {
        until(&format!("the shards are spread as {wanted:?}"), || async {
            self.spread().await == wanted
        })
        .await;
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.pool).await.unwrap();
    }
}
