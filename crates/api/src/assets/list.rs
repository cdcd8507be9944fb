//! Reads the query of the asset list.

use mediahooks_database::{AssetQuery, AssetSort};
use mediahooks_model::{AssetStatus, AssetType, TokenId};

use crate::errors::Result;
use crate::extract::query::Query;

/// Every filter, sort and page, with the documented defaults.
pub(crate) fn read(mut query: Query) -> Result<AssetQuery> {
    let page = query.number(&["page"], 1..=2_147_483_647, 1);
    let limit = query.number(&["limit", "itemsOnPage"], 1..=100, 25);
    let types = query.words(&["type"], |text| text.parse().ok());
    let statuses = query.words(&["status"], |text| text.parse().ok());
    let request = query.word(&["requestId"], |text| text.parse().ok());
    let wanted = AssetQuery {
        types: if types.is_empty() { vec![AssetType::Clip, AssetType::Recording] } else { types },
        statuses: match statuses.is_empty() {
            false => statuses,
            true if request.is_none() => vec![AssetStatus::Processing, AssetStatus::Complete],
            // Who made them wants to know of those that failed, too.
            true => vec![AssetStatus::Processing, AssetStatus::Complete, AssetStatus::Error],
        },
        name: query.one(&["name"]),
        stream_name: query.one(&["streamName"]),
        source_id: query.one(&["sourceId"]),
        // Bare or empty selects the layer with the empty name.
        simulcast_id: query.raw(&["simulcastId"]),
        token: query.one(&["tokenId"]).map(TokenId),
        priority: query.one(&["priority"]),
        request,
        sort: query.word(&["sort", "sortBy"], sort_named).unwrap_or_default(),
        desc: query.one(&["desc", "isDescending"]).unwrap_or(false),
        after: None,
        offset: u64::try_from(page.saturating_sub(1).saturating_mul(limit)).unwrap_or(0),
        limit: u32::try_from(limit).unwrap_or(1),
    };
    query.finish()?;
    Ok(wanted)
}

fn sort_named(text: &str) -> Option<AssetSort> {
    match text.to_ascii_lowercase().as_str() {
        "starttime" => Some(AssetSort::StartTime),
        // The Node client calls it by its own name.
        "stoptime" | "endtime" => Some(AssetSort::StopTime),
        "streamname" => Some(AssetSort::StreamName),
        "tokenid" => Some(AssetSort::TokenId),
        "created" => Some(AssetSort::Created),
        _ => None,
    }
}
