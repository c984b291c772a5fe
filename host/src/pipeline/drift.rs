//! How the source differs from the listing that the job has pinned: new, gone, changed, or only copied. What that means
//! depends on how rows are known; `open` decides what to pin.

use std::collections::{HashMap, HashSet};

use super::RunError;
use super::covered::digests_of;
use crate::commit::{CommitError, Listing, ObjectCoverage, Pinned};
use crate::plan::Plan;
use crate::source::Object;

/// Names shown of objects that changed.
const NAMES_SHOWN: usize = 5;

/// How the source differs from the pinned listing, by path.
#[derive(Debug, Default)]
pub(super) struct Drift {
    new: Vec<String>,
    gone: Vec<String>,
    /// Another size or version: changed, or only copied. With the size that was pinned.
    touched: Vec<(Object, u64)>,
    /// Of those, what is another content.
    changed: Vec<String>,
    /// Of those, what may be another content, but none of its rows is done, and its size is what it was.
    unknown: Vec<String>,
}

/// Compares by path, size and version tag; nothing is opened.
pub(super) fn compare(pinned: &Listing, objects: &[Object]) -> Drift {
    let mut before: HashMap<&str, &Object> =
        pinned.iter().map(|pinned| (pinned.object.path.as_ref(), &pinned.object)).collect();
    let mut drift = Drift::default();
    for object in objects {
        match before.remove(object.path.as_ref()) {
            None => drift.new.push(object.path.to_string()),
            Some(was) if was.size != object.size || was.etag != object.etag => {
                drift.touched.push((object.clone(), was.size));
            }
            Some(_) => {}
        }
    }
    drift.gone = before.into_keys().map(ToString::to_string).collect();
    drift.gone.sort();
    drift
}

impl Drift {
    pub(super) fn is_same(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty() && self.touched.is_empty()
    }

    /// By position, rows that are done mean nothing in another content, unless a person takes it as new.
    pub(super) fn is_refusable(&self, plan: &Plan) -> bool {
        plan.ids.is_none() && !plan.accepts_change && !self.is_same()
    }

    /// Whether rows that are done may stand elsewhere now.
    pub(super) fn is_rewritten(&self) -> bool {
        !self.gone.is_empty() || !self.changed.is_empty()
    }

    /// Only who holds every lane can tell a copy from a change, and may let ids be asked: no other lane gets segments
    /// meanwhile.
    pub(super) fn refuse_for_some_lanes(&self, is_all: bool) -> Result<(), CommitError> {
        if is_all || (self.gone.is_empty() && self.touched.is_empty()) {
            return Ok(());
        }
        let first =
            self.gone.first().map(String::as_str).or(self.touched.first().map(|(object, _)| object.path.as_ref()));
        Err(CommitError::refused(
            format!(
                "objects of the source are gone or were written anew ({} and others), and this run holds some \
                 lanes only",
                first.unwrap_or_default()
            ),
            "run once without --lane; after that, runs with --lane go on",
        ))
    }

    /// A touched object of which rows are done is a copy if its digest is the one that the log names. Of another one
    /// only the size can tell.
    pub(super) async fn keep_copies_apart<'a>(
        &mut self,
        plan: &Plan,
        pinned: &'a [Pinned],
        content: impl Fn(&'a Pinned) -> Result<Option<&'a ObjectCoverage>, CommitError>,
    ) -> Result<(), RunError> {
        let pinned: HashMap<&str, &'a Pinned> =
            pinned.iter().map(|pinned| (pinned.object.path.as_ref(), pinned)).collect();
        let mut perhaps_copied = Vec::new();
        for (object, size_before) in &self.touched {
            let path = object.path.to_string();
            let covered = match pinned.get(object.path.as_ref()) {
                Some(pinned) => content(pinned)?,
                None => None,
            };
            match covered {
                Some(covered) if covered.size == object.size => perhaps_copied.push((object, &covered.digest)),
                None if *size_before == object.size => self.unknown.push(path),
                _ => self.changed.push(path),
            }
        }
        let digests = digests_of(plan, perhaps_copied.iter().map(|(object, _)| *object)).await?;
        let changed = perhaps_copied.iter().filter(|(object, before)| digests[object.path.as_ref()] != **before);
        self.changed.extend(changed.map(|(object, _)| object.path.to_string()));
        Ok(())
    }

    /// By position nothing tells which rows of new contents are those of before.
    pub(super) fn warn_of_what_stays(&self, plan: &Plan) {
        if plan.ids.is_none() && self.is_rewritten() {
            let all: Vec<String> = self.gone.iter().chain(&self.changed).cloned().collect();
            tracing::warn!(
                "{} source object(s) changed or are gone ({}); accepted: what was written of them before stays in the output and \
                 counts, and all rows of what they hold now are done",
                all.len(),
                shown(&all)
            );
        }
    }

    pub(super) fn refuse_in_position_mode(&self) -> Result<(), CommitError> {
        if !self.is_rewritten() {
            return Ok(());
        }
        let line = |what: &str, names: &[String]| match names.len() {
            0 => String::new(),
            count => format!("\n  {count} {what}: {}", shown(names)),
        };
        Err(CommitError::refused(
            format!(
                "the source changed, and rows are known by position:{}{}",
                line("gone", &self.gone),
                line("changed", &self.changed)
            ),
            "put the objects back, with their times (cp -p); or take new contents as new rows with --accept-change; or begin a new job with \
             `id`",
        ))
    }

    /// The listing to pin: contents that are new since `number` say so.
    pub(super) fn pin(&self, pinned: &Listing, objects: Vec<Object>, number: u64) -> Listing {
        let since: HashMap<&str, u64> =
            pinned.iter().map(|pinned| (pinned.object.path.as_ref(), pinned.since)).collect();
        let changed: HashSet<&str> = self.changed.iter().chain(&self.unknown).map(String::as_str).collect();
        let pin = |object: Object| {
            let before = since.get(object.path.as_ref()).filter(|_| !changed.contains(object.path.as_ref()));
            let since = before.copied().unwrap_or(number);
            Pinned { object, since }
        };
        objects.into_iter().map(pin).collect()
    }
}

fn shown(names: &[String]) -> String {
    let first = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_SHOWN { format!("{first}, ...") } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(path: &str, size: u64, etag: &str) -> Object {
        Object { path: path.into(), size, etag: Some(etag.into()), modified_ms: 0 }
    }

    #[test]
    fn new_gone_and_touched_objects_are_told_apart() {
        let pinned: Listing = [object("a", 1, "x"), object("b", 1, "x"), object("c", 1, "x")]
            .map(|object| Pinned { object, since: 0 })
            .into();
        let drift = compare(&pinned, &[object("a", 1, "x"), object("b", 1, "y"), object("d", 1, "x")]);
        assert_eq!((&drift.new[..], &drift.gone[..]), (&["d".to_string()][..], &["c".to_string()][..]));
        assert_eq!(drift.touched, [(object("b", 1, "y"), 1)]);
        assert!(drift.is_rewritten() && !drift.is_same());
    }

    #[test]
    fn only_new_contents_are_pinned_as_new() {
        let pinned: Listing = vec![Pinned { object: object("a", 1, "x"), since: 3 }];
        let objects = vec![object("a", 1, "y"), object("b", 1, "x")];
        let copied = compare(&pinned, &objects);
        let since = |drift: &Drift| {
            drift.pin(&pinned, objects.clone(), 7).iter().map(|pinned| pinned.since).collect::<Vec<_>>()
        };
        assert_eq!(since(&copied), [3, 7]);
        assert_eq!(since(&Drift { changed: vec!["a".into()], ..copied }), [7, 7]);
    }
}
