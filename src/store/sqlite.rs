//! Opening SQLite in a data directory that no other process uses.

use super::{error::OpenError, postgres::failed};
use sqlx::{
    Connection, Row as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    time::Duration,
};

const FILE: &str = "hearken.db";
const LOCK: &str = "hearken.lock";
const READERS: u32 = 4;
const BUSY: Duration = Duration::from_secs(5);
/// `application_id` that the first migration writes into the file: "hrkn".
const APPLICATION: i64 = 0x6872_6b6e;

/// Creates the directory if it does not exist, readable only by its owner, and locks it. The lock
/// ends with the returned file, and so also with a killed process.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let unusable = |source| OpenError::Directory { directory: directory.to_owned(), source };
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(unusable)?;
    let mut file = create(&directory.join(LOCK)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::DirectoryInUse {
                directory: directory.to_owned(),
                holder: holder(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    sign(&mut file).map_err(unusable)?;
    Ok(file)
}

/// Opens a file, and creates it readable and writable only by its owner.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.is_empty() => format!("process {text}"),
        _ => "another process".to_owned(),
    }
}

fn options(directory: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(directory.join(FILE)).busy_timeout(BUSY)
}

/// The connections to the database file.
pub(super) struct SqlitePools {
    /// The only connection that writes.
    pub(super) writer: SqlitePool,
    /// Connections that only read.
    pub(super) readers: SqlitePool,
}

/// Opens and migrates the database file. Refuses a file that is not a database of hearken, without
/// changing it.
pub(super) async fn open(directory: &Path) -> Result<SqlitePools, OpenError> {
    refuse_foreign(directory).await?;
    // Full, because the file holds the only copy of the history and of accepted events, which must
    // survive a power cut.
    let options = options(directory)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    // SQLite would create the file with the rights of the umask. Its other files copy the rights of
    // this file.
    let file = create(&directory.join(FILE));
    file.map_err(|source| OpenError::Directory { directory: directory.to_owned(), source })?;
    let mut first = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    super::migrations::sqlite(&mut first).await?;
    first.close().await.map_err(failed)?;
    let pool = |size| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(BUSY)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
    let readers = pool(READERS).connect_with(options.read_only(true)).await.map_err(failed)?;
    Ok(SqlitePools { writer, readers })
}

async fn refuse_foreign(directory: &Path) -> Result<(), OpenError> {
    let file = directory.join(FILE);
    if !std::fs::metadata(&file).is_ok_and(|data| data.len() > 0) {
        return Ok(());
    }
    let look = "SELECT application_id AS id, (SELECT count(*) FROM sqlite_schema) AS tables FROM pragma_application_id";
    let answer = async {
        let mut probe = SqliteConnection::connect_with(&options(directory)).await?;
        let row = sqlx::query(look).fetch_one(&mut probe).await?;
        let answer = (row.try_get::<i64, _>("id")?, row.try_get::<i64, _>("tables")?);
        probe.close().await?;
        Ok::<_, sqlx::Error>(answer)
    };
    match answer.await {
        // A process that died before its first migration left an empty database.
        Ok((APPLICATION, _) | (0, 0)) => Ok(()),
        Ok(_) => Err(OpenError::NotOurs { file }),
        // NOTADB: the file is not a database.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("26") => {
            Err(OpenError::NotOurs { file })
        }
        Err(error) => Err(failed(error)),
    }
}
