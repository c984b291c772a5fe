//! Blocks of ids to ask for, half or none of which are in the set.

use crate::kinds::{COLUMN, HOSTS, Kind, Owned, mix};

/// Places in the set from which blocks in input order come, and blocks from each.
const PLACES: u64 = 16;
const BLOCKS_AT_PLACE: u64 = 16;
/// Of URLs, which are sorted as text.
const URL_PLACES: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As a source in order of its ids has them. Of kinds that count: half a block done, as many from behind the last one done.
    /// Of random kinds: neighbours among twice as many ids, each of which is in the set or not, at random.
    Input,
    /// From all over the set.
    Random,
    /// In no order, none in the set.
    New,
}

pub(crate) struct Questions {
    kind: Kind,
    ids: u64,
    order: Order,
    /// Of random kinds in input order.
    sorted: Vec<u64>,
}

impl Questions {
    pub(crate) fn new(kind: Kind, ids: u64, order: Order) -> Questions {
        let sorted = match (order, kind) {
            (Order::Random | Order::New, _) | (_, Kind::Sequential | Kind::Text | Kind::Shard) => Vec::new(),
            (Order::Input, Kind::Random | Kind::Uuid) => sorted_by_key(kind, ids),
            (Order::Input, Kind::Url) => sorted_urls(ids),
        };
        Questions { kind, ids, order, sorted }
    }

    pub(crate) fn blocks(&self) -> u64 {
        if self.sorted.is_empty() { PLACES * BLOCKS_AT_PLACE } else { self.sorted.len() as u64 / COLUMN }
    }

    /// A block's ids by their number: what is below the size of the set is in it.
    pub(crate) fn numbers(&self, block: u64) -> Vec<u64> {
        let rows = 0..COLUMN;
        match self.order {
            Order::Random => return rows.map(|row| mix(mix(block) ^ row) % (2 * self.ids)).collect(),
            Order::New => return rows.map(|row| self.ids + mix(mix(block) ^ row) % self.ids).collect(),
            Order::Input => {}
        }
        if !self.kind.is_ordered() {
            return self.sorted[(block * COLUMN) as usize..][..COLUMN as usize].to_vec();
        }
        let half = COLUMN / 2;
        let from = block * (self.ids.saturating_sub(half) / self.blocks());
        rows.map(|row| if row < half { from + row } else { self.ids + from + row - half }).collect()
    }

    pub(crate) fn ids(&self, numbers: &[u64]) -> Owned {
        self.kind.column(numbers.iter().copied())
    }

    pub(crate) fn is_in_set(&self, number: u64) -> bool {
        number < self.ids
    }
}

/// At each place so many ids that are next to each other in their order.
fn sorted_by_key(kind: Kind, ids: u64) -> Vec<u64> {
    let apart = u64::MAX / PLACES;
    // A few more than are needed, since they are spread by chance.
    let share = (BLOCKS_AT_PLACE * COLUMN) as f64 * 1.01 / (2.0 * ids as f64);
    let width = (share * u64::MAX as f64).min(apart as f64) as u64;
    let mut chosen: Vec<(u64, u64)> =
        (0..2 * ids).map(|number| (kind.key(number), number)).filter(|(key, _)| key % apart < width).collect();
    chosen.sort_unstable();
    chosen.into_iter().map(|(_, number)| number).collect()
}

/// All URLs of hosts that are next to each other.
fn sorted_urls(ids: u64) -> Vec<u64> {
    let mut hosts: Vec<String> = (0..HOSTS).map(|host| format!("{host}.")).collect();
    hosts.sort();
    let hosts_at_place = (BLOCKS_AT_PLACE * COLUMN).div_ceil((2 * ids).div_ceil(HOSTS));
    let mut sorted = Vec::new();
    for place in 0..URL_PLACES {
        let from = (place * HOSTS / URL_PLACES) as usize;
        let of_place = &hosts[from..(from + hosts_at_place as usize).min(hosts.len())];
        let hosts = of_place.iter().map(|host| host.trim_end_matches('.').parse().expect("a number"));
        let mut urls: Vec<u64> = hosts.flat_map(|host: u64| (host..2 * ids).step_by(HOSTS as usize)).collect();
        urls.sort_by_cached_key(|number| match Kind::Url.column([*number].into_iter()) {
            Owned::Strings { bytes, .. } => bytes,
            Owned::Numbers(_) => unreachable!("a URL is a string"),
        });
        sorted.extend(urls);
    }
    sorted
}
