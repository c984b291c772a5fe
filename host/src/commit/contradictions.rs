//! What groups say of objects that cannot all be so: rows of an object that the job did not have, two contents of one object
//! where it had one, pieces that are not one object together. Digests do not tell it where an entry was made anew, digest and
//! all, or has none.
//!
//! Of what contradicts each other, that holds which most rows were done by; the others are accused, and if none has most, all
//! are. To give up too many groups only costs work, since their rows are done again. Where they cannot be, because the source
//! does not have that content any more, nobody is given up: what was done of it stands, and nobody asks for more of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::coverage::ObjectCoverage;
use super::lane::pieces;
use super::log::entry_name;
use super::replay::LaneState;
use super::root::{Pinned, Root};
use super::{CommitError, side};
use crate::store::Store;

/// A group that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contradiction {
    pub(super) lane: u32,
    pub(super) group: u64,
    pub(super) message: String,
    /// Whether the rows of the group can be done again, as far as that is known.
    pub(super) can_be_redone: bool,
}

/// Refuses lanes that contradict each other or the present listing. Earlier listings are not read: that takes as long as they
/// are many, and tells nothing of what there is to do.
pub fn refuse_contradictions<'a>(
    root: &Root,
    listing: &[Pinned],
    lanes: impl IntoIterator<Item = &'a LaneState>,
) -> Result<(), CommitError> {
    let lanes: Vec<&LaneState> = lanes.into_iter().collect();
    let found = Contents::new(root, listing).contradictions(&lanes);
    let Some(first) = found.into_iter().find(|found| found.can_be_redone) else { return Ok(()) };
    let state = lanes.iter().find(|state| state.lane == first.lane).expect("it is of one of them");
    Err(CommitError::damaged(entry_name(first.lane, state.entry_of(first.group)), first.message))
}

/// As [`refuse_contradictions`] finds them, all; earlier listings are read as far as lanes speak of objects in them. One that
/// cannot be read tells nothing, and nobody needs it for anything else.
pub(super) async fn find_contradictions(
    store: &Store,
    root: &Root,
    listing: &[Pinned],
    lanes: &[&LaneState],
) -> Result<Vec<Contradiction>, CommitError> {
    let mut contents = Contents { asks_earlier: true, ..Contents::new(root, listing) };
    for (listed, paths) in contents.unknown(lanes) {
        let Some((_, file)) = root.listings.iter().find(|(number, _)| *number == listed) else { continue };
        match side::read_listing(store, file).await {
            Ok(earlier) => contents.add(listed, &paths, &earlier),
            Err(error @ CommitError::Store { .. }) if !error.is_not_found() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(contents.contradictions(lanes))
}

/// The content that an object had at some time.
#[derive(Clone, Copy, Debug)]
struct Content {
    size: u64,
    since: u64,
}

/// Which content an object had when a group was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Had {
    /// One of this size, since that root entry.
    Content { size: u64, since: u64 },
    /// The present listing has no such object, and was there.
    None,
    /// An earlier listing had no such object.
    NoneThen,
    /// One that the listing of this root entry says, which was not read.
    Unknown(u64),
    /// That depends on a root entry which came since the root was read.
    Later,
}

/// The contents that objects have and had.
struct Contents<'a> {
    root: &'a Root,
    present: HashMap<&'a str, Content>,
    /// By root entry and path, as far as anybody asks; none if the object was not there.
    earlier: HashMap<(u64, String), Option<Content>>,
    /// Whether what only earlier listings tell is looked at.
    asks_earlier: bool,
}

/// What a group says of a piece of an object.
struct Claim<'a> {
    lane: u32,
    group: u64,
    had: Had,
    content: &'a ObjectCoverage,
    /// How many rows have their state by it.
    rows: u64,
}

impl Claim<'_> {
    fn is_of_another_object(&self) -> bool {
        match self.had {
            Had::Content { size, .. } => size != self.content.size,
            Had::None | Had::NoneThen => true,
            Had::Unknown(_) | Had::Later => false,
        }
    }
}

/// Groups by lane and number: whether their rows can be done again, and what they say.
#[derive(Default)]
struct Found(BTreeMap<(u32, u64), (bool, String)>);

impl Found {
    fn add(&mut self, group: (u32, u64), message: &str, can_be_redone: bool) {
        let (can, _) = self.0.entry(group).or_insert_with(|| (can_be_redone, message.to_owned()));
        *can |= can_be_redone;
    }
}

impl<'a> Contents<'a> {
    fn new(root: &'a Root, listing: &'a [Pinned]) -> Contents<'a> {
        let content = |pinned: &Pinned| Content { size: pinned.object.size, since: pinned.since };
        let present = listing.iter().map(|pinned| (pinned.object.path.as_ref(), content(pinned))).collect();
        Contents { root, present, earlier: HashMap::new(), asks_earlier: false }
    }

    fn add(&mut self, listed: u64, paths: &HashSet<&str>, listing: &[Pinned]) {
        self.earlier.extend(paths.iter().map(|path| ((listed, (*path).to_owned()), None)));
        for Pinned { object, since } in listing.iter().filter(|pinned| paths.contains(pinned.object.path.as_ref())) {
            let content = Content { size: object.size, since: *since };
            self.earlier.insert((listed, object.path.to_string()), Some(content));
        }
    }

    /// The content under a root entry.
    fn had(&self, path: &str, root: u64) -> Had {
        if root > self.root.last {
            return Had::Later;
        }
        let had = |content: &Content| Had::Content { size: content.size, since: content.since };
        let present = self.present.get(path);
        if let Some(present) = present.filter(|present| root >= present.since.min(self.root.listed)) {
            return had(present);
        }
        let listed = self.root.listed_under(root);
        if listed == self.root.listed {
            return Had::None;
        }
        match self.earlier.get(&(listed, path.to_owned())) {
            Some(content) => content.as_ref().map_or(Had::NoneThen, had),
            None => Had::Unknown(listed),
        }
    }

    /// What only earlier listings tell: which, and of which objects.
    fn unknown<'l>(&self, lanes: &[&'l LaneState]) -> BTreeMap<u64, HashSet<&'l str>> {
        let mut unknown: BTreeMap<u64, HashSet<&str>> = BTreeMap::new();
        for (path, claims) in self.claims(lanes) {
            for claim in claims {
                if let Had::Unknown(listed) = claim.had {
                    unknown.entry(listed).or_default().insert(path);
                }
            }
        }
        unknown
    }

    fn contradictions(&self, lanes: &[&LaneState]) -> Vec<Contradiction> {
        let mut found = Found::default();
        for (path, claims) in self.claims(lanes) {
            self.contradictions_of(path, claims, &mut found);
        }
        for state in lanes {
            for (group, least) in state.beyond_root(self.root.last) {
                let root = state.groups[&group].root;
                let message =
                    format!("it was written under root entry {root}, which is not there; what follows, under {least}");
                found.add((state.lane, group), &message, true);
            }
        }
        if found.0.is_empty() {
            return Vec::new();
        }
        let gone: HashSet<(u32, u64)> = lanes.iter().flat_map(|state| self.groups_of_gone(state)).collect();
        let contradiction = |(group, (can_be_redone, message))| {
            let (lane, number) = group;
            Contradiction { lane, group: number, message, can_be_redone: can_be_redone && !gone.contains(&group) }
        };
        found.0.into_iter().map(contradiction).collect()
    }

    /// By path, of the objects that are worth a look. Those of which one lane says one thing that the listing says, too, are
    /// not, and most are so.
    fn claims<'l>(&self, lanes: &[&'l LaneState]) -> BTreeMap<&'l str, Vec<Claim<'l>>> {
        let mut claims: BTreeMap<&str, Vec<Claim>> = BTreeMap::new();
        for state in lanes {
            for (path, contents) in &state.objects {
                let is_plain = |content: &ObjectCoverage| {
                    let is_as_listed = match self.had(path, content.root) {
                        Had::Content { size, .. } => size == content.size,
                        Had::Unknown(_) => !self.asks_earlier,
                        Had::None | Had::NoneThen | Had::Later => false,
                    };
                    content.own.is_none() && is_as_listed
                };
                if !matches!(&contents[..], [content] if is_plain(content)) {
                    let of_object = contents.iter().flat_map(|content| self.claims_of(state, path, content));
                    claims.entry(path).or_default().extend(of_object);
                }
            }
        }
        claims
    }

    fn claims_of<'l>(&self, state: &'l LaneState, path: &str, content: &'l ObjectCoverage) -> Vec<Claim<'l>> {
        let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
        for (range, _, group) in content.coverage.given() {
            *rows.entry(group).or_default() += range.end - range.start;
        }
        // Also who gave no row a state says what the content is.
        for group in &content.named_by {
            rows.entry(*group).or_default();
        }
        let claim = |(group, rows): (u64, u64)| {
            let root = state.groups.get(&group).map_or(content.root, |group| group.root);
            Claim { lane: state.lane, group, had: self.had(path, root), content, rows }
        };
        rows.into_iter().map(claim).collect()
    }

    /// Groups that also did rows of objects which were there and are not any more.
    fn groups_of_gone(&self, state: &LaneState) -> HashSet<(u32, u64)> {
        let gone = state.objects.iter().filter(|(path, _)| !self.present.contains_key(path.as_str()));
        let claims = gone
            .flat_map(|(path, contents)| contents.iter().flat_map(move |content| self.claims_of(state, path, content)));
        let was_there = claims.filter(|claim| !matches!(claim.had, Had::None | Had::Later));
        was_there.map(|claim| (claim.lane, claim.group)).collect()
    }

    fn contradictions_of(&self, path: &str, claims: Vec<Claim>, found: &mut Found) {
        let mut claims: Vec<Claim> = claims.into_iter().filter(|claim| claim.had != Had::Later).collect();
        let since = self.present.get(path).map(|present| present.since);
        let is_now = |claim: &Claim| match claim.had {
            Had::Content { since: then, .. } => Some(then) == since,
            Had::None => true,
            Had::NoneThen | Had::Unknown(_) | Had::Later => false,
        };
        let now: HashSet<&str> =
            claims.iter().filter(|claim| is_now(claim)).map(|claim| claim.content.digest.as_str()).collect();
        let can_be_redone = |claim: &Claim| is_now(claim) || now.contains(claim.content.digest.as_str());
        let is_other: Vec<bool> = claims.iter().map(Claim::is_of_another_object).collect();
        for (claim, _) in claims.iter().zip(&is_other).filter(|(_, is_other)| **is_other) {
            let size = claim.content.size;
            let message = format!("it covers rows of {path} of {size} bytes, which the job did not have");
            found.add((claim.lane, claim.group), &message, can_be_redone(claim));
        }
        retain_others(&mut claims, &is_other);
        let mut accuse = |claims: &mut Vec<Claim>, accused: &[bool], message: &str| {
            let accused_claims =
                claims.iter().zip(accused).filter(|(claim, accused)| **accused && can_be_redone(claim));
            accused_claims.for_each(|(claim, _)| found.add((claim.lane, claim.group), message, true));
            retain_others(claims, accused);
        };
        let when = |claim: &Claim| match claim.had {
            Had::Content { since, .. } => (true, since),
            Had::None | Had::NoneThen | Had::Later => (true, 0),
            Had::Unknown(listed) => (false, listed),
        };
        let message = format!("it speaks of another content of {path} than other groups do");
        let others =
            outvoted(&claims, when, |ObjectCoverage { digest, size, rows, .. }| (digest.as_str(), *size, *rows));
        accuse(&mut claims, &others, &message);
        let digest = |claim: &Claim<'_>| claim.content.digest.clone();
        let others = outvoted(&claims, digest, |ObjectCoverage { size, rows, .. }| ("", *size, *rows));
        accuse(&mut claims, &others, &message);
        let piece = |claim: &Claim<'_>| (claim.content.digest.clone(), claim.content.piece);
        let others = outvoted(&claims, piece, |content| &content.own);
        accuse(&mut claims, &others, &format!("it says that a piece of {path} has other rows than other groups say"));
        let apart = self.not_together(&claims);
        accuse(&mut claims, &apart, &format!("the pieces of {path} that groups speak of are not one object together"));
    }

    /// The groups that speak of contents whose pieces have rows in common, or all rows but some.
    fn not_together(&self, claims: &[Claim]) -> Vec<bool> {
        let mut contents: BTreeMap<&str, BTreeMap<u32, &ObjectCoverage>> = BTreeMap::new();
        for content in claims.iter().map(|claim| claim.content).filter(|content| content.own.is_some()) {
            contents.entry(&content.digest).or_default().insert(content.piece, content);
        }
        contents.retain(|_, of| !self.is_together(of));
        claims.iter().map(|claim| contents.contains_key(claim.content.digest.as_str())).collect()
    }

    fn is_together(&self, of: &BTreeMap<u32, &ObjectCoverage>) -> bool {
        let mut own: Vec<(u64, u64)> = of.values().flat_map(|content| content.own.iter().flatten()).copied().collect();
        own.sort_unstable();
        let Some(ObjectCoverage { size, rows, .. }) = of.values().next() else { return true };
        let is_whole = of.len() == pieces(*size, self.root.genesis.split_bytes) as usize;
        let held: u64 = own.iter().map(|(start, end)| end - start).sum();
        own.windows(2).all(|pair| pair[0].1 <= pair[1].0) && (!is_whole || held == *rows)
    }
}

/// Of claims about the same, those that say what fewer rows were done by than by another; all, if no say has most rows.
fn outvoted<'a, K: Ord, S: Ord>(
    claims: &[Claim<'a>],
    about: impl Fn(&Claim<'a>) -> K,
    say: impl Fn(&'a ObjectCoverage) -> S,
) -> Vec<bool> {
    let mut rows: BTreeMap<K, BTreeMap<S, u64>> = BTreeMap::new();
    for claim in claims {
        *rows.entry(about(claim)).or_default().entry(say(claim.content)).or_default() += claim.rows;
    }
    let is_outvoted = |claim: &Claim<'a>| {
        let (says, own) = (&rows[&about(claim)], say(claim.content));
        says.iter().any(|(other, rows)| *other != own && *rows >= says[&own])
    };
    claims.iter().map(is_outvoted).collect()
}

fn retain_others(claims: &mut Vec<Claim>, accused: &[bool]) {
    let mut accused = accused.iter();
    claims.retain(|_| !accused.next().copied().unwrap_or(false));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::replay::GroupState;
    use crate::commit::root::testing::begin;
    use crate::commit::{RowState, SideFile};
    use crate::source::Object;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn pinned(path: &str, size: u64, since: u64) -> Pinned {
        Pinned { object: Object { path: path.into(), size, etag: None, modified_ms: 0 }, since }
    }

    /// A root of some listings, each with the number of its entry.
    fn root(last: u64, listed: &[u64]) -> Root {
        let root = wait(begin(&Store::memory("checkpoint")));
        let listings: Vec<(u64, SideFile)> = listed.iter().map(|number| (*number, root.listing.clone())).collect();
        Root { last, listed: *listed.last().unwrap(), listings, ..root }
    }

    #[derive(Clone, Default)]
    struct Lane(LaneState);

    impl Lane {
        fn new(lane: u32) -> Lane {
            Lane(LaneState { lane, ..LaneState::default() })
        }

        /// A group that did rows of `a` under a root entry.
        fn with(mut self, group: u64, root: u64, rows: (u64, u64), content: &ObjectCoverage) -> Lane {
            let mut content = ObjectCoverage { root, ..content.clone() };
            content.coverage.set_by(rows.0..rows.1, RowState::Done, group);
            content.named_by = if content.coverage.is_empty() { vec![group] } else { vec![] };
            self.0.groups.insert(group, GroupState { root, ..GroupState::default() });
            let contents = self.0.objects.entry("a".into()).or_default();
            match contents.iter_mut().find(|known| known.is_of(&content)) {
                Some(known) => {
                    known.root = known.root.max(root);
                    known.coverage.set_by(rows.0..rows.1, RowState::Done, group);
                }
                None => contents.push(content),
            }
            self
        }
    }

    fn content(digest: &str, rows: u64) -> ObjectCoverage {
        let (digest, coverage) = (digest.into(), crate::commit::Coverage::default());
        ObjectCoverage { digest, size: 9, rows, piece: 0, own: None, root: 0, named_by: vec![], coverage }
    }

    #[test]
    fn a_root_entry_that_is_not_there_is_a_lie_if_what_follows_does_not_know_it() {
        let content = content("d", 20);
        let lane = Lane::new(0).with(1, 0, (0, 2), &content).with(2, 3, (2, 4), &content);
        let groups = |lane: &Lane| groups(&root(1, &[0]), &[pinned("a", 9, 0)], &[lane]);
        assert_eq!(groups(&lane), []);
        let lane = lane.with(3, 1, (4, 5), &content).with(4, 2, (5, 6), &content);
        assert_eq!(groups(&lane), [(0, 2)]);
        // What follows is under one that is not there either: root entries are lost.
        let store = Store::memory("checkpoint");
        wait(begin(&store));
        let refused = |last| wait(crate::commit::refuse_older_root(&store, &root(last, &[0]), [&lane.0])).is_err();
        assert!(refused(1) && !refused(2));
    }

    /// Of an object of 18 bytes, in two pieces.
    fn piece(piece: u32, own: &[(u64, u64)], rows: u64) -> ObjectCoverage {
        ObjectCoverage { size: 18, piece, own: Some(own.to_vec()), ..content("d", rows) }
    }

    fn groups(root: &Root, listing: &[Pinned], lanes: &[&Lane]) -> Vec<(u32, u64)> {
        let states: Vec<&LaneState> = lanes.iter().map(|lane| &lane.0).collect();
        let found = Contents::new(root, listing).contradictions(&states);
        found.into_iter().filter(|found| found.can_be_redone).map(|found| (found.lane, found.group)).collect()
    }

    #[test]
    fn what_fewer_rows_were_done_by_is_accused_and_all_where_that_does_not_tell() {
        let (root, listing) = (root(0, &[0]), [pinned("a", 9, 0)]);
        let lane = Lane::new(0).with(3, 0, (0, 4), &content("d", 20)).with(5, 0, (4, 9), &content("d", 20));
        assert_eq!(groups(&root, &listing, &[&lane]), []);
        for other in [content("e", 20), content("d", 21)] {
            assert_eq!(groups(&root, &listing, &[&lane.clone().with(7, 0, (9, 12), &other)]), [(0, 7)]);
            assert_eq!(groups(&root, &listing, &[&lane.clone().with(7, 0, (9, 18), &other)]), [(0, 3), (0, 5), (0, 7)]);
            assert_eq!(groups(&root, &listing, &[&lane.clone().with(7, 0, (9, 19), &other)]), [(0, 3), (0, 5)]);
            // One that did no row of it, but names it.
            assert_eq!(groups(&root, &listing, &[&lane.clone().with(7, 0, (0, 0), &other)]), [(0, 7)]);
        }
        // In another lane.
        let first = Lane::new(0).with(1, 0, (0, 5), &piece(0, &[(0, 9)], 20));
        let other = ObjectCoverage { digest: "e".into(), ..piece(1, &[(9, 20)], 20) };
        let second = Lane::new(1).with(2, 0, (9, 13), &other);
        assert_eq!(groups(&root, &[pinned("a", 18, 0)], &[&first, &second]), [(1, 2)]);
    }

    #[test]
    fn an_object_has_another_content_where_the_listing_says_so() {
        let lane = Lane::new(0).with(3, 0, (0, 4), &content("d", 20)).with(5, 2, (4, 9), &content("e", 20));
        assert_eq!(groups(&root(2, &[0, 2]), &[pinned("a", 9, 2)], &[&lane]), []);
        // Another object is new since, not this one.
        assert_eq!(groups(&root(2, &[0, 2]), &[pinned("a", 9, 0)], &[&lane]), [(0, 3)]);
        // An earlier listing had one content of it all the time.
        let lane = lane.with(6, 1, (9, 10), &content("f", 20));
        let all = |root: &Root, lane: &Lane| {
            let found = Contents::new(root, &[pinned("a", 9, 2)]).contradictions(&[&lane.0]);
            found.into_iter().map(|found| (found.group, found.can_be_redone)).collect::<Vec<_>>()
        };
        // Nobody can do again what the source had then, and nobody asks for it.
        assert_eq!(all(&root(2, &[0, 2]), &lane), []);
        assert_eq!(all(&root(2, &[0, 1, 2]), &lane), []);
        // What the source has now is another matter.
        let lane = lane.with(7, 2, (11, 12), &content("d", 20));
        assert_eq!(all(&root(2, &[0, 2]), &lane), [(7, true)]);
    }

    #[test]
    fn rows_of_objects_that_the_job_did_not_have_are_found() {
        let lane = Lane::new(0).with(3, 0, (0, 4), &content("d", 20)).with(4, 1, (4, 5), &content("d", 20));
        assert_eq!(groups(&root(1, &[0]), &[pinned("a", 9, 0)], &[&lane]), []);
        assert_eq!(groups(&root(1, &[0]), &[pinned("b", 9, 0)], &[&lane]), [(0, 3), (0, 4)]);
        assert_eq!(groups(&root(1, &[0]), &[pinned("a", 8, 0)], &[&lane]), [(0, 3), (0, 4)]);
        // Under one that came since the root was read.
        assert_eq!(groups(&root(0, &[0]), &[pinned("b", 9, 0)], &[&lane]), [(0, 3)]);
        // Under an earlier listing: what that says is asked.
        let (root, present) = (root(1, &[0, 1]), [pinned("b", 9, 0)]);
        let state = [&lane.0];
        let mut contents = Contents::new(&root, &present);
        assert_eq!(contents.contradictions(&state).len(), 1);
        let unknown = contents.unknown(&state);
        assert_eq!(unknown, BTreeMap::from([(0, HashSet::from(["a"]))]));
        contents.add(0, &unknown[&0], &[pinned("a", 9, 0)]);
        assert_eq!(contents.contradictions(&state).len(), 1);
        contents.add(0, &unknown[&0], &[pinned("a", 8, 0)]);
        assert_eq!(contents.contradictions(&state).len(), 2);
        contents.add(0, &unknown[&0], &[]);
        assert_eq!(contents.contradictions(&state).len(), 2);
    }

    #[test]
    fn pieces_are_one_object_together() {
        let (root, listing) = (root(0, &[0]), [pinned("a", 18, 0)]);
        let first = |own: (u64, u64), row| Lane::new(0).with(1, 0, (row, row + 2), &piece(0, &[own], 20));
        let second = |own: (u64, u64), row| Lane::new(1).with(1, 0, (row, row + 1), &piece(1, &[own], 20));
        assert_eq!(groups(&root, &listing, &[&first((0, 9), 0), &second((9, 20), 9)]), []);
        assert_eq!(groups(&root, &listing, &[&first((0, 10), 0), &second((9, 20), 9)]), [(0, 1), (1, 1)]);
        assert_eq!(groups(&root, &listing, &[&first((0, 8), 0), &second((9, 20), 9)]), [(0, 1), (1, 1)]);
        assert_eq!(groups(&root, &listing, &[&first((0, 8), 0)]), []);
        // A piece keeps its rows.
        let lane = first((0, 9), 0).with(3, 0, (2, 5), &piece(0, &[(0, 8)], 20));
        assert_eq!(groups(&root, &listing, &[&lane]), [(0, 1)]);
    }
}
