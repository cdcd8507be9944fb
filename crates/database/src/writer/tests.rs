//! Operations that fail, wait or are interrupted.

use std::sync::mpsc as std_mpsc;

use mediahooks_model::{DeliveryId, WebhookId};

use super::*;
use crate::queue::{After, Lease};

fn table() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    crate::schema::migrate(&mut connection).unwrap();
    connection.execute_batch("CREATE TABLE t (n BIGINT PRIMARY KEY)").unwrap();
    connection
}

fn settings() -> WriterSettings {
    WriterSettings {
        queue: 16,
        first_attempt_after: Duration::ZERO,
        patience: Duration::ZERO,
        patient: PatientRate::default(),
        inline: None,
        places: Arc::default(),
    }
}

fn writer(connection: Connection) -> Arc<Writer> {
    Arc::new(Writer::start(connection, settings()).unwrap())
}

fn insert(n: i64) -> impl FnOnce(&Writing<'_>) -> Result<()> + Send {
    move |tx| Ok(tx.execute("INSERT INTO t (n) VALUES (?1)", [n]).map(drop)?)
}

async fn stored(writer: &Writer) -> Vec<i64> {
    let read = |tx: &Writing<'_>| {
        let mut statement = tx.prepare("SELECT n FROM t ORDER BY n")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    writer.run(read).await.unwrap()
}

/// Holds the writer up until `queue` is done queueing, so that all of it shares a transaction.
async fn in_one_batch(writer: &Arc<Writer>, queue: Vec<Boxed>) -> Vec<Result<()>> {
    let (release, held) = std_mpsc::channel::<()>();
    let hold: Boxed = Box::new(move |_| {
        held.recv().unwrap();
        Ok(())
    });
    let work = std::iter::once(hold).chain(queue);
    let mut operations: Vec<_> = work.map(|work| Box::pin(writer.run(work))).collect();
    for operation in &mut operations {
        start(operation.as_mut()).await;
    }
    release.send(()).unwrap();
    let mut outcomes = Vec::new();
    for operation in operations.into_iter().skip(1) {
        outcomes.push(operation.await);
    }
    outcomes
}

/// The first poll of an operation puts it in the queue.
async fn start<T>(mut operation: std::pin::Pin<&mut impl Future<Output = T>>) {
    std::future::poll_fn(|context| {
        assert!(operation.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
}

type Boxed = Box<dyn FnOnce(&Writing<'_>) -> Result<()> + Send>;

#[tokio::test]
async fn a_panic_is_undone_told_and_survived() {
    let writer = writer(table());
    let outcomes = in_one_batch(
        &writer,
        vec![
            Box::new(insert(1)),
            Box::new(|tx| {
                insert(2)(tx)?;
                panic!("on purpose")
            }),
            Box::new(insert(3)),
        ],
    )
    .await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    let Err(DatabaseError::Internal { what }) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert!(what.contains("on purpose"), "{what}");
    assert_eq!(stored(&writer).await, [1, 3]);
}

#[tokio::test]
async fn when_the_transaction_is_lost_everyone_in_it_is_told() {
    let writer = writer(table());
    // Ends the transaction as a full disk does.
    let full: Boxed = Box::new(|tx| {
        tx.execute_batch("ROLLBACK")?;
        Err(DatabaseError::NotFound)
    });
    let outcomes = in_one_batch(&writer, vec![Box::new(insert(1)), full, Box::new(insert(2))]).await;
    assert!(matches!(outcomes[0], Err(DatabaseError::Unavailable { .. })), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(DatabaseError::NotFound)), "{outcomes:?}");
    assert!(matches!(outcomes[2], Err(DatabaseError::Unavailable { .. })), "{outcomes:?}");
    assert_eq!(stored(&writer).await, Vec::<i64>::new());
    writer.run(insert(4)).await.unwrap();
    assert_eq!(stored(&writer).await, [4]);
}

#[tokio::test]
async fn kept_webhooks_are_those_that_are_stored() {
    let writer = writer(table());
    let add = |tx: &Writing<'_>| {
        tx.execute(
            "INSERT INTO webhook (url, secret, subscriptions, disabled)
             VALUES ('', '', '{\"isFeedHooks\":true}', 0)",
            [],
        )?;
        tx.webhook_changed(WebhookId(tx.last_insert_rowid()));
        Ok(tx.webhooks()?.len())
    };
    let kept = async || writer.run(|tx| Ok(tx.webhooks()?.len())).await.unwrap();
    assert_eq!(kept().await, 0);
    assert_eq!(writer.run(add).await.unwrap(), 1);
    let undone: Result<usize> = writer
        .run(move |tx| {
            assert_eq!(add(tx)?, 2);
            Err(DatabaseError::NotFound)
        })
        .await;
    assert!(matches!(undone, Err(DatabaseError::NotFound)));
    assert_eq!(kept().await, 1);
    let lost: Boxed = Box::new(move |tx| {
        assert_eq!(add(tx)?, 2);
        Ok(())
    });
    let end: Boxed = Box::new(|tx| Ok(tx.execute_batch("ROLLBACK")?));
    in_one_batch(&writer, vec![lost, end]).await;
    assert_eq!(kept().await, 1);
}

#[tokio::test]
async fn what_was_claimed_in_a_lost_transaction_can_be_claimed_again() {
    let writer = writer(table());
    let lease = |tx: &Writing<'_>| {
        let webhook = WebhookId(1);
        tx.queue().look(webhook, Timestamp::EPOCH);
        tx.queue().advance(Timestamp::EPOCH);
        assert!(tx.queue().next_turn().is_some());
        let lease = Lease { owner: "me".into(), webhook, until: Timestamp::from_millis(1), over: false };
        tx.queue().set(DeliveryId(1), Some(lease));
        tx.queue().put_back(webhook, After::Nothing, Timestamp::EPOCH);
        Ok(())
    };
    let leased = async || writer.run(|tx| Ok(tx.queue().is_leased(DeliveryId(1)))).await.unwrap();
    let failed: Boxed = Box::new(move |tx| lease(tx).and(Err(DatabaseError::NotFound)));
    in_one_batch(&writer, vec![failed]).await;
    assert!(!leased().await && writer.queue().next() == Some(Timestamp::EPOCH));
    let end: Boxed = Box::new(|tx| Ok(tx.execute_batch("ROLLBACK")?));
    in_one_batch(&writer, vec![Box::new(lease), end]).await;
    assert!(!leased().await && writer.queue().next() == Some(Timestamp::EPOCH));
    writer.run(lease).await.unwrap();
    assert!(leased().await);
}

#[tokio::test]
async fn patient_operations_share_a_transaction_until_somebody_cannot_wait() {
    let patient = PatientRate::high();
    let settings = WriterSettings { patience: Duration::from_secs(3600), patient, ..settings() };
    let writer = Writer::start(table(), settings).unwrap();
    let mut first = Box::pin(writer.run_patiently(insert(1)));
    let mut second = Box::pin(writer.run_patiently(insert(2)));
    start(first.as_mut()).await;
    start(second.as_mut()).await;
    writer.run(insert(3)).await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(writer.stats().transactions, 1);
    assert_eq!(stored(&writer).await, [1, 2, 3]);
    // Closing waits for nobody either.
    let mut last = Box::pin(writer.run_patiently(insert(4)));
    start(last.as_mut()).await;
    writer.close().await.unwrap();
    last.await.unwrap();
}

#[tokio::test]
async fn nobody_is_patient_alone() {
    let settings = WriterSettings { patience: Duration::from_secs(3600), ..settings() };
    let writer = Writer::start(table(), settings).unwrap();
    writer.run_patiently(insert(1)).await.unwrap();
    assert_eq!(stored(&writer).await, [1]);
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_a_retry_can_cure() {
    let connection = table();
    connection.execute_batch("CREATE TABLE big (b BLOB); PRAGMA max_page_count = 200;").unwrap();
    let writer = writer(connection);
    let fill =
        |tx: &Writing<'_>| Ok(tx.execute("INSERT INTO big VALUES (zeroblob(1000000))", []).map(drop)?);
    let full = writer.run(fill).await.unwrap_err();
    assert!(full.is_transient(), "{full:?}");
    writer.run(insert(1)).await.unwrap();
    assert_eq!(stored(&writer).await, [1]);
}

#[tokio::test]
async fn closing_carries_out_what_is_queued() {
    let writer = writer(table());
    let (release, held) = std_mpsc::channel::<()>();
    let mut hold = Box::pin(writer.run(move |_| {
        held.recv().unwrap();
        Ok(())
    }));
    let mut work = Box::pin(writer.run(insert(1)));
    let mut close = Box::pin(writer.close());
    start(hold.as_mut()).await;
    start(work.as_mut()).await;
    start(close.as_mut()).await;
    release.send(()).unwrap();
    close.await.unwrap();
    hold.await.unwrap();
    work.await.unwrap();
    assert!(matches!(writer.run(insert(2)).await, Err(DatabaseError::Closed)));
}
