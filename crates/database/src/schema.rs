//! The schema: its versions, and how connections are set up.
//!
//! A version, once released, is never edited: a change is a new file with the next number. All
//! missing versions are applied in one transaction.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::error::{DatabaseError, Result};
use crate::segments;

/// The migrations, in order; the first one makes version 1.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
];

const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Statements kept prepared per connection; more than this crate has.
const STATEMENTS_KEPT: usize = 256;

/// Other connections of this process hold locks for moments only (checkpoints, closing).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Sets up the connection that writes.
pub(crate) fn configure(connection: &Connection) -> Result<()> {
    configure_statements(connection)?;
    // FULL: in WAL mode NORMAL would leave the newest commits to the page cache. A checkpoint has two more
    // syncs and writes each page once that was changed since the one before: at 32 MiB instead of 4 they are
    // rare enough that hardly anybody who writes has to wait for one.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -65536;
         PRAGMA wal_autocheckpoint = 8000;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    Ok(())
}

/// Sets up a connection that reads.
pub(crate) fn configure_reader(connection: &Connection) -> Result<()> {
    configure_statements(connection)?;
    connection
        .execute_batch("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;")?;
    Ok(())
}

fn configure_statements(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Otherwise many statements are parsed anew whenever their parameters change, to plan by the values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Brings the schema up to date.
pub(crate) fn migrate(connection: &mut Connection) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")?;
    let found = version(&tx)?;
    let missing = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    let Some(missing) = missing else {
        return Err(DatabaseError::NewerSchema { found, known: NEWEST });
    };
    if !missing.is_empty() {
        for (version, migration) in (found + 1..).zip(missing) {
            if version == 3 {
                check_room(&tx, free_bytes(&tx))?;
            }
            tx.execute_batch(migration)?;
            // What SQL alone cannot do.
            if version == 3 {
                segments::adopt(&tx)?;
            }
        }
        tx.execute("DELETE FROM schema_version", [])?;
        tx.execute("INSERT INTO schema_version (version) VALUES (?1)", [NEWEST])?;
        tracing::info!(from = found, to = NEWEST, "database schema brought up to date");
    }
    tx.commit()?;
    Ok(())
}

/// Bytes that are free where the database is; absent when that cannot be told.
fn free_bytes(connection: &Connection) -> Option<u64> {
    let directory = Path::new(connection.path().filter(|path| !path.is_empty())?).parent()?;
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let about = rustix::fs::statvfs(directory).ok()?;
    about.f_bavail.checked_mul(about.f_frsize)
}

/// A disk that fills up on the way would end the migration, and the next one, after minutes.
fn check_room(connection: &Connection, free_bytes: Option<u64>) -> Result<()> {
    let needed_bytes = segments::room_needed(connection)?;
    match free_bytes {
        Some(free_bytes) if free_bytes < needed_bytes => {
            Err(DatabaseError::NoRoom { needed_bytes, free_bytes })
        }
        _ => Ok(()),
    }
}

/// Checks that the schema is one that can be read without changing it.
pub(crate) fn check(connection: &Connection) -> Result<()> {
    match version(connection)? {
        NEWEST => Ok(()),
        found if found > NEWEST => Err(DatabaseError::NewerSchema { found, known: NEWEST }),
        found => Err(DatabaseError::corrupt(format!(
            "schema version {found} is older than {NEWEST}; start the server once to bring it up to date"
        ))),
    }
}

/// 0 for a database that was just created.
fn version(connection: &Connection) -> Result<i64> {
    let found =
        connection.query_row("SELECT version FROM schema_version", [], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

/// A database as version 2 left it.
#[cfg(test)]
pub(crate) fn at_version_2(connection: &Connection) {
    for migration in &MIGRATIONS[..2] {
        connection.execute_batch(migration).unwrap();
    }
    connection
        .execute_batch(
            "CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (2);",
        )
        .unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cover::size_class;

    #[test]
    fn migrating_twice_changes_nothing_and_a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        check(&connection).unwrap();
        connection.execute("UPDATE schema_version SET version = version + 1", []).unwrap();
        for refused in [migrate(&mut connection), check(&connection)] {
            let Err(error) = refused else { panic!("a newer schema was opened") };
            assert!(matches!(error, DatabaseError::NewerSchema { found, known } if found == known + 1));
            assert!(error.to_string().contains("run the newer program"), "{error}");
        }
        connection.execute("UPDATE schema_version SET version = 0", []).unwrap();
        assert!(matches!(check(&connection), Err(DatabaseError::Corrupt { .. })));
    }

    #[test]
    fn version_2_counts_the_events_that_were_told_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE schema_version (version BIGINT NOT NULL)").unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO schema_version (version) VALUES (1);
                 INSERT INTO webhook (url, secret, subscriptions, disabled) VALUES ('https://a.example/', 'czE=', '{}', 0);
                 INSERT INTO feed (id, token, stream_name, remote, started_us, ended_us, last_event_us) VALUES
                     (x'01', 1, 'a', '192.0.2.1', 1, NULL, 1), (x'02', 1, 'a', '192.0.2.1', 1, 2, 2);
                 INSERT INTO asset (id, asset_type, status, feed, stream_name, start_us, created_us) VALUES
                     (x'01', 'clip', 'processing', x'01', 'a', 1, 1), (x'02', 'recording', 'complete', x'01', 'a', 1, 1),
                     (x'03', 'clip', 'error', x'01', 'a', 1, 1), (x'04', 'clip', 'deleted', x'01', 'a', 1, 1),
                     (x'05', 'timeline', 'complete', x'01', 'a', 1, 1);",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let counts = |table: &str| {
            let sql = format!("SELECT event_count FROM {table} ORDER BY id");
            let mut statement = connection.prepare(&sql).unwrap();
            let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
            rows.collect::<Result<Vec<_>, _>>().unwrap()
        };
        assert_eq!(counts("feed"), [1, 2]);
        assert_eq!(counts("asset"), [1, 2, 2, 3, 0]);
    }

    #[test]
    fn a_disk_too_small_for_the_migration_is_told_before() {
        let connection = Connection::open_in_memory().unwrap();
        configure(&connection).unwrap();
        at_version_2(&connection);
        check_room(&connection, Some(0)).unwrap();
        connection
            .execute_batch(
                "INSERT INTO feed (id, token, stream_name, remote, started_us, last_event_us)
                     VALUES (x'02', 1, 'stage', '::1', 0, 0);
                 INSERT INTO timeline VALUES (zeroblob(16), x'02', 0);
                 INSERT INTO run (timeline, number, tracks) VALUES (zeroblob(16), 0, '[]');
                 INSERT INTO segment VALUES (zeroblob(16), 0, 0, 0, 0, 10, 0, 1, 0, 0, 1, 1, zeroblob(1000));",
            )
            .unwrap();
        let error = check_room(&connection, Some(2000)).unwrap_err();
        assert!(matches!(error, DatabaseError::NoRoom { needed_bytes: 2875, free_bytes: 2000 }), "{error}");
        check_room(&connection, Some(3000)).unwrap();
        check_room(&connection, None).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = Connection::open(directory.path().join("test.db")).unwrap();
        assert!(free_bytes(&file).is_some_and(|free| free > 0));
    }

    #[test]
    fn what_version_1_stored_is_there_in_later_ones() {
        let mut connection = Connection::open_in_memory().unwrap();
        configure(&connection).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE schema_version (version BIGINT NOT NULL);
                 INSERT INTO schema_version VALUES (1);
                 INSERT INTO feed (id, token, stream_name, remote, started_us, last_event_us)
                     VALUES (x'02', 1, 'stage', '::1', 0, 0);
                 INSERT INTO timeline VALUES (x'03', x'02', 0);
                 INSERT INTO asset (id, asset_type, status, feed, stream_name, start_us, created_us)
                     VALUES (x'01', 'clip', 'processing', x'02', 'stage', 0, 0);
                 INSERT INTO recipe VALUES (x'01', x'03', 0, 4, 7, 10, NULL);
                 INSERT INTO asset (id, asset_type, status, feed, stream_name, start_us, created_us)
                     VALUES (x'02', 'recording', 'processing', x'02', 'stage', 0, 0);
                 INSERT INTO recipe VALUES (x'02', x'03', 0, 4, NULL, NULL, NULL);",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let mut classes = connection.prepare("SELECT size_class FROM recipe ORDER BY asset").unwrap();
        let classes: Vec<u32> =
            classes.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(classes, [size_class(4, Some(7)), size_class(4, None)]);
        let part: (u32, i64, i64, Option<i64>) = connection
            .query_row("SELECT part, first_segment, last_segment, stop_us FROM recipe", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .unwrap();
        assert_eq!(part, (0, 4, 7, None));
        let modes: (String, String, Option<String>) = connection
            .query_row("SELECT gaps, cut, target_format FROM asset", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(modes, ("split".into(), "frame".into(), None));
        connection.execute("DELETE FROM asset", []).unwrap();
        let left: u32 = connection.query_row("SELECT count(*) FROM recipe", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "a recipe goes with its asset");
    }
}
