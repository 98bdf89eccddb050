//! Opening a store, and what can be wrong then.

use super::{append, history};
use crate::support::{services, wait};
use hearken::store::{OpenError, OutdatedNodes, Schema, Store};
use sqlx::Connection as _;
use std::{error::Error, time::Duration};

async fn on_postgres(url: &str, sql: &str) {
    let mut session = sqlx::PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut session).await.unwrap();
}

fn refused(result: Result<Store, OpenError>) -> OpenError {
    match result {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

/// An error with all its sources, as a program prints it.
fn chain(error: &OpenError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_on_an_empty_database_agree_on_its_identity() {
    let url = services::database().await;
    let (one, two, three) =
        tokio::join!(Store::postgres(&url), Store::postgres(&url), Store::postgres(&url));
    let [one, two, three] = [one.unwrap(), two.unwrap(), three.unwrap()];
    assert_eq!((one.cluster_id(), one.log_id()), (two.cluster_id(), two.log_id()));
    assert_eq!((one.cluster_id(), one.log_id()), (three.cluster_id(), three.log_id()));
    assert_ne!(one.cluster_id(), one.log_id());
    assert_eq!(one.kind(), "PostgreSQL");
    assert_eq!(
        Store::migrate_postgres(&url, OutdatedNodes::Spare).await.unwrap(),
        Vec::<String>::new()
    );
}

/// Every step of the schema.
const ALL: [&str; 2] = ["0001_start", "0002_dead_letters"];

#[tokio::test]
async fn a_database_with_pending_migrations_is_left_alone_until_an_operator_asks() {
    let url = services::database().await;
    on_postgres(&url, "CREATE TABLE somebody_elses (id bigint)").await;
    let error = refused(Store::postgres(&url).await);
    assert!(error.to_string().contains("hearken migrate --database-url"), "{error}");
    let OpenError::PendingMigrations { pending } = error else { panic!("{error:?}") };
    assert_eq!(pending, ALL);
    assert_eq!(Store::migrate_postgres(&url, OutdatedNodes::Spare).await.unwrap(), ALL);
    Store::postgres(&url).await.unwrap();
}

/// The note of a step that a newer version of hearken applied.
fn later(min_reader: i64, min_writer: i64) -> String {
    format!(
        "INSERT INTO hearken_migration (version, name, min_reader, min_writer) VALUES (900, '0900_later', {min_reader}, {min_writer})"
    )
}

#[tokio::test]
async fn an_older_hearken_runs_and_starts_beside_a_newer_one_that_only_added() {
    let url = services::database().await;
    let running = Store::postgres(&url).await.unwrap();
    append(&running, 0, "before").await.unwrap();
    let added = "ALTER TABLE roster_event ADD COLUMN later text; CREATE TABLE later (id bigint)";
    on_postgres(&url, &format!("{added}; {}", later(2, 2))).await;
    append(&running, 1, "beside").await.unwrap();
    let restarted = Store::postgres(&url).await.expect("the newer step allows this version");
    restarted.check_statements().await.unwrap();
    append(&restarted, 2, "after").await.unwrap();
    assert_eq!(history(&running).await.len(), 3);
    assert_eq!(
        Store::migrate_postgres(&url, OutdatedNodes::Spare).await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_schema_that_may_only_be_read_is_examined_and_not_opened() {
    let url = services::database().await;
    Store::postgres(&url).await.unwrap().close().await;
    on_postgres(&url, &later(2, 900)).await;
    assert_eq!(Store::examine_postgres(&url).await.unwrap().schema, Schema::Current);
    let error = refused(Store::postgres(&url).await);
    assert!(matches!(error, OpenError::NewerSchema { needed: 900, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_behind_a_long_transaction_without_blocking_others() {
    let url = services::database().await;
    on_postgres(&url, "CREATE TABLE somebody_elses (id bigint)").await;
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    let mut long = other.begin().await.unwrap();
    // As another node that migrates: this lock is taken before any table is touched.
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(29382302398371182)")
        .execute(&mut *long)
        .await
        .unwrap();
    let (migrated, ()) = tokio::join!(Store::migrate_postgres(&url, OutdatedNodes::Spare), async {
        wait::pace(Duration::from_secs(3)).await;
        long.commit().await.unwrap();
    });
    assert_eq!(migrated.unwrap(), ALL);
}

#[tokio::test]
async fn a_database_of_a_newer_hearken_is_refused_by_opening_and_by_migrating() {
    let url = services::database().await;
    Store::postgres(&url).await.unwrap().close().await;
    on_postgres(&url, &later(900, 900)).await;
    let migrated = Store::migrate_postgres(&url, OutdatedNodes::Spare).await.unwrap_err();
    for error in [refused(Store::postgres(&url).await), migrated] {
        assert!(matches!(error, OpenError::NewerSchema { found: 900, .. }), "{error:?}");
        assert!(error.to_string().contains("upgrade hearken"), "{error}");
    }
}

#[tokio::test]
async fn a_migration_that_fails_is_named_and_changes_nothing() {
    let url = services::database().await;
    on_postgres(&url, "CREATE TABLE roster_event (mine bigint)").await;
    let error = Store::migrate_postgres(&url, OutdatedNodes::Spare).await.unwrap_err();
    assert!(
        matches!(&error, OpenError::Migration { name, .. } if name == "0001_start"),
        "{error:?}"
    );
    on_postgres(&url, "DROP TABLE roster_event").await;
    Store::postgres(&url).await.expect("the database is empty as it was");
}

#[tokio::test]
async fn each_thing_that_keeps_a_database_from_opening_is_told_without_the_password() {
    let url = services::database().await;
    let (base, database) = url.rsplit_once('/').unwrap();
    let address = base.rsplit_once('@').unwrap().1;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let role = format!("r{}", database.trim_start_matches("t_"));
    on_postgres(&url, &format!("CREATE ROLE {role} NOLOGIN")).await;

    let error =
        refused(Store::postgres(&format!("postgres://{role}:sesame@{address}/{database}")).await);
    assert!(matches!(&error, OpenError::Credentials { user, .. } if *user == role), "{error:?}");
    assert!(!chain(&error).contains("sesame"), "{error}");

    let error = refused(Store::postgres(&format!("{base}/t_nowhere")).await);
    assert!(
        matches!(&error, OpenError::UnknownDatabase { database, .. } if database == "t_nowhere"),
        "{error:?}"
    );

    let error = refused(Store::postgres("postgres://u:sesame@no-such-host.invalid/d").await);
    assert!(
        matches!(&error, OpenError::UnknownHost { host, .. } if host == "no-such-host.invalid"),
        "{error:?}"
    );
    assert!(!chain(&error).contains("sesame"), "{error}");

    let error = refused(Store::postgres(&format!("postgres://u:sesame@{closed}/d")).await);
    assert!(
        matches!(&error, OpenError::Unreachable { address, .. } if *address == closed.to_string()),
        "{error:?}"
    );
    assert!(!chain(&error).contains("sesame"), "{error}");

    let error = refused(Store::postgres("mysql://u:sesame@h/d").await);
    assert!(matches!(error, OpenError::InvalidUrl { .. }), "{error:?}");
    assert!(!chain(&error).contains("sesame"), "{error}");
    on_postgres(&url, &format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_directory_is_made_for_its_owner_alone_and_keeps_its_identity_and_history() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let store = Store::sqlite(&directory).await.unwrap();
    let identity = (store.cluster_id(), store.log_id());
    append(&store, 0, "a").await.unwrap();
    let log = history(&store).await;
    store.close().await;
    let store = Store::sqlite(&directory).await.unwrap();
    assert_eq!((store.cluster_id(), store.log_id()), identity);
    assert_eq!(history(&store).await, log);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory.clone()), 0o700);
        // Each file by itself: the directory may have been there before, with other rights.
        for file in std::fs::read_dir(&directory).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_its_holder() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::sqlite(directory.path()).await.unwrap();
    let error = refused(Store::sqlite(directory.path()).await);
    let text = error.to_string();
    assert!(text.contains(&directory.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(matches!(error, OpenError::DirectoryInUse { .. }));
    drop(store);
    Store::sqlite(directory.path()).await.expect("the lock went with the store");
}

#[tokio::test]
async fn a_file_that_is_not_hearkens_is_refused_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hearken.db");
    let text = "not a database at all, only some text. ".repeat(300);
    std::fs::write(&file, &text).unwrap();
    let error = refused(Store::sqlite(directory.path()).await);
    assert!(matches!(&error, OpenError::NotOurs { file: named } if *named == file), "{error:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    std::fs::remove_file(&file).unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let mut theirs = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (id)").execute(&mut theirs).await.unwrap();
    theirs.close().await.unwrap();
    let before = std::fs::read(&file).unwrap();
    let error = refused(Store::sqlite(directory.path()).await);
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn an_embedded_store_of_a_newer_hearken_is_refused() {
    let bench = super::Bench::sqlite().await;
    bench.by_hand(&later(900, 900)).await.unwrap();
    bench.store.close().await;
    let super::Place::Sqlite { directory } = &bench.place else { panic!() };
    let error = refused(Store::sqlite(directory.path()).await);
    assert!(matches!(error, OpenError::NewerSchema { found: 900, .. }), "{error:?}");
}

#[tokio::test]
async fn a_directory_that_is_a_file_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = refused(Store::sqlite(file.path()).await);
    assert!(
        matches!(&error, OpenError::Directory { directory, .. } if directory == file.path()),
        "{error:?}"
    );
}
