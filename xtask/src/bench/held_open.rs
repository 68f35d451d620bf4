//! A transaction that stays open elsewhere.

use anyhow::{Context as _, Result};
use sqlx::{Connection as _, PgConnection};

use super::relay_rig::RelayRig;

/// A transaction that stays open: it has a number and a snapshot, so that vacuum takes
/// nothing away that was deleted since, and has touched no table of the outbox.
pub(crate) struct HeldOpen(PgConnection);

impl HeldOpen {
    /// Begins it.
    pub(crate) async fn begin(rig: &RelayRig) -> Result<Self> {
        let url = &rig.relays.postgres.addresses.owner_url;
        let mut connection = PgConnection::connect(url)
            .await
            .context("the connection of the transaction that stays open")?;
        for statement in [
            "begin isolation level repeatable read",
            "select pg_current_xact_id()",
        ] {
            sqlx::query(statement).execute(&mut connection).await?;
        }
        Ok(Self(connection))
    }

    /// Ends it.
    pub(crate) async fn end(mut self) -> Result<()> {
        sqlx::query("rollback").execute(&mut self.0).await?;
        self.0.close().await.context("closing the connection")
    }
}
