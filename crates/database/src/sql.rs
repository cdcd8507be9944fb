//! How the domain's values are stored: uuids as 16 bytes, moments as microseconds, unsigned
//! numbers as signed 64 bits, structures as JSON text. Nothing that only one engine has.

use std::net::IpAddr;

use mediahooks_model::{
    AssetStatus, AssetType, ClipRequestId, CutMode, DeliveryId, EventId, FeedId, GapMode, MediaAssetId,
    StreamName, TargetFormat, TimelineId, Timestamp, TokenId, WebhookId,
};
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde_json::Value;
use uuid::Uuid;

/// A value of the domain in a statement or a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql<T>(pub T);

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> FromSqlError {
    FromSqlError::Other(Box::new(error))
}

macro_rules! stored {
    ($($type:ty: |$value:ident| $store:expr, |$column:ident| $load:expr;)*) => {$(
        impl ToSql for Sql<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                let $value = &self.0;
                Ok(ToSqlOutput::from($store))
            }
        }
        impl FromSql for Sql<$type> {
            fn column_result($column: ValueRef<'_>) -> FromSqlResult<Self> {
                $load.map(Sql)
            }
        }
    )*};
}

stored! {
    Timestamp: |at| at.as_micros(), |column| column.as_i64().map(Timestamp::from_micros);
    TokenId: |id| id.0, |column| column.as_i64().map(TokenId);
    WebhookId: |id| id.0, |column| column.as_i64().map(WebhookId);
    DeliveryId: |id| id.0, |column| column.as_i64().map(DeliveryId);
    FeedId: |id| id.0.as_bytes().as_slice(), |column| uuid(column).map(FeedId);
    MediaAssetId: |id| id.0.as_bytes().as_slice(), |column| uuid(column).map(MediaAssetId);
    TimelineId: |id| id.0.as_bytes().as_slice(), |column| uuid(column).map(TimelineId);
    ClipRequestId: |id| id.0.as_bytes().as_slice(), |column| uuid(column).map(ClipRequestId);
    EventId: |id| id.0.as_bytes().as_slice(), |column| uuid(column).map(EventId);
    StreamName: |name| name.as_str(), |column| column.as_str().and_then(|text| text.parse().map_err(unreadable));
    IpAddr: |address| address.to_string(), |column| column.as_str().and_then(|text| text.parse().map_err(unreadable));
    AssetType: |word| word.as_str(), |column| column.as_str().and_then(|text| text.parse().map_err(unreadable));
    AssetStatus: |word| word.as_str(), |column| column.as_str().and_then(|text| text.parse().map_err(unreadable));
    GapMode: |word| word.as_str(), |column| column.as_str().and_then(|text| text.parse().map_err(unreadable));
    CutMode: |word| word.as_str(), |column| column.as_str().and_then(|text| text.parse().map_err(unreadable));
    TargetFormat: |word| word.as_str(), |column| column.as_str().and_then(|text| text.parse().map_err(unreadable));
    u64: |number| i64::try_from(*number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?,
        |column| column.as_i64().and_then(|number| u64::try_from(number).map_err(|_| FromSqlError::OutOfRange(number)));
    Value: |json| json.to_string(),
        |column| column.as_str().and_then(|text| serde_json::from_str(text).map_err(unreadable));
}

fn uuid(column: ValueRef<'_>) -> FromSqlResult<Uuid> {
    Uuid::from_slice(column.as_blob()?).map_err(unreadable)
}
