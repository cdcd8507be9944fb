//! Checks how the engine carries out the statements that run all the time, or over tables that
//! grow: by an index, never by reading the table.

use mediahooks_model::{AssetStatus, AssetType};
use rusqlite::Connection;

use crate::{
    AssetQuery, AssetSort, account, assets, cover, deliveries, events, log, outbox, prune, removal, replay,
    schema, segments, telemetry, timelines, webhooks,
};

/// Read in order and only as far as wanted: partial indexes that hold nothing else, and the
/// intermediate result of a statement.
const GOOD_SCANS: [&str; 8] = [
    "SCAN CONSTANT ROW",
    "INDEX asset_deleting",
    "INDEX asset_timeline",
    "INDEX delivery_unsettled",
    "INDEX feed_live",
    "INDEX replay_running",
    "INDEX timeline_to_sweep",
    "SCAN owed",
];

fn check(hot: &[&str], allowed: &str) {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::configure(&connection).unwrap();
    schema::migrate(&mut connection).unwrap();
    for sql in hot {
        let plan = plan(&connection, sql);
        let slow = |line: &&String| {
            let scan = line.contains("SCAN") && !GOOD_SCANS.iter().any(|good| line.contains(good));
            scan || (line.contains("TEMP B-TREE") && line.as_str() != allowed)
        };
        assert_eq!(plan.iter().find(slow), None, "{sql}\n{plan:#?}");
    }
}

/// The lines of the engine's plan.
fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let parameters = vec![rusqlite::types::Null; statement.parameter_count()];
    let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn nothing_hot_reads_a_whole_table_or_sorts_it() {
    check(
        &[
            deliveries::PENDING,
            deliveries::OVERDUE,
            deliveries::OWED,
            deliveries::TAKE,
            log::OF_WEBHOOK,
            log::OF_ALL,
            log::FIRST_SINCE,
            log::HEAD,
            deliveries::PROMOTE,
            timelines::SHOWN_UNTIL,
            deliveries::RECORD,
            webhooks::FORGET,
            webhooks::MAKE_DUE,
            webhooks::REMOVED_BUT_OWED,
            outbox::BEHIND,
            events::BEHIND,
            replay::NEXT,
            replay::GIVEN_UP,
            replay::TALLY,
            replay::RUNNING,
            events::YOUNG,
            assets::PARTS,
            assets::EXPIRING,
            assets::DELETING,
            removal::FREED,
            removal::TO_SWEEP,
            cover::CLASS,
            cover::BEGINS_BEFORE,
            cover::ENDS_AFTER,
            cover::BEGINS_AFTER,
            cover::ENDS_BEFORE,
            account::RECOMPUTE,
            telemetry::LIVE,
        ],
        "",
    );
}

#[test]
fn the_log_of_a_subject_is_found_by_an_index() {
    // It has a few lines.
    check(&[log::OF_SUBJECT], "USE TEMP B-TREE FOR ORDER BY");
}

/// A stream, and a feed, may have very many clips.
#[test]
fn timelines_are_found_in_an_index_without_clips() {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::configure(&connection).unwrap();
    schema::migrate(&mut connection).unwrap();
    // As `absence` of the recorder asks.
    let listed = AssetQuery {
        types: vec![AssetType::Timeline],
        statuses: vec![AssetStatus::Processing, AssetStatus::Complete],
        stream_name: Some("stage".into()),
        sort: AssetSort::StartTime,
        desc: true,
        ..AssetQuery::default()
    };
    for (sql, index) in [
        (timelines::clippable(), "INDEX asset_clippable"),
        (assets::list(&listed).0, "INDEX asset_clippable"),
        (timelines::SHOWN_UNTIL.to_owned(), "INDEX asset_growing"),
    ] {
        let plan = plan(&connection, &sql);
        assert!(plan.iter().any(|line| line.contains(index)), "{sql}\n{plan:#?}");
        assert!(!plan.iter().any(|line| line.contains("SCAN") || line.contains("TEMP B-TREE")), "{plan:#?}");
    }
}

#[test]
fn pruning_finds_what_is_old_by_an_index() {
    check(&prune::RULES.map(|rule| rule.find), "");
    check(&prune::RULES.map(|rule| rule.remove), "");
}

#[test]
fn segments_are_found_by_an_index() {
    check(&segments::HOT, "");
}

#[test]
fn the_wall_clock_finds_segments_by_an_index() {
    // The few pages that were found are put in order of sequence.
    check(&[segments::BY_WALL], "USE TEMP B-TREE FOR ORDER BY");
}

#[test]
fn the_queue_is_counted_from_indexes_alone() {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    for sql in [telemetry::WAITING, telemetry::PENDING] {
        let plan = plan(&connection, sql);
        assert!(plan.len() == 1 && plan[0].contains("USING COVERING INDEX"), "{sql}\n{plan:#?}");
    }
}
