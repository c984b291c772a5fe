//! A checkpoint as bytes: entries and side files by name, put into a store in memory. What they mean is not known here.

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use wasmpipe::commit::number_name;
use wasmpipe::store::Store;

use crate::{frozen, plain};

/// The most documents that bytes are cut into.
const DOCUMENTS_MAX: usize = 48;
/// The longest hole, longer than what is read at a time. Longer ones only take longer.
const HOLE_MAX: u64 = 300;
/// What ends a document. JSON has no such byte.
const END: u8 = 0;

#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoint {
    /// Entries of the root, by number.
    pub(crate) root: Vec<Bytes>,
    /// Entries by lane and number.
    pub(crate) lanes: BTreeMap<u32, BTreeMap<u64, Bytes>>,
    /// Side files by name.
    pub(crate) side: BTreeMap<String, Bytes>,
}

impl Checkpoint {
    pub(crate) fn of_entries(data: &[u8]) -> Checkpoint {
        let Checkpoint { mut root, mut side, .. } = plain::checkpoint();
        root.truncate(1);
        side.extend(frozen::side());
        let mut checkpoint = Checkpoint { root, lanes: BTreeMap::new(), side };
        let mut next: BTreeMap<u32, u64> = BTreeMap::new();
        for document in data.split(|byte| *byte == END).take(DOCUMENTS_MAX) {
            let Some((place, rest)) = document.split_first() else { continue };
            let body = Bytes::copy_from_slice(rest);
            match place {
                b'g' => checkpoint.root[0] = body,
                b'r' => checkpoint.root.push(body),
                b'0'..=b'9' => {
                    let (lane, next) = lane(*place, &mut next);
                    checkpoint.lanes.entry(lane).or_default().insert(*next, body);
                    *next += 1;
                }
                b'h' => {
                    let Some((place @ b'0'..=b'9', digits)) = rest.split_first() else { continue };
                    let hole = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
                    *lane(*place, &mut next).1 += hole.unwrap_or(1).min(HOLE_MAX);
                }
                _ => {}
            }
        }
        checkpoint
    }

    /// The same as bytes that [`Checkpoint::of_entries`] reads.
    pub(crate) fn to_entries(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut push = |place: &[u8], body: &[u8]| {
            data.extend_from_slice(place);
            data.extend_from_slice(body);
            data.push(END);
        };
        for (at, entry) in self.root.iter().enumerate() {
            push(if at == 0 { b"g" } else { b"r" }, entry);
        }
        for (lane, entries) in &self.lanes {
            let mut next = 0;
            for (number, entry) in entries {
                if *number > next {
                    push(b"h", format!("{lane}{}", number - next).as_bytes());
                }
                push(lane.to_string().as_bytes(), entry);
                next = number + 1;
            }
        }
        data
    }

    /// The same without what lanes hold at `number` and above.
    pub(crate) fn below(&self, number: u64) -> Checkpoint {
        let mut below = self.clone();
        below.lanes.values_mut().for_each(|entries| drop(entries.split_off(&number)));
        below
    }

    pub(crate) async fn store(&self) -> Store {
        let store = Store::memory("checkpoint");
        for (number, entry) in (0..).zip(&self.root) {
            put(&store, format!("root/{}", number_name(number)), entry).await;
        }
        for (lane, entries) in &self.lanes {
            for (number, entry) in entries {
                put(&store, format!("lane/{lane}/{}", number_name(*number)), entry).await;
            }
        }
        for (name, bytes) in &self.side {
            put(&store, name.clone(), bytes).await;
        }
        store
    }
}

fn lane(digit: u8, next: &mut BTreeMap<u32, u64>) -> (u32, &mut u64) {
    let lane = u32::from(digit - b'0');
    (lane, next.entry(lane).or_default())
}

async fn put(store: &Store, name: String, bytes: &Bytes) {
    let put = store.objects().put(&Path::from(name), PutPayload::from(bytes.clone())).await;
    put.expect("memory takes everything");
}
