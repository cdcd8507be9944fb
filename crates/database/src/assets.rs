//! Assets as they are read, and the one change to them that is not a step of their life.

use mediahooks_model::{AssetState, AssetStatus, MediaAssetId, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::sql::Sql;
use crate::{Asset, AssetQuery, AssetSort, Conflict, Database, DatabaseError, KeptReply, RecipePart, Result};

/// An asset without its recipe, in the order [`stored`] reads.
pub(crate) const SELECT: &str = "SELECT a.id, a.asset_type, a.status, a.metadata, a.reason, a.marked_us,
     a.feed, a.token, a.stream_name, a.source_id, a.simulcast_id, a.priority, a.start_us, a.stop_us, a.name,
     a.created_us, a.expiration_us, a.media_distribution_id, a.custom_path, a.request, a.gaps, a.cut,
     a.target_format
 FROM asset a";

/// The parts of a recipe, in the order [`part`] reads.
pub(crate) const PARTS: &str = "SELECT timeline, run, first_segment, last_segment, start_us, stop_us, late_us
 FROM recipe WHERE asset = ?1 ORDER BY part";

/// Assets whose time is over, behind the one given.
pub(crate) const EXPIRING: &str =
    "SELECT id FROM asset WHERE status IN ('complete', 'error') AND expiration_us <= ?1
         AND (expiration_us, id) > (coalesce((SELECT expiration_us FROM asset WHERE id = ?2), 0), ?2)
     ORDER BY expiration_us, id LIMIT ?3";

/// Assets marked for removal, behind the one given.
pub(crate) const DELETING: &str = "SELECT id FROM asset WHERE status = 'deleting'
         AND (marked_us, id) > (coalesce((SELECT marked_us FROM asset WHERE id = ?1), 0), ?1)
     ORDER BY marked_us, id LIMIT ?2";

impl Database {
    /// The asset of this id, whatever its state.
    pub async fn asset(&self, id: MediaAssetId) -> Result<Option<Asset>> {
        self.read(move |tx| asset(tx, id)).await
    }

    /// A page of assets; never deleted ones.
    pub async fn assets(&self, query: AssetQuery) -> Result<Vec<Asset>> {
        self.read(move |tx| {
            let (sql, values) = list(&query);
            let mut statement = tx.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), stored)?;
            rows.map(|row| with_recipe(tx, row??)).collect()
        })
        .await
    }

    /// Changes where an asset is published; an absent argument leaves its member as it is.
    ///
    /// Errors: [`DatabaseError::NotFound`], also for one that is deleted;
    /// [`Conflict::CustomPath`].
    pub async fn update_asset_publication(
        &self,
        id: MediaAssetId,
        media_distribution_id: Option<String>,
        custom_path: Option<String>,
    ) -> Result<Asset> {
        self.write(move |tx| {
            check_path_is_free(tx, id, custom_path.as_deref())?;
            let changed = tx
                .prepare_cached(
                    "UPDATE asset SET media_distribution_id = coalesce(?2, media_distribution_id),
                         custom_path = coalesce(?3, custom_path)
                     WHERE id = ?1 AND status <> 'deleted'",
                )?
                .execute(params![Sql(id), media_distribution_id, custom_path])?;
            if changed == 0 {
                return Err(DatabaseError::NotFound);
            }
            asset(tx, id)?.ok_or(DatabaseError::NotFound)
        })
        .await
    }

    /// The reply that was kept for an idempotency key.
    pub async fn kept_reply(&self, key: &str) -> Result<Option<KeptReply>> {
        let key = key.to_owned();
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT key, fingerprint, reply, created_us FROM kept_reply WHERE key = ?1",
            )?;
            let reply = statement.query_row([key], |row| {
                Ok(KeptReply {
                    key: row.get(0)?,
                    fingerprint: row.get(1)?,
                    reply: row.get(2)?,
                    created: row.get::<_, Sql<_>>(3)?.0,
                })
            });
            Ok(reply.optional()?)
        })
        .await
    }

    /// Every asset in `processing`, oldest first: what a start after a crash has to take up again.
    pub async fn unfinished_assets(&self) -> Result<Vec<Asset>> {
        self.read(|tx| {
            let sql = format!("{SELECT} WHERE a.status = 'processing' ORDER BY a.created_us, a.id");
            let mut statement = tx.prepare_cached(&sql)?;
            let rows = statement.query_map([], stored)?;
            rows.map(|row| with_recipe(tx, row??)).collect()
        })
        .await
    }

    /// Assets whose time is over and that nobody has marked for removal yet, longest overdue first: those behind `after`.
    pub async fn expiring_assets(
        &self,
        now: Timestamp,
        after: Option<MediaAssetId>,
        limit: u32,
    ) -> Result<Vec<MediaAssetId>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(EXPIRING)?;
            let values = params![Sql(now), behind(after), limit];
            let rows = statement.query_map(values, |row| Ok(row.get::<_, Sql<_>>(0)?.0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Assets that are marked for removal, longest marked first: those behind `after`.
    pub async fn deleting_assets(
        &self,
        after: Option<MediaAssetId>,
        limit: u32,
    ) -> Result<Vec<MediaAssetId>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(DELETING)?;
            let rows =
                statement.query_map(params![behind(after), limit], |row| Ok(row.get::<_, Sql<_>>(0)?.0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// What is behind a place in a list, or, as an empty key comes before every id, all of it.
fn behind(after: Option<MediaAssetId>) -> Vec<u8> {
    after.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default()
}

/// The asset of this id, with its recipe.
pub(crate) fn asset(tx: &Connection, id: MediaAssetId) -> Result<Option<Asset>> {
    let mut statement = tx.prepare_cached(&format!("{SELECT} WHERE a.id = ?1"))?;
    let found = statement.query_row([Sql(id)], stored).optional()?.transpose()?;
    found.map(|asset| with_recipe(tx, asset)).transpose()
}

/// Fills in the recipe of an asset.
fn with_recipe(tx: &Connection, mut asset: Asset) -> Result<Asset> {
    let mut statement = tx.prepare_cached(PARTS)?;
    let parts = statement.query_map([Sql(asset.id)], |row| part(row, 0))?;
    asset.recipe = parts.collect::<Result<_, _>>()?;
    Ok(asset)
}

/// Refuses a custom path that another asset has.
pub(crate) fn check_path_is_free(tx: &Connection, id: MediaAssetId, path: Option<&str>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let taken = tx
        .prepare_cached("SELECT 1 FROM asset WHERE custom_path = ?1 AND id <> ?2")?
        .exists(params![path, Sql(id)])?;
    if taken { Err(Conflict::CustomPath.into()) } else { Ok(()) }
}

/// Reads a row of [`SELECT`].
pub(crate) fn stored(row: &Row<'_>) -> rusqlite::Result<Result<Asset>> {
    let Sql(id) = row.get(0)?;
    let state = match state(row)? {
        Some(state) => state,
        None => return Ok(Err(DatabaseError::corrupt(format!("state of asset {id}")))),
    };
    Ok(Ok(Asset {
        id,
        asset_type: row.get::<_, Sql<_>>(1)?.0,
        state,
        feed: row.get::<_, Sql<_>>(6)?.0,
        token: optional(row, 7)?,
        stream_name: row.get::<_, Sql<_>>(8)?.0,
        source_id: row.get(9)?,
        simulcast_id: row.get(10)?,
        priority: row.get(11)?,
        start_time: row.get::<_, Sql<_>>(12)?.0,
        stop_time: optional(row, 13)?,
        name: row.get(14)?,
        created: row.get::<_, Sql<_>>(15)?.0,
        expiration: optional(row, 16)?,
        media_distribution_id: row.get(17)?,
        custom_path: row.get(18)?,
        request: optional(row, 19)?,
        gaps: row.get::<_, Sql<_>>(20)?.0,
        cut: row.get::<_, Sql<_>>(21)?.0,
        target_format: optional(row, 22)?,
        recipe: Vec::new(),
    }))
}

/// Reads a part of a recipe whose first column is at `at`.
pub(crate) fn part(row: &Row<'_>, at: usize) -> rusqlite::Result<RecipePart> {
    Ok(RecipePart {
        timeline: row.get::<_, Sql<_>>(at)?.0,
        run: row.get(at + 1)?,
        first: row.get::<_, Sql<_>>(at + 2)?.0,
        last: optional(row, at + 3)?,
        start_us: row.get(at + 4)?,
        stop_us: row.get(at + 5)?,
        late_us: row.get(at + 6)?,
    })
}

/// Absent when a column is missing that the status promises.
fn state(row: &Row<'_>) -> rusqlite::Result<Option<AssetState>> {
    let Sql(status) = row.get(2)?;
    Ok(match status {
        AssetStatus::Processing => Some(AssetState::Processing),
        AssetStatus::Complete => row
            .get::<_, Option<String>>(3)?
            .and_then(|json| serde_json::from_str(&json).ok())
            .map(|metadata| AssetState::Complete { metadata }),
        AssetStatus::Error => row.get::<_, Option<_>>(4)?.map(|reason| AssetState::Error { reason }),
        AssetStatus::Deleting => optional(row, 5)?.map(|at| AssetState::Deleting { at }),
        AssetStatus::Deleted => optional(row, 5)?.map(|at| AssetState::Deleted { at }),
    })
}

fn optional<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    Sql<T>: rusqlite::types::FromSql,
{
    Ok(row.get::<_, Option<Sql<T>>>(column)?.map(|value| value.0))
}

/// The statement for a query, and the values of its parameters. Words of which there are a few are part of the statement:
/// only so can an index be used that holds nothing else.
pub(crate) fn list(query: &AssetQuery) -> (String, Vec<Value>) {
    let mut conditions = vec!["a.status <> 'deleted'".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut one_of = |column: &str, words: Vec<&str>| match words.as_slice() {
        [] => {}
        [word] => conditions.push(format!("{column} = '{word}'")),
        words => conditions.push(format!("{column} IN ('{}')", words.join("', '"))),
    };
    one_of("a.asset_type", query.types.iter().map(|word| word.as_str()).collect());
    one_of("a.status", query.statuses.iter().map(|word| word.as_str()).collect());
    let mut any_of = |column: &str, wanted: Vec<Value>| {
        if !wanted.is_empty() {
            conditions.push(format!("{column} IN ({})", vec!["?"; wanted.len()].join(", ")));
            values.extend(wanted);
        }
    };
    let text = |text: &String| Value::from(text.clone());
    any_of("a.name", query.name.iter().map(text).collect());
    any_of("a.stream_name", query.stream_name.iter().map(text).collect());
    any_of("a.source_id", query.source_id.iter().map(text).collect());
    any_of("a.simulcast_id", query.simulcast_id.iter().map(text).collect());
    any_of("a.token", query.token.iter().map(|token| Value::from(token.0)).collect());
    any_of("a.priority", query.priority.iter().map(|rank| Value::from(i64::from(*rank))).collect());
    any_of("a.request", query.request.iter().map(|id| Value::from(id.0.as_bytes().to_vec())).collect());
    if let Some((start, id)) = query.after {
        let behind = if query.desc { "<" } else { ">" };
        conditions.push(format!("(a.start_us, a.id) {behind} (?, ?)"));
        values.extend([Value::from(start.as_micros()), Value::from(id.0.as_bytes().to_vec())]);
    }
    let column = match query.sort {
        AssetSort::StartTime => "a.start_us",
        AssetSort::StopTime => "a.stop_us",
        AssetSort::StreamName => "a.stream_name",
        AssetSort::TokenId => "a.token",
        AssetSort::Created => "a.created_us",
    };
    // What has not stopped yet stops last.
    let direction = match (query.desc, query.sort) {
        (false, AssetSort::StopTime | AssetSort::TokenId) => "ASC NULLS LAST",
        (true, AssetSort::StopTime | AssetSort::TokenId) => "DESC NULLS FIRST",
        (false, _) => "ASC",
        (true, _) => "DESC",
    };
    let tie = if query.desc { "DESC" } else { "ASC" };
    let sql = format!(
        "{SELECT} WHERE {} ORDER BY {column} {direction}, a.id {tie} LIMIT ? OFFSET ?",
        conditions.join(" AND ")
    );
    values.push(Value::from(i64::from(query.limit)));
    values.push(Value::from(i64::try_from(query.offset).unwrap_or(i64::MAX)));
    (sql, values)
}
