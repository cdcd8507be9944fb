//! Reading all recipes, a page at a time, for the offline verifier.

use mediahooks_model::MediaAssetId;
use rusqlite::params;

use crate::sql::Sql;
use crate::{Database, RecipePart, Result, assets};

impl Database {
    /// A page of the parts of all recipes, ordered by asset and number, after the one given.
    pub async fn recipe_parts_after(
        &self,
        after: Option<(MediaAssetId, u32)>,
        limit: u32,
    ) -> Result<Vec<(MediaAssetId, u32, RecipePart)>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT asset, part, timeline, run, first_segment, last_segment, start_us, stop_us, late_us FROM recipe
                 WHERE (asset, part) > (?1, ?2) ORDER BY asset, part LIMIT ?3",
            )?;
            // An empty key comes before every id.
            let (asset, part) = match after {
                Some((id, part)) => (id.0.as_bytes().to_vec(), i64::from(part)),
                None => (Vec::new(), -1),
            };
            let rows = statement.query_map(params![asset, part, limit], |row| {
                Ok((row.get::<_, Sql<_>>(0)?.0, row.get(1)?, assets::part(row, 2)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
