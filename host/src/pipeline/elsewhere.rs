//! Objects all of whose rows were done elsewhere before the job began: its genesis names them, and who opens their lanes first
//! says there that their rows are known. Their rows are counted by whoever knows how many there are without reading them.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::RunError;
use super::covered::Covered;
use super::open::RETURNED_GROUP;
use super::read::own_rows;
use crate::block::Numbering;
use crate::commit::{Coverage, Group, Lane, ObjectCoverage, Pinned, Root, RowState, pieces};
use crate::plan::Plan;
use crate::source::{self, Object};

/// Objects that are opened at once.
const OBJECTS_AT_ONCE: usize = 16;

/// Covers what the lanes say nothing of.
pub(super) async fn cover(
    plan: &Plan,
    root: &Root,
    opened: &mut [Lane],
    covered: &mut Covered,
) -> Result<(), RunError> {
    let done = root.done_elsewhere(&plan.checkpoint).await?;
    let done: HashMap<&str, &Object> = done.iter().map(|done| (done.object.path.as_ref(), &done.object)).collect();
    let is_done = |pinned: &Pinned| done.get(pinned.object.path.as_ref()).is_some_and(|done| **done == pinned.object);
    for lane in opened {
        let pieces = covered
            .pieces
            .iter_mut()
            .filter(|(pinned, _, number, content)| *number == lane.number() && content.is_none() && is_done(pinned));
        let looks: Vec<_> =
            pieces.map(|(pinned, piece, _, content)| look(plan, root, pinned, *piece, content)).collect();
        let known: Vec<_> = futures::stream::iter(looks).buffered(OBJECTS_AT_ONCE).try_collect().await?;
        let mut group = Group::new(RETURNED_GROUP);
        for (path, piece, content) in known {
            group.counts.rows_known += content.coverage.count(RowState::Known);
            group.objects.insert((path, piece), content);
        }
        if !group.objects.is_empty() {
            lane.commit(group).await?;
        }
    }
    Ok(())
}

/// Opens an object and covers one of its pieces.
async fn look(
    plan: &Plan,
    root: &Root,
    pinned: &Pinned,
    piece: u32,
    covered: &mut Option<ObjectCoverage>,
) -> Result<(String, u32, ObjectCoverage), RunError> {
    let object = &pinned.object;
    let opened = Arc::new(source::open(&plan.source.store, &*plan.source.format, object, 0).await?);
    let mut units = opened.units();
    let split_bytes = root.genesis.split_bytes;
    let is_cut = pieces(object.size, split_bytes) > 1;
    if is_cut {
        units.retain(|unit| unit.first_byte / split_bytes == u64::from(piece));
    }
    let (state, mut coverage) = (state(opened.numbering()), Coverage::default());
    units.iter().filter(|unit| !unit.rows.is_empty()).for_each(|unit| coverage.set(unit.rows.clone(), state));
    let content = ObjectCoverage {
        digest: opened.digest.clone(),
        size: object.size,
        rows: opened.rows,
        piece,
        own: is_cut.then(|| own_rows(&opened, &units)),
        root: root.last,
        named_by: Vec::new(),
        coverage,
    };
    *covered = Some(content.clone());
    Ok((object.path.to_string(), piece, content))
}

/// How many rows a text has nobody knows before it is read: there is none to do at any of its positions.
fn state(numbering: Numbering) -> RowState {
    match numbering {
        Numbering::Rows => RowState::Known,
        Numbering::Lines | Numbering::LinesOfSpans(_) => RowState::Blank,
    }
}
