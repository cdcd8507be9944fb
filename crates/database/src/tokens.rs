//! Publish tokens and the addresses bound to them.

use crate::{Database, DatabaseError, Result, TokenFilter, TokenSort};
use mediahooks_model::{PublishToken, TokenId};
use std::net::IpAddr;

impl Database {
    /// Stores a new token under a number of its own; the `id` it came with is ignored.
    ///
    /// Errors: [`Conflict::Exists`](crate::Conflict::Exists) when another token has the same secret.
    pub async fn create_token(&self, token: PublishToken) -> Result<PublishToken> {
        unimplemented!()
    }

    /// The token of this number.
    pub async fn token(&self, id: TokenId) -> Result<Option<PublishToken>> {
        unimplemented!()
    }

    /// The token that an encoder presents. Looked up by hash, so the time it takes tells nothing
    /// about the secret.
    pub async fn token_by_secret(&self, secret: &str) -> Result<Option<PublishToken>> {
        unimplemented!()
    }

    /// Stores every member of a token that exists.
    ///
    /// Errors: [`DatabaseError::NotFound`]; [`Conflict::Exists`](crate::Conflict::Exists) when
    /// another token has the same secret.
    pub async fn replace_token(&self, token: PublishToken) -> Result<()> {
        unimplemented!()
    }

    /// Removes a token and the addresses bound to it; false when there is none.
    pub async fn delete_token(&self, id: TokenId) -> Result<bool> {
        unimplemented!()
    }

    /// A page of all tokens.
    pub async fn tokens(
        &self,
        sort: TokenSort,
        desc: bool,
        offset: u64,
        limit: u32,
    ) -> Result<Vec<PublishToken>> {
        unimplemented!()
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
        unimplemented!()
    }

    /// Whether `address` is one of the first `max` that used the token; it becomes one while there
    /// is room.
    ///
    /// Errors: [`DatabaseError::NotFound`] when there is no such token.
    pub async fn bind_token_address(&self, id: TokenId, address: IpAddr, max: u32) -> Result<bool> {
        unimplemented!()
    }
}
