//! Requests for clips whose range is still being received, kept so that a restart goes on with them.

use mediahooks_model::ClipRequestId;
use rusqlite::{OptionalExtension, params};

use crate::sql::Sql;
use crate::writer::Writing;
use crate::{Database, OpenClipRequest, Result};

impl Database {
    /// Every request that is not over.
    pub async fn open_clip_requests(&self) -> Result<Vec<OpenClipRequest>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT id, request FROM clip_request ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok(OpenClipRequest { id: row.get::<_, Sql<_>>(0)?.0, request: row.get(1)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// What was asked for by a request; `None` when it is over.
    pub async fn open_clip_request(&self, id: ClipRequestId) -> Result<Option<OpenClipRequest>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached("SELECT request FROM clip_request WHERE id = ?1")?;
            let request = statement.query_row([Sql(id)], |row| row.get(0)).optional()?;
            Ok(request.map(|request| OpenClipRequest { id, request }))
        })
        .await
    }
}

pub(crate) fn open(tx: &Writing<'_>, open: &OpenClipRequest) -> Result<()> {
    tx.prepare_cached("INSERT INTO clip_request (id, request) VALUES (?1, ?2)")?
        .execute(params![Sql(open.id), open.request])?;
    Ok(())
}

pub(crate) fn change(tx: &Writing<'_>, open: &OpenClipRequest) -> Result<()> {
    tx.prepare_cached("UPDATE clip_request SET request = ?2 WHERE id = ?1")?
        .execute(params![Sql(open.id), open.request])?;
    Ok(())
}

pub(crate) fn close(tx: &Writing<'_>, id: ClipRequestId) -> Result<()> {
    tx.prepare_cached("DELETE FROM clip_request WHERE id = ?1")?.execute([Sql(id)])?;
    Ok(())
}
