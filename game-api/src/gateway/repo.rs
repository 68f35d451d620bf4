//! The gateway's own SQL; games and their log are read through `games::repo`.

use sqlx::PgPool;

/// The database's clock, milliseconds since 1970.
pub(super) async fn clock_ms(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select fogline_ms(statement_timestamp()) as "ms!""#)
        .fetch_one(pool)
        .await
}
