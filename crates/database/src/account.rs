//! What there is one of: the account, its API secrets, its expiration rules and the server's keys.

use mediahooks_model::{AccountId, ExpirationRules, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::sql::Sql;
use crate::{Database, DatabaseError, Result};

/// A secret that opens the REST API. The secret itself is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSecret {
    /// Its name; unique.
    pub name: String,
    /// SHA-256 of the secret.
    pub sha256: [u8; 32],
    /// When it was added.
    pub created: Timestamp,
}

/// Counts the expiration of timelines from their creation. The last condition names the index.
pub(crate) const RECOMPUTE: &str = "UPDATE asset SET expiration_us = created_us + ?1
     WHERE asset_type = 'timeline' AND status IN ('processing', 'complete', 'error')
     AND status <> 'deleted'";

impl Database {
    /// The account this server belongs to; `new` becomes it on the first start.
    pub async fn account_or_create(&self, new: AccountId, now: Timestamp) -> Result<AccountId> {
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO account (one, id, created_us) VALUES (1, ?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![new.as_str(), Sql(now)])?;
            account(tx)
        })
        .await
    }

    /// Adds an API secret by its SHA-256.
    ///
    /// Errors: [`Conflict::Exists`](crate::Conflict::Exists) when the name is taken.
    pub async fn add_api_secret(&self, name: String, sha256: [u8; 32], now: Timestamp) -> Result<()> {
        self.write(move |tx| {
            tx.prepare_cached("INSERT INTO api_secret (name, sha256, created_us) VALUES (?1, ?2, ?3)")?
                .execute(params![name, sha256, Sql(now)])?;
            Ok(())
        })
        .await
    }

    /// Every API secret, oldest first.
    pub async fn api_secrets(&self) -> Result<Vec<ApiSecret>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT name, sha256, created_us FROM api_secret ORDER BY created_us, name",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(ApiSecret { name: row.get(0)?, sha256: row.get(1)?, created: row.get::<_, Sql<_>>(2)?.0 })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Removes an API secret; false when there is none of this name.
    pub async fn remove_api_secret(&self, name: String) -> Result<bool> {
        self.write(move |tx| {
            Ok(tx.prepare_cached("DELETE FROM api_secret WHERE name = ?1")?.execute([name])? > 0)
        })
        .await
    }

    /// The server's key for a purpose; `fresh` becomes it when there is none yet.
    pub async fn server_key(&self, name: &str, fresh: [u8; 32]) -> Result<[u8; 32]> {
        let name = name.to_owned();
        self.write(move |tx| {
            tx.prepare_cached(
                "INSERT INTO server_key (name, secret) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![name, fresh])?;
            Ok(tx
                .prepare_cached("SELECT secret FROM server_key WHERE name = ?1")?
                .query_row([name], |row| row.get(0))?)
        })
        .await
    }

    /// How long assets are kept.
    pub async fn expiration_rules(&self) -> Result<ExpirationRules> {
        self.read(|tx| {
            let stored: Option<Sql<serde_json::Value>> = tx
                .prepare_cached("SELECT rules FROM expiration_rules")?
                .query_row([], |row| row.get(0))
                .optional()?;
            let Some(Sql(rules)) = stored else { return Ok(ExpirationRules::default()) };
            serde_json::from_value(rules).map_err(|_| DatabaseError::corrupt("expiration rules"))
        })
        .await
    }

    /// Changes how long assets are kept. Timelines that exist get a new expiration at once, counted
    /// from their creation; recordings and clips keep theirs.
    pub async fn set_expiration_rules(&self, rules: ExpirationRules) -> Result<()> {
        self.write(move |tx| {
            let json = serde_json::json!(rules);
            tx.prepare_cached(
                "INSERT INTO expiration_rules (one, rules) VALUES (1, ?1)
                 ON CONFLICT (one) DO UPDATE SET rules = excluded.rules",
            )?
            .execute([Sql(json)])?;
            let kept_us = i64::try_from(rules.timelines.duration().as_micros()).unwrap_or(i64::MAX);
            tx.prepare_cached(RECOMPUTE)?.execute([kept_us])?;
            Ok(())
        })
        .await
    }
}

/// The account's id, for the bodies of events.
pub(crate) fn account(tx: &Connection) -> Result<AccountId> {
    let id: Option<String> =
        tx.prepare_cached("SELECT id FROM account")?.query_row([], |row| row.get(0)).optional()?;
    let id =
        id.ok_or_else(|| DatabaseError::internal("there is no account yet; the server makes it first"))?;
    id.try_into().map_err(|_| DatabaseError::corrupt("the account's id"))
}
