//! Publish tokens and the addresses bound to them.

use std::net::IpAddr;

use mediahooks_model::{PublishToken, TokenId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use crate::sql::Sql;
use crate::{Database, DatabaseError, Result, TokenFilter, TokenSort};

impl Database {
    /// Stores a new token under a number of its own; the `id` it came with is ignored.
    ///
    /// Errors: [`Conflict::Exists`](crate::Conflict::Exists) when another token has the same secret.
    pub async fn create_token(&self, mut token: PublishToken) -> Result<PublishToken> {
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO token (secret_sha256, label, added_us, token) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                digest(&token.token),
                token.label,
                Sql(token.added_on),
                Sql(json(&token)?)
            ])?;
            token.id = TokenId(tx.last_insert_rowid());
            store_streams(tx, &token)?;
            Ok(token)
        })
        .await
    }

    /// The token of this number.
    pub async fn token(&self, id: TokenId) -> Result<Option<PublishToken>> {
        self.read(move |tx| {
            let mut statement = tx.prepare_cached("SELECT id, token FROM token WHERE id = ?1")?;
            statement.query_row([Sql(id)], stored).optional()?.transpose()
        })
        .await
    }

    /// The token that an encoder presents. Looked up by hash, so the time it takes tells nothing
    /// about the secret.
    pub async fn token_by_secret(&self, secret: &str) -> Result<Option<PublishToken>> {
        let digest = digest(secret);
        self.read(move |tx| {
            let mut statement = tx.prepare_cached("SELECT id, token FROM token WHERE secret_sha256 = ?1")?;
            statement.query_row([digest], stored).optional()?.transpose()
        })
        .await
    }

    /// Stores every member of a token that exists.
    ///
    /// Errors: [`DatabaseError::NotFound`]; [`Conflict::Exists`](crate::Conflict::Exists) when
    /// another token has the same secret.
    pub async fn replace_token(&self, token: PublishToken) -> Result<()> {
        self.write(move |tx| {
            let changed = tx
                .prepare_cached(
                    "UPDATE token SET secret_sha256 = ?2, label = ?3, added_us = ?4, token = ?5 WHERE id = ?1",
                )?
                .execute(params![
                    Sql(token.id),
                    digest(&token.token),
                    token.label,
                    Sql(token.added_on),
                    Sql(json(&token)?)
                ])?;
            if changed == 0 {
                return Err(DatabaseError::NotFound);
            }
            tx.prepare_cached("DELETE FROM token_stream WHERE token = ?1")?.execute([Sql(token.id)])?;
            store_streams(tx, &token)
        })
        .await
    }

    /// Removes a token and the addresses bound to it; false when there is none.
    pub async fn delete_token(&self, id: TokenId) -> Result<bool> {
        self.write(
            move |tx| Ok(tx.prepare_cached("DELETE FROM token WHERE id = ?1")?.execute([Sql(id)])? > 0),
        )
        .await
    }

    /// A page of all tokens.
    pub async fn tokens(
        &self,
        sort: TokenSort,
        desc: bool,
        offset: u64,
        limit: u32,
    ) -> Result<Vec<PublishToken>> {
        self.tokens_by_name("", TokenFilter::None, sort, desc, offset, limit).await
    }

    /// A page of the tokens with exactly this label, or that allow exactly this stream name.
    /// Patterns are not matched against the name.
    pub async fn tokens_by_name(
        &self,
        name: &str,
        filter: TokenFilter,
        sort: TokenSort,
        desc: bool,
        offset: u64,
        limit: u32,
    ) -> Result<Vec<PublishToken>> {
        const BY_STREAM: &str = "id IN (SELECT token FROM token_stream WHERE stream_name = ?1)";
        let condition = match filter {
            // Keeps the parameter in the statement.
            TokenFilter::None => "?1 IS NOT NULL".to_owned(),
            TokenFilter::TokenName => "label = ?1".to_owned(),
            TokenFilter::StreamName => BY_STREAM.to_owned(),
            TokenFilter::TokenOrStreamName => format!("(label = ?1 OR {BY_STREAM})"),
        };
        let column = match sort {
            TokenSort::Name => "label",
            TokenSort::AddedOn => "added_us",
        };
        let direction = if desc { "DESC" } else { "ASC" };
        let sql = format!(
            "SELECT id, token FROM token WHERE {condition}
             ORDER BY {column} {direction}, id {direction} LIMIT ?2 OFFSET ?3"
        );
        let name = name.to_owned();
        self.read(move |tx| {
            let mut statement = tx.prepare_cached(&sql)?;
            let rows = statement.query_map(params![name, limit, Sql(offset)], stored)?;
            rows.map(|row| row?).collect()
        })
        .await
    }

    /// Whether `address` is one of the first `max` that used the token; it becomes one while there
    /// is room.
    ///
    /// Errors: [`DatabaseError::NotFound`] when there is no such token.
    pub async fn bind_token_address(&self, id: TokenId, address: IpAddr, max: u32) -> Result<bool> {
        // A dual-stack socket shows an IPv4 publisher as a mapped IPv6 address.
        let address = address.to_canonical();
        self.write(move |tx| {
            let (bound, count): (bool, u32) = tx
                .prepare_cached(
                    "SELECT count(CASE WHEN address = ?2 THEN 1 END), count(*) FROM token_address WHERE token = ?1",
                )?
                .query_row(params![Sql(id), Sql(address)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if bound || count >= max {
                return Ok(bound);
            }
            tx.prepare_cached("INSERT INTO token_address (token, address) VALUES (?1, ?2)")?
                .execute(params![Sql(id), Sql(address)])?;
            Ok(true)
        })
        .await
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn json(token: &PublishToken) -> Result<serde_json::Value> {
    serde_json::to_value(token).map_err(|_| DatabaseError::internal("a token cannot be written as JSON"))
}

/// The number in its own column counts: the JSON was written before the number was known.
fn stored(row: &Row<'_>) -> rusqlite::Result<Result<PublishToken>> {
    let Sql(id) = row.get(0)?;
    let json: String = row.get(1)?;
    Ok(serde_json::from_str(&json)
        .map(|token| PublishToken { id, ..token })
        .map_err(|_| DatabaseError::corrupt(format!("publish token {id}"))))
}

fn store_streams(tx: &Connection, token: &PublishToken) -> Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO token_stream (token, stream_name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    for rule in token.streams.iter().filter(|rule| !rule.is_regex) {
        insert.execute(params![Sql(token.id), rule.stream_name])?;
    }
    Ok(())
}
