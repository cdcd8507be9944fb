//! Remembers which clips of an open request were deleted, so that none is made again.
//!
//! What always holds: a deletion is noted with the request in the transaction that marks the clip for removal. The note
//! is a member of the request's own JSON and goes with it when the request is over.

use mediahooks_database::{Asset, Change, OpenClipRequest};
use mediahooks_model::{ClipRequestId, TimelineId};
use serde::{Deserialize, Serialize};

use super::choose::{Group, group};
use crate::error::RecorderError;
use crate::state::Shared;

/// The member that holds them.
const MEMBER: &str = "deleted_clips";

/// A clip that was deleted while its request was open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeletedClip {
    source_id: Option<String>,
    simulcast_id: Option<String>,
    /// What it was made of, as timeline and run; empty when nothing of its range was there.
    runs: Vec<(TimelineId, u32)>,
}

impl DeletedClip {
    fn of(asset: &Asset) -> Self {
        Self {
            source_id: asset.source_id.clone(),
            simulcast_id: asset.simulcast_id.clone(),
            runs: asset.recipe.iter().map(|part| (part.timeline, part.run)).collect(),
        }
    }

    fn group(&self) -> Group {
        group(self.source_id.as_deref(), self.simulcast_id.as_deref())
    }

    /// Whether any of these runs was in it.
    pub(super) fn has_any(&self, runs: &[(TimelineId, u32)]) -> bool {
        runs.iter().any(|run| self.runs.contains(run))
    }

    /// Whether it waited for media of which nothing had come.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// The note that `asset` is deleted; `None` when no request will make more clips like it.
pub(crate) async fn note(shared: &Shared, asset: &Asset) -> Result<Option<Change>, RecorderError> {
    let Some(request) = asset.request else { return Ok(None) };
    let Some(open) = shared.database.open_clip_request(request).await? else { return Ok(None) };
    // One that cannot be read makes no clips.
    let Ok(mut json) = serde_json::from_str::<serde_json::Value>(&open.request) else { return Ok(None) };
    let mut clips = read(&json);
    clips.push(DeletedClip::of(asset));
    let Some(members) = json.as_object_mut() else { return Ok(None) };
    members.insert(MEMBER.into(), serde_json::to_value(clips).map_err(|_| RecorderError::Unwritable)?);
    Ok(Some(Change::ChangeClipRequest(OpenClipRequest { id: request, request: json.to_string() })))
}

/// The clips of a group that were deleted since the request was made.
pub(super) async fn of_group(
    shared: &Shared,
    id: ClipRequestId,
    group: &Group,
) -> Result<Vec<DeletedClip>, RecorderError> {
    let open = shared.database.open_clip_request(id).await?;
    let json = open.and_then(|open| serde_json::from_str::<serde_json::Value>(&open.request).ok());
    let mut clips = json.as_ref().map(read).unwrap_or_default();
    clips.retain(|clip| clip.group() == *group);
    Ok(clips)
}

/// The groups of a request that clips were deleted of.
pub(super) fn groups(open: &OpenClipRequest) -> Vec<Group> {
    let json = serde_json::from_str::<serde_json::Value>(&open.request).ok();
    json.as_ref().map(read).unwrap_or_default().iter().map(DeletedClip::group).collect()
}

fn read(request: &serde_json::Value) -> Vec<DeletedClip> {
    let clips = request.get(MEMBER).map(Vec::<DeletedClip>::deserialize);
    clips.and_then(Result::ok).unwrap_or_default()
}
