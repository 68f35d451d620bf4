//! What the roles of the two services may and may not do.

use std::time::Duration;

use game_api::config::DatabaseConfig;
use game_api::migrate::{MigrateConfig, Role, migrate};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};
use tokio::sync::Mutex;

/// Roles are the server's: tests that change them take turns, whatever their databases.
static TURN: Mutex<()> = Mutex::const_new(());

/// Both roles, with their rights in this database.
async fn roles(pool: &PgPool) -> MigrateConfig {
    let options = pool.connect_options();
    let role = |name, password: &str| Role {
        name,
        password: password.into(),
        statement_timeout_ms: 5_000,
        idle_in_transaction_timeout_ms: 10_000,
    };
    let config = MigrateConfig {
        database: DatabaseConfig {
            url: options.to_url_lossy().to_string().into(),
            connections_max: 2,
        },
        wait: Duration::from_secs(10),
        roles: vec![role("fogline_api", "it's"), role("fogline_relay", "b\"\\c")],
    };
    make(&config).await;
    config
}

async fn make(config: &MigrateConfig) {
    let _turn = TURN.lock().await;
    migrate(config).await.unwrap();
}

async fn login(pool: &PgPool, role: &Role) -> PgConnection {
    use secrecy::ExposeSecret as _;
    let options: PgConnectOptions = (*pool.connect_options()).clone();
    options
        .username(role.name)
        .password(role.password.expose_secret())
        .connect()
        .await
        .unwrap()
}

/// Whether the statement is allowed; nothing of it stays.
async fn may(connection: &mut PgConnection, statement: &'static str) -> bool {
    let mut tx = connection.begin().await.unwrap();
    let result = sqlx::raw_sql(statement).execute(&mut *tx).await;
    tx.rollback().await.unwrap();
    match result {
        Ok(_) => true,
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => false,
        Err(error) => panic!("{statement}: {error}"),
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn the_api_appends_and_never_rewrites_the_log(pool: PgPool) {
    let config = roles(&pool).await;
    let mut api = login(&pool, &config.roles[0]).await;
    for allowed in [
        "select * from players",
        "update players set name = 'x'",
        "update games set seq = 1 where false",
        "insert into game_events select * from game_events",
        "insert into game_codes select * from game_codes",
        "insert into game_results select * from game_results on conflict do nothing",
        "insert into player_games select * from player_games on conflict do nothing",
        "update player_games set status = status",
        "insert into challenges select * from challenges",
        "delete from challenges",
        "insert into gateways (id, incarnation, silent_max) values ('x', gen_random_uuid(), '1s')",
        "update gateways set last_seen = last_seen",
        "delete from gateways",
        "insert into presence select * from presence",
        "delete from presence",
        "select * from presence_seen",
        "select outbox_append('player.x', 'events.player.x', 'fogline.test.v1', '{}')",
        "select max(version) from _sqlx_migrations",
    ] {
        assert!(may(&mut api, allowed).await, "{allowed}");
    }
    for forbidden in [
        "delete from game_events",
        "update game_events set seq = 1",
        "truncate game_events",
        "delete from games",
        "delete from players",
        "delete from player_games",
        "update challenges set made_at = made_at",
        "update game_results set reason = 'x'",
        "select * from outbox_events",
        "delete from outbox_events",
        "update outbox_shards set epoch = 9",
        "select * from outbox_published",
        "create table t (x int)",
        "select fogline_grant()",
        "select fogline_grant_presence()",
        "select outbox_clear_leaf()",
    ] {
        assert!(!may(&mut api, forbidden).await, "{forbidden}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn the_relay_knows_nothing_of_games(pool: PgPool) {
    let config = roles(&pool).await;
    let mut relay = login(&pool, &config.roles[1]).await;
    for allowed in [
        "select * from outbox_events",
        "delete from outbox_events",
        "select last_value, is_called from outbox_events_id_seq",
        "insert into outbox_dead select * from outbox_dead",
        "select * from outbox_shards for update skip locked",
        "insert into outbox_published select * from outbox_published",
        "update outbox_identity set stream_last_seq = 1",
        "select outbox_clear_leaf()",
    ] {
        assert!(may(&mut relay, allowed).await, "{allowed}");
    }
    for forbidden in [
        "select * from games",
        "select * from game_events",
        "select * from game_results",
        "select * from game_codes",
        "select * from players",
        "select * from gateways",
        "select * from presence_seen",
        "select * from player_games",
        "select * from challenges",
        "delete from outbox_published",
        "delete from outbox_shards",
        "create table t (x int)",
    ] {
        assert!(!may(&mut relay, forbidden).await, "{forbidden}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn roles_have_timeouts_and_migrating_again_changes_nothing(pool: PgPool) {
    let config = roles(&pool).await;
    make(&config).await;
    for role in &config.roles {
        let mut connection = login(&pool, role).await;
        let timeout: String = sqlx::query_scalar("select current_setting('statement_timeout')")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(timeout, "5s");
    }
}
