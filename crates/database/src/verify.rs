//! Reading everything, in pages: for start-up and for the offline verifier.

use mediahooks_model::{MediaAssetId, TimelineId};
use rusqlite::params;
use uuid::Uuid;

use crate::sql::Sql;
use crate::{ChunkExtent, Database, RecipePart, Result, Segment, assets, timelines};

impl Database {
    /// Whether there is any segment.
    pub async fn has_segments(&self) -> Result<bool> {
        self.read(|tx| Ok(tx.query_row("SELECT EXISTS (SELECT 1 FROM segment)", [], |row| row.get(0))?)).await
    }

    /// What every chunk file has to hold. A file that is not listed holds nothing that is needed.
    pub async fn chunk_extents(&self) -> Result<Vec<ChunkExtent>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT timeline, chunk, max(offset_bytes + len_bytes) FROM segment INDEXED BY segment_by_wall
                 GROUP BY timeline, chunk ORDER BY timeline, chunk",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(ChunkExtent {
                    timeline: row.get::<_, Sql<_>>(0)?.0,
                    chunk: row.get(1)?,
                    end: row.get::<_, Sql<_>>(2)?.0,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many segments are stored.
    pub async fn segment_count(&self) -> Result<u64> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT count(*) FROM segment")?;
            Ok(statement.query_row([], |row| Ok(row.get::<_, Sql<_>>(0)?.0))?)
        })
        .await
    }

    /// A page of all segments, ordered by timeline and sequence, after the one given.
    pub async fn segments_after(&self, after: Option<(TimelineId, u64)>, limit: u32) -> Result<Vec<Segment>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(&format!(
                "SELECT {} FROM segment WHERE (timeline, sequence) > (?1, ?2)
                 ORDER BY timeline, sequence LIMIT ?3",
                timelines::SEGMENT
            ))?;
            // Sequence -1 comes before the first segment of the timeline with the lowest id.
            let (timeline, sequence) = match after {
                Some((timeline, sequence)) => (timeline, i64::try_from(sequence).unwrap_or(i64::MAX)),
                None => (TimelineId(Uuid::nil()), -1),
            };
            let rows =
                statement.query_map(params![Sql(timeline), sequence, limit], timelines::stored_segment)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A page of the parts of all recipes, ordered by asset and number, after the one given.
    pub async fn recipe_parts_after(
        &self,
        after: Option<(MediaAssetId, u32)>,
        limit: u32,
    ) -> Result<Vec<(MediaAssetId, u32, RecipePart)>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(
                "SELECT asset, part, timeline, run, first_segment, last_segment, start_us, stop_us FROM recipe
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
