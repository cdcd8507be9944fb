//! The steps of an asset's life, as they are stored.
//!
//! What always holds: a recipe never names a segment that is not stored. Planning reads a snapshot,
//! and by the time its plan arrives here the media may have expired.

use mediahooks_model::event::{MediaFacts, event_time, media_event};
use mediahooks_model::{AssetInput, AssetState, AssetType, MediaAssetId, MediaEvent, Timestamp};
use rusqlite::params;

use crate::account::account;
use crate::cover::size_class;
use crate::sql::Sql;
use crate::writer::Writing;
use crate::{
    Asset, AssetChange, Conflict, DatabaseError, RecipePart, Result, assets, outbox, removal, segments,
};

/// Stores a new asset with its first event, if its type has any.
pub(crate) fn create(tx: &Writing<'_>, mut asset: Asset, now: Timestamp) -> Result<Asset> {
    let step = AssetState::created(asset.asset_type);
    asset.state = step.next;
    let time = step.event.map(|_| event_time(now, None));
    assets::check_path_is_free(tx, asset.id, asset.custom_path.as_deref())?;
    tx.prepare_cached(
        "INSERT INTO asset (id, asset_type, status, feed, token, stream_name, source_id, simulcast_id, priority,
             start_us, stop_us, name, created_us, expiration_us, media_distribution_id, custom_path, request,
             gaps, cut, target_format, last_event_us, event_count)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
             ?22)",
    )?
    .execute(params![
        Sql(asset.id),
        Sql(asset.asset_type),
        Sql(asset.state.status()),
        Sql(asset.feed),
        asset.token.map(Sql),
        Sql(asset.stream_name.clone()),
        asset.source_id,
        asset.simulcast_id,
        asset.priority,
        Sql(asset.start_time),
        asset.stop_time.map(Sql),
        asset.name,
        Sql(asset.created),
        asset.expiration.map(Sql),
        asset.media_distribution_id,
        asset.custom_path,
        asset.request.map(Sql),
        Sql(asset.gaps),
        Sql(asset.cut),
        asset.target_format.map(Sql),
        time.map(Sql),
        i64::from(time.is_some()),
    ])?;
    put_recipe(tx, &asset, &asset.recipe)?;
    if let (Some(event), Some(time)) = (step.event, time) {
        tell_asset(tx, event, &asset, (time, 1), now)?;
    }
    Ok(asset)
}

/// Moves an asset, and stores what changes beside its state and the event of the step.
pub(crate) fn step(tx: &Writing<'_>, change: AssetChange, now: Timestamp) -> Result<Asset> {
    if change.input == AssetInput::Remove {
        // Only `remove_asset` can say which bytes are free afterwards.
        return Err(DatabaseError::internal("an asset is removed by `remove_asset`, not by a step"));
    }
    let mut asset = assets::asset(tx, change.id)?.ok_or(DatabaseError::NotFound)?;
    let step = asset.state.step(asset.asset_type, change.input, now)?;
    asset.state = step.next;
    asset.stop_time = change.stop_time.or(asset.stop_time);
    asset.expiration = change.expiration.or(asset.expiration);
    if let Some(recipe) = change.recipe {
        tx.prepare_cached("DELETE FROM recipe WHERE asset = ?1")?.execute([Sql(asset.id)])?;
        put_recipe(tx, &asset, &recipe)?;
        removal::let_go(tx, &asset.recipe, &recipe)?;
        asset.recipe = recipe;
    }
    if let AssetState::Error { .. } = asset.state {
        close_recipe(tx, &mut asset)?;
    }
    store_state(tx, &asset)?;
    if let Some(event) = step.event {
        let (last, Sql(count)): (Option<Sql<Timestamp>>, Sql<u64>) = tx
            .prepare_cached("SELECT last_event_us, event_count FROM asset WHERE id = ?1")?
            .query_row([Sql(asset.id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (time, seq) = (event_time(now, last.map(|last| last.0)), count + 1);
        tx.prepare_cached("UPDATE asset SET last_event_us = ?2, event_count = ?3 WHERE id = ?1")?
            .execute(params![Sql(asset.id), Sql(time), Sql(seq)])?;
        tell_asset(tx, event, &asset, (time, seq), now)?;
    }
    Ok(asset)
}

/// Stores until when an asset that grows has shown its last picture.
pub(crate) fn hold(tx: &Writing<'_>, id: MediaAssetId, until_us: i64) -> Result<()> {
    tx.prepare_cached("UPDATE recipe SET stop_us = ?2 WHERE asset = ?1 AND last_segment IS NULL")?
        .execute(params![Sql(id), until_us])?;
    Ok(())
}

/// Ends what an asset that failed holds on to: an open recipe would keep all that is still to come.
fn close_recipe(tx: &Writing<'_>, asset: &mut Asset) -> Result<()> {
    for part in asset.recipe.iter_mut().filter(|part| part.last.is_none()) {
        let newest = segments::of(tx, part.timeline).newest_sequence()?;
        part.last = Some(newest.unwrap_or(0).max(part.first));
        tx.prepare_cached(
            "UPDATE recipe SET last_segment = ?3, size_class = ?5 WHERE asset = ?1 AND timeline = ?2
                 AND last_segment IS NULL AND first_segment = ?4",
        )?
        .execute(params![
            Sql(asset.id),
            Sql(part.timeline),
            part.last.map(Sql),
            Sql(part.first),
            size_class(part.first, part.last)
        ])?;
    }
    Ok(())
}

/// Stores what a step may change beside the recipe.
fn store_state(tx: &Writing<'_>, asset: &Asset) -> Result<()> {
    let (mut metadata, mut reason, mut marked) = (None, None, None);
    match &asset.state {
        AssetState::Processing => {}
        AssetState::Complete { metadata: filled } => {
            metadata = Some(Sql(serde_json::to_value(filled)
                .map_err(|_| DatabaseError::internal("an asset's metadata cannot be written as JSON"))?));
        }
        AssetState::Error { reason: why } => reason = Some(why),
        AssetState::Deleting { at } | AssetState::Deleted { at } => marked = Some(Sql(*at)),
    }
    // What the file was is kept to the end: the row of a deleted asset still says it.
    tx.prepare_cached(
        "UPDATE asset SET status = ?2, metadata = coalesce(?3, metadata), reason = coalesce(?4, reason),
             marked_us = coalesce(?5, marked_us), stop_us = ?6, expiration_us = ?7
         WHERE id = ?1",
    )?
    .execute(params![
        Sql(asset.id),
        Sql(asset.state.status()),
        metadata,
        reason,
        marked,
        asset.stop_time.map(Sql),
        asset.expiration.map(Sql),
    ])?;
    Ok(())
}

/// Stores the parts of a recipe of which none is stored.
fn put_recipe(tx: &Writing<'_>, asset: &Asset, recipe: &[RecipePart]) -> Result<()> {
    for (number, part) in (0u32..).zip(recipe) {
        check_media_is_there(tx, asset.asset_type, part)?;
        put_part(tx, asset.id, number, part)?;
    }
    Ok(())
}

/// Stores a part of a recipe.
pub(crate) fn put_part(tx: &Writing<'_>, asset: MediaAssetId, number: u32, part: &RecipePart) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO recipe (asset, part, timeline, run, first_segment, last_segment, start_us, stop_us, late_us, size_class)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        Sql(asset),
        number,
        Sql(part.timeline),
        part.run,
        Sql(part.first),
        part.last.map(Sql),
        part.start_us,
        part.stop_us,
        part.late_us,
        size_class(part.first, part.last),
    ])?;
    Ok(())
}

/// A closed part has every segment it names, all of its run (a timeline may show several). An open
/// one has every segment from `first` to the newest; `first` itself may still be to come.
fn check_media_is_there(tx: &Writing<'_>, asset_type: AssetType, part: &RecipePart) -> Result<()> {
    let stored = segments::of(tx, part.timeline);
    let last = match part.last {
        Some(last) => Some(last),
        None => stored.newest_sequence()?,
    };
    let wanted = match last {
        Some(last) if last >= part.first => last - part.first + 1,
        _ if part.last.is_none() => return Ok(()),
        _ => return Err(Conflict::MediaGone.into()),
    };
    let (mut held, mut of_run) = (0, 0);
    for stretch in stored.stretches(part.first, last.unwrap_or(part.first), wanted)? {
        let count = stretch.count();
        held += count;
        of_run += if stretch.run == part.run { count } else { 0 };
    }
    let one_run = part.last.is_some() && asset_type != AssetType::Timeline;
    let whole = held == wanted && (!one_run || of_run == wanted);
    if whole { Ok(()) } else { Err(Conflict::MediaGone.into()) }
}

fn tell_asset(
    tx: &Writing<'_>,
    event: MediaEvent,
    asset: &Asset,
    (time, seq): (Timestamp, u64),
    now: Timestamp,
) -> Result<()> {
    let metadata = match &asset.state {
        AssetState::Complete { metadata } => Some(metadata.as_ref()),
        _ => None,
    };
    let error = match &asset.state {
        AssetState::Error { reason } => Some(reason.as_str()),
        _ => None,
    };
    let facts = MediaFacts {
        account: &account(tx)?,
        asset: asset.id,
        asset_type: asset.asset_type,
        request: asset.request,
        token: asset.token,
        stream_name: &asset.stream_name,
        // A clip's hooks tell when it was requested, a recording's when it began.
        start_time: if asset.asset_type == AssetType::Clip { asset.created } else { asset.start_time },
        expiration: asset.expiration,
        metadata,
        error,
        seq,
    };
    outbox::record(tx, &media_event(outbox::new_id(now), event, time, &facts), now)
}
