//! What a layout's tables have become, as Postgres tells it.

use anyhow::{Context as _, Result};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::layout::Layout;

/// Where a layout's tables are.
pub(super) const SCHEMA: &str = "bench";

/// Tables and their indexes, all together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    pub(super) dead_rows: i64,
    pub(super) table_bytes: i64,
    pub(super) index_bytes: i64,
}

impl Extent {
    /// Of each figure the higher one.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            dead_rows: self.dead_rows.max(other.dead_rows),
            table_bytes: self.table_bytes.max(other.table_bytes),
            index_bytes: self.index_bytes.max(other.index_bytes),
        }
    }
}

/// Makes the tables, and gives connections that see them first and plan as the relay's do.
pub(super) async fn make(owner: &PgPool, owner_url: &str, layout: Layout) -> Result<PgPool> {
    let script = format!(
        "create schema {SCHEMA}; set search_path = {SCHEMA}, public; {}",
        layout.tables()
    );
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut *owner.acquire().await?)
        .await
        .context("the layout's tables could not be made")?;
    let options: PgConnectOptions = owner_url.parse()?;
    PgPoolOptions::new()
        .max_connections(12)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(
                    "set search_path = bench, public; set enable_seqscan = off;
                     set enable_hashjoin = off; set enable_mergejoin = off; set jit = off",
                )
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .connect_with(options.disable_statement_logging())
        .await
        .context("the benchmark's connections to Postgres")
}

/// How large the tables of a schema whose names begin so have become.
pub(super) async fn extent(pool: &PgPool, schema: &str, prefix: &str) -> Result<Extent> {
    let (dead_rows, table_bytes, index_bytes) = sqlx::query_as(
        "select coalesce(sum(n_dead_tup), 0)::bigint,
                coalesce(sum(pg_table_size(relid)), 0)::bigint,
                coalesce(sum(pg_indexes_size(relid)), 0)::bigint
         from pg_stat_user_tables where schemaname = $1 and starts_with(relname, $2)",
    )
    .bind(schema)
    .bind(prefix)
    .fetch_one(pool)
    .await
    .context("the tables' sizes")?;
    Ok(Extent {
        dead_rows,
        table_bytes,
        index_bytes,
    })
}

/// How much WAL there is so far, in bytes.
pub(super) async fn wal_bytes(pool: &PgPool) -> Result<f64> {
    sqlx::query_scalar("select (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8")
        .fetch_one(pool)
        .await
        .context("the WAL's position")
}
