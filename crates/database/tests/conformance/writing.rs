//! Durability, grouping, and one process at a time.

use std::sync::Arc;

use mediahooks_database::{Change, Database, DatabaseError, Options};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_operations_share_transactions() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let before = db.stats();
    let tasks: Vec<_> = (0..400)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move { db.commit(vec![clip(n)], at(0)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let after = db.stats();
    assert_eq!(after.operations - before.operations, 400);
    assert!(after.transactions - before.transactions < 400, "{after:?}");
    assert_eq!(db.unfinished_assets().await.unwrap().len(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_feeds_that_end_together_leave_room_for_others() {
    const FEEDS: u64 = 200;
    let Fresh { db, dir: _dir } = Fresh::open().await;
    for number in 0..FEEDS {
        db.commit(timeline_with(number, 3), at(0)).await.unwrap();
    }
    let before = db.stats().transactions;
    let tasks: Vec<_> = (0..FEEDS)
        .map(|number| {
            let (db, end) = (db.clone(), vec![Change::EndFeed { feed: feed_id(number), at: at(9) }]);
            tokio::spawn(async move {
                match number % 2 {
                    0 => db.commit(end, at(9)).await,
                    _ => db.commit_patiently(end, at(9)).await,
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(db.live_feeds().await.unwrap().is_empty());
    assert_eq!(db.segment_count().await.unwrap(), 3 * FEEDS);
    // Thirty-two in one transaction at most.
    let transactions = db.stats().transactions - before;
    assert!(transactions >= FEEDS.div_ceil(32), "{transactions}");
}

#[tokio::test]
async fn a_failure_harms_none_of_those_it_shares_a_transaction_with() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let db = Arc::new(db);
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let db = db.clone();
            // Every even clip is asked for twice; one of the two is refused.
            tokio::spawn(async move { db.commit(vec![clip(n), clip(n / 2 * 2 + 1000)], at(0)).await.is_ok() })
        })
        .collect();
    let mut stored = 0;
    for task in tasks {
        stored += usize::from(task.await.unwrap());
    }
    assert_eq!(stored, 50);
    assert_eq!(db.unfinished_assets().await.unwrap().len(), 100);
}

#[tokio::test]
async fn what_was_acknowledged_survives_without_a_close() {
    let Fresh { db, dir } = Fresh::open().await;
    db.commit(vec![clip(1)], at(0)).await.unwrap();
    drop(db);
    let db = Database::open(&dir.path().join("mediahooks.db"), Options::default()).unwrap();
    assert!(db.asset(asset_id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_copy_made_at_any_moment_holds_every_acknowledged_commit() {
    let Fresh { db, dir } = Fresh::open().await;
    for n in 0..20 {
        db.commit(vec![clip(n)], at(0)).await.unwrap();
        if n % 7 != 0 {
            continue;
        }
        // What a crash leaves: the files as they are now.
        let copy = tempfile::TempDir::new().unwrap();
        for file in ["mediahooks.db", "mediahooks.db-wal"] {
            std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
        }
        let verifier = Database::open_read_only(&copy.path().join("mediahooks.db")).unwrap();
        assert_eq!(verifier.unfinished_assets().await.unwrap().len() as u64, n + 1);
        drop(verifier);
        let after = Database::open(&copy.path().join("mediahooks.db"), Options::default()).unwrap();
        assert_eq!(after.unfinished_assets().await.unwrap().len() as u64, n + 1);
    }
}

#[tokio::test]
async fn a_closed_database_reads_but_does_not_write() {
    let fresh = Fresh::open().await;
    let last = tokio::spawn({
        let db = fresh.db.clone();
        async move { db.commit(vec![clip(1)], at(0)).await }
    });
    last.await.unwrap().unwrap();
    fresh.db.close().await.unwrap();
    fresh.db.close().await.unwrap();
    let late = fresh.db.commit(vec![clip(2)], at(0)).await;
    assert!(matches!(late, Err(DatabaseError::Closed)), "{late:?}");
    assert!(matches!(fresh.db.ping().await, Err(DatabaseError::Closed)));
    assert!(fresh.db.asset(asset_id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn only_one_process_at_a_time() {
    let fresh = Fresh::open().await;
    for refused in
        [Database::open(&fresh.path(), Options::default()), Database::open_read_only(&fresh.path())]
    {
        let Err(error) = refused else { panic!("opened twice") };
        assert!(matches!(error, DatabaseError::InUse { .. }), "{error:?}");
        assert!(error.to_string().contains("mediahooks.db"), "{error}");
    }
    let path = fresh.path();
    let Fresh { db, dir: _dir } = fresh;
    drop(db);
    let one = Database::open_read_only(&path).unwrap();
    let two = Database::open_read_only(&path).unwrap();
    assert!(matches!(Database::open(&path, Options::default()), Err(DatabaseError::InUse { .. })));
    assert!(matches!(one.ping().await, Err(DatabaseError::Closed)));
    assert_eq!(two.segment_count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_missing_or_foreign_file_is_named() {
    let dir = tempfile::TempDir::new().unwrap();
    let missing = Database::open_read_only(&dir.path().join("none.db")).unwrap_err();
    assert!(missing.is_transient() && missing.to_string().contains("none.db"), "{missing}");
    let path = dir.path().join("foreign.db");
    std::fs::write(&path, b"this is not a database, but a text of more than a hundred bytes ".repeat(4))
        .unwrap();
    let foreign = Database::open(&path, Options::default()).unwrap_err();
    assert!(matches!(foreign, DatabaseError::Corrupt { .. }), "{foreign:?}");
}

#[tokio::test]
async fn readiness_is_a_durable_write() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let before = db.stats().transactions;
    db.ping().await.unwrap();
    assert_eq!(db.stats().transactions, before + 1);
}
