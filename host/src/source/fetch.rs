//! Ranges of one version of one object, from its store.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::GetOptions;
use object_store::path::Path;
use tokio::runtime::Handle;

use super::{Object, SourceError};
use crate::format::{AsyncRanges, Edges, REQUEST_BYTES, Ranges, Unread};
use crate::store::Store;

/// Ranges that are closer than this are read as one.
const GAP_BYTES: u64 = 256 * 1024;
/// Requests for one object at a time.
const REQUESTS_MAX: usize = 8;
/// Times that a failed request is sent again, each after twice the pause of the one before.
const RETRIES_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Reads ranges of one version of one object.
#[derive(Clone, Debug)]
pub struct Fetch {
    store: Store,
    object: Object,
    /// Bytes that were read already, by where they begin.
    kept: Vec<(u64, Bytes)>,
}

impl Fetch {
    /// Reads of `object`, which must stay as it was listed.
    pub fn new(store: &Store, object: &Object) -> Fetch {
        Fetch { store: store.clone(), object: object.clone(), kept: Vec::new() }
    }

    /// The bytes of each range, in order. Neighbours are joined into one request.
    pub async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, SourceError> {
        self.parts(ranges, join_near).await
    }

    /// The first and the last bytes, which are kept for later.
    pub(super) async fn edges(&mut self) -> Result<Edges, SourceError> {
        if self.object.size == 0 {
            return Ok(Edges::default());
        }
        let edges = Edges::of(self.object.size);
        let (joined, parts) = self.joined(join_near(&edges)).await?;
        self.kept = joined.into_iter().map(|range| range.start).zip(parts).collect();
        let [head, tail] = self.ranges(&edges).await?.try_into().expect("two ranges");
        Ok(Edges { head, tail })
    }

    /// Forgets what was read.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    async fn parts(&self, ranges: &[Range<u64>], join: Join) -> Result<Vec<Bytes>, SourceError> {
        match ranges.iter().map(|range| self.kept(range)).collect() {
            Some(kept) => Ok(kept),
            None => {
                let (joined, parts) = self.joined(join(ranges)).await?;
                Ok(ranges.iter().map(|range| cut(range, &joined, &parts)).collect())
            }
        }
    }

    fn kept(&self, range: &Range<u64>) -> Option<Bytes> {
        let holds = |(start, bytes): &&(u64, Bytes)| *start <= range.start && range.end <= start + bytes.len() as u64;
        let (start, bytes) = self.kept.iter().find(holds)?;
        Some(bytes.slice((range.start - start) as usize..(range.end - start) as usize))
    }

    async fn joined(&self, joined: Vec<Range<u64>>) -> Result<(Vec<Range<u64>>, Vec<Bytes>), SourceError> {
        let requests: Vec<_> = joined.iter().cloned().map(|range| self.range(range)).collect();
        let parts: Vec<Bytes> = futures::stream::iter(requests)
            .buffered(REQUESTS_MAX)
            .try_collect()
            .await
            .map_err(|cause| SourceError::from_store(&self.object.path, cause))?;
        Ok((joined, parts))
    }

    /// A request that fails is sent again: the decoder that waits for its bytes keeps what it has, so no row is read or
    /// given out twice.
    async fn range(&self, range: Range<u64>) -> object_store::Result<Bytes> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..RETRIES_MAX {
            match self.request(range.clone()).await {
                Err(error) if is_transient(&error) => {
                    tracing::warn!(object = %self.object.path, %error, "the store failed, asking again");
                    self.store.pause(pause).await;
                    pause *= 2;
                }
                result => return result,
            }
        }
        self.request(range).await
    }

    async fn request(&self, range: Range<u64>) -> object_store::Result<Bytes> {
        let path = Path::parse(self.object.path.as_ref())?;
        let wanted = range.end - range.start;
        let options = GetOptions::new().with_range(Some(range)).with_if_match(self.object.etag.clone());
        let bytes = self.store.objects().get_opts(&path, options).await?.bytes().await?;
        if bytes.len() as u64 == wanted {
            return Ok(bytes);
        }
        let source = "the store gave fewer bytes than it was asked for".into();
        Err(object_store::Error::Precondition { path: path.to_string(), source })
    }
}

impl AsyncRanges for Fetch {
    fn name(&self) -> &str {
        &self.object.path
    }

    fn size(&self) -> u64 {
        self.object.size
    }

    fn version(&self) -> String {
        // Where files are copied with their times, they keep these and nothing else.
        let tag = self.object.etag.clone().filter(|_| self.store.local_root().is_none());
        tag.unwrap_or_else(|| self.object.modified_ms.to_string())
    }

    fn get<'a>(&'a self, ranges: &'a [Range<u64>]) -> BoxFuture<'a, Result<Vec<Bytes>, Unread>> {
        self.ranges(ranges).map_err(Unread::from).boxed()
    }
}

/// The same for a thread that waits.
pub(super) struct Waiting {
    pub fetch: Arc<Fetch>,
    /// Where requests run.
    pub runtime: Handle,
}

impl Ranges for Waiting {
    fn size(&self) -> u64 {
        self.fetch.object.size
    }

    fn wait(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Unread> {
        let fetch = &self.fetch;
        Ok(fetch.store.wait(&self.runtime, fetch.parts(ranges, join_close))?)
    }
}

fn is_transient(error: &object_store::Error) -> bool {
    use object_store::Error::{NotFound, PermissionDenied, Precondition, Unauthenticated};
    !matches!(error, NotFound { .. } | Precondition { .. } | PermissionDenied { .. } | Unauthenticated { .. })
}

/// Ranges that are asked for become requests.
type Join = fn(&[Range<u64>]) -> Vec<Range<u64>>;

/// Sorted, joined where they overlap or nearly touch.
fn join_near(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    join_if(ranges, |last, next| next.start <= last.end.saturating_add(GAP_BYTES))
}

/// The same, but no more is between them than what lies behind, and requests that can be several are.
fn join_close(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    join_if(ranges, |last, next| {
        let gap = GAP_BYTES.min(next.end - next.start);
        next.start <= last.end.saturating_add(gap) && next.end - last.start <= REQUEST_BYTES
    })
}

fn join_if(ranges: &[Range<u64>], are_near: impl Fn(&Range<u64>, &Range<u64>) -> bool) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(last) if are_near(last, &range) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn cut(range: &Range<u64>, joined: &[Range<u64>], parts: &[Bytes]) -> Bytes {
    let index = joined.partition_point(|part| part.start <= range.start) - 1;
    let offset = (range.start - joined[index].start) as usize;
    parts[index].slice(offset..offset + (range.end - range.start) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_become_one_request() {
        let far = GAP_BYTES * 10;
        let ranges = [far..far + 5, 0..10, 20..30];
        let joined = join_near(&ranges);
        assert_eq!(joined, [0..30, far..far + 5]);
        assert_eq!(join_close(&[0..10, 20..30, 45..50]), [0..30, 45..50]);
        let whole = [0..REQUEST_BYTES, REQUEST_BYTES..REQUEST_BYTES + 5];
        assert_eq!(join_close(&whole), whole);
        let parts: Vec<Bytes> = vec![Bytes::from((0..30u8).collect::<Vec<_>>()), Bytes::from_static(b"abcde")];
        assert_eq!(cut(&(20..30), &joined, &parts), Bytes::from((20..30u8).collect::<Vec<_>>()));
        assert_eq!(cut(&(far..far + 5), &joined, &parts), Bytes::from_static(b"abcde"));
    }
}
