//! Which segments of a timeline the recipes of assets hold.
//!
//! A timeline may have very many assets, and this is asked whenever one of them goes. So every part of a recipe is stored
//! with the class of its size, the power of two that its number of segments reaches, and a segment is looked for in one
//! class after the other. Of one class, sizes differ by less than a factor of two. What follows: if any part of a class
//! holds a segment, then one of two does, the one that begins last at or before it and the one that ends first at or
//! after it. A third, when neither does, would begin at least a size before the segment and end as long after it: it
//! would be of a higher class. There are a handful of classes.

use mediahooks_model::{MediaAssetId, TimelineId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::Result;
use crate::segments::NEWEST;
use crate::sql::Sql;

/// Above every class but that of parts without an end.
const OPEN: u32 = 63;

/// The next class of which a timeline has parts.
pub(crate) const CLASS: &str = "SELECT min(size_class) FROM recipe WHERE timeline = ?1 AND size_class > ?2";

/// Of one class, the part that begins last at or before `?3`, but not of the asset `?4`.
pub(crate) const BEGINS_BEFORE: &str = "SELECT first_segment, last_segment FROM recipe
     WHERE timeline = ?1 AND size_class = ?2 AND first_segment <= ?3 AND (?4 IS NULL OR asset <> ?4)
     ORDER BY first_segment DESC LIMIT 1";

/// Of one class, the part that ends first at or after `?3`.
pub(crate) const ENDS_AFTER: &str = "SELECT first_segment, last_segment FROM recipe
     WHERE timeline = ?1 AND size_class = ?2 AND last_segment >= ?3 AND (?4 IS NULL OR asset <> ?4)
     ORDER BY last_segment LIMIT 1";

/// Of one class, the part that begins first after `?3`.
pub(crate) const BEGINS_AFTER: &str = "SELECT first_segment, last_segment FROM recipe
     WHERE timeline = ?1 AND size_class = ?2 AND first_segment > ?3 AND (?4 IS NULL OR asset <> ?4)
     ORDER BY first_segment LIMIT 1";

/// Of one class, the part that ends last before `?3`.
pub(crate) const ENDS_BEFORE: &str = "SELECT first_segment, last_segment FROM recipe
     WHERE timeline = ?1 AND size_class = ?2 AND last_segment < ?3 AND (?4 IS NULL OR asset <> ?4)
     ORDER BY last_segment DESC LIMIT 1";

/// The class of a part that holds `first..=last`, or everything from `first` on.
pub(crate) fn size_class(first: u64, last: Option<u64>) -> u32 {
    last.map_or(OPEN, |last| last.saturating_sub(first).saturating_add(1).ilog2())
}

/// What the recipes of a timeline hold, as a transaction sees it.
pub(crate) struct Cover<'a> {
    tx: &'a Connection,
    timeline: TimelineId,
    /// Its parts do not count.
    except: Option<MediaAssetId>,
    classes: Vec<u32>,
}

/// Ranges (ends included) that no recipe holds, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gaps {
    pub found: Vec<(u64, u64)>,
    /// From where on others may follow, when it was not looked further.
    pub rest: Option<u64>,
}

type Range = (u64, u64);

impl<'a> Cover<'a> {
    /// What all recipes of a timeline hold, but for those of one asset.
    pub(crate) fn of(tx: &'a Connection, timeline: TimelineId, except: Option<MediaAssetId>) -> Result<Self> {
        let mut statement = tx.prepare_cached(CLASS)?;
        let (mut classes, mut below) = (Vec::new(), -1);
        while let Some(class) =
            statement.query_row(params![Sql(timeline), below], |row| row.get::<_, Option<u32>>(0))?
        {
            classes.push(class);
            below = i64::from(class);
        }
        Ok(Self { tx, timeline, except, classes })
    }

    /// The parts that are nearest in some way, one of each class at most.
    fn nearest(&self, sql: &str, segment: u64) -> Result<Vec<Range>> {
        let mut statement = self.tx.prepare_cached(sql)?;
        let range = |row: &Row<'_>| {
            let (Sql(first), last): (Sql<u64>, Option<Sql<u64>>) = (row.get(0)?, row.get(1)?);
            Ok((first, last.map_or(NEWEST, |Sql(last)| last)))
        };
        let mut found = Vec::new();
        for class in &self.classes {
            let values = params![Sql(self.timeline), class, Sql(segment), self.except.map(Sql)];
            found.extend(statement.query_row(values, range).optional()?);
        }
        Ok(found)
    }

    /// Up to which segment at least all are held from `segment` on; none when that one is not.
    pub(crate) fn held_until(&self, segment: u64) -> Result<Option<u64>> {
        let mut nearest = self.nearest(BEGINS_BEFORE, segment)?;
        nearest.append(&mut self.nearest(ENDS_AFTER, segment)?);
        let holds = |(first, last): &Range| (*first..=*last).contains(&segment);
        Ok(nearest.into_iter().filter(holds).map(|(_, last)| last).max())
    }

    /// The first segment after `segment` that a part begins with.
    fn next_begin(&self, segment: u64) -> Result<Option<u64>> {
        Ok(self.nearest(BEGINS_AFTER, segment)?.into_iter().map(|(first, _)| first).min())
    }

    /// The last segment before `segment` that a part ends with.
    fn last_end(&self, segment: u64) -> Result<Option<u64>> {
        Ok(self.nearest(ENDS_BEFORE, segment)?.into_iter().map(|(_, last)| last).max())
    }

    /// The ranges within `first..=last` that nothing holds. Looks at `steps` parts and gaps at most.
    pub(crate) fn gaps(&self, (first, last): Range, steps: usize) -> Result<Gaps> {
        let (mut from, last) = (first, last.min(NEWEST));
        let mut found = Vec::new();
        for _ in 0..steps {
            if from > last {
                return Ok(Gaps { found, rest: None });
            }
            let to = match self.held_until(from)? {
                Some(to) => to,
                None => {
                    let to = self.next_begin(from)?.map_or(last, |next| last.min(next - 1));
                    found.push((from, to));
                    to
                }
            };
            from = to + 1;
        }
        Ok(Gaps { found, rest: Some(from).filter(|from| *from <= last) })
    }

    /// A gap with as much around it, up to `most` segments on either side, as nothing holds.
    pub(crate) fn widened(&self, (first, last): Range, most: u64) -> Result<Range> {
        let before = self.last_end(first)?.map_or(0, |end| end + 1);
        let after = self.next_begin(last)?.map_or(NEWEST, |begin| begin - 1);
        Ok((before.max(first.saturating_sub(most)), after.min(last.saturating_add(most))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::schema;

    const TIMELINE: TimelineId = TimelineId(Uuid::nil());

    fn database(parts: &[(u64, Option<u64>)]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        // There is nothing but recipes.
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        for (number, (first, last)) in (0i64..).zip(parts) {
            connection
                .execute(
                    "INSERT INTO recipe (asset, part, timeline, run, first_segment, last_segment, size_class)
                     VALUES (?1, 0, ?2, 0, ?3, ?4, ?5)",
                    params![
                        Sql(asset(number as u128)),
                        Sql(TIMELINE),
                        Sql(*first),
                        last.map(Sql),
                        size_class(*first, *last)
                    ],
                )
                .unwrap();
        }
        connection
    }

    fn asset(number: u128) -> MediaAssetId {
        MediaAssetId(Uuid::from_u128(number))
    }

    proptest! {
        #[test]
        fn what_is_held_is_what_any_part_holds(
            parts in prop::collection::vec((0u64..60, prop::option::weighted(0.97, 0u64..40)), 0..25),
            segment in 0u64..110,
            most in 0u64..9,
        ) {
            let parts: Vec<_> = parts.into_iter().map(|(first, len)| (first, len.map(|len| first + len))).collect();
            let connection = database(&parts);
            for except in [None, Some(0)] {
                let held = |segment: u64| {
                    let counted = parts.iter().enumerate().filter(|(number, _)| Some(*number as u128) != except);
                    counted.into_iter().any(|(_, (first, last))| *first <= segment && last.is_none_or(|last| segment <= last))
                };
                let cover = Cover::of(&connection, TIMELINE, except.map(asset)).unwrap();
                let until = cover.held_until(segment).unwrap();
                prop_assert_eq!(until.is_some(), held(segment));
                if let Some(until) = until {
                    prop_assert!((segment..=until.min(110)).all(held));
                }
                let all = cover.gaps((segment, 110), usize::MAX).unwrap();
                prop_assert_eq!(all.rest, None);
                let missing: Vec<u64> = all.found.iter().flat_map(|(first, last)| *first..=*last).collect();
                prop_assert_eq!(missing, (segment..=110).filter(|segment| !held(*segment)).collect::<Vec<_>>());
                // In steps it comes to the same.
                let (mut stepwise, mut from) = (Vec::new(), Some(segment));
                while let Some(first) = from {
                    let Gaps { found, rest } = cover.gaps((first, 110), 1).unwrap();
                    stepwise.extend(found);
                    from = rest;
                }
                prop_assert_eq!(&stepwise, &all.found);
                for (first, last) in all.found {
                    let (before, after) = cover.widened((first, last), most).unwrap();
                    prop_assert!((before..first).chain(last + 1..=after).all(|segment| !held(segment)));
                    prop_assert!(first - before <= most && after - last <= most);
                    prop_assert!(first - before == most || before == 0 || held(before - 1));
                    prop_assert!(after - last == most || held(after + 1));
                }
            }
        }
    }

    /// How much is looked at does not depend on how many there are.
    #[test]
    fn many_parts_are_found_in_as_few_steps_as_one() {
        let steps = |parts: &[(u64, Option<u64>)]| {
            let connection = database(parts);
            let cover = Cover::of(&connection, TIMELINE, None).unwrap();
            let mut steps = 0;
            for sql in [BEGINS_BEFORE, ENDS_AFTER, BEGINS_AFTER, ENDS_BEFORE] {
                for class in &cover.classes {
                    let mut statement = connection.prepare(sql).unwrap();
                    let values =
                        params![Sql(TIMELINE), class, Sql(5000u64), Option::<Sql<MediaAssetId>>::None];
                    let _ = statement.query_row(values, |_| Ok(())).optional().unwrap();
                    steps += statement.get_status(rusqlite::StatementStatus::VmStep);
                }
            }
            steps
        };
        let few: Vec<_> = (0..10).map(|n| (n * 1000, Some(n * 1000 + 2))).collect();
        let many: Vec<_> = (0..2000).map(|n| (n * 5, Some(n * 5 + 2))).collect();
        let same: Vec<_> = (0..2000).map(|_| (4999, Some(5001))).collect();
        assert_eq!(steps(&many), steps(&few));
        assert!(steps(&same) <= steps(&few));
    }
}
