//! One Parquet object: its footer, its digest, and its row groups, which are the units of work.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, SchemaRef};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::GetOptions;
use object_store::path::Path;
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetStatisticsPolicy::{KeepAll, SkipAll};
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataPushDecoder, ParquetStatisticsPolicy,
};
use parquet::file::statistics::Statistics;
use tokio::runtime::Handle;

use super::pages::{self, first_byte};
use super::readings::Readings;
use super::{Object, SourceError, sniff, thrift};
use crate::annotations;
use crate::columns;
use crate::panics::guarded;
use crate::store::Store;

/// Bytes at either end of an object that go into its digest, and of the first read of a footer.
const EDGE_BYTES: u64 = 64 * 1024;
/// Ranges that are closer than this are read as one.
const GAP_BYTES: u64 = 256 * 1024;
/// Of what is read row by row, a request asks for no more: several at a time are faster, and memory is free again sooner.
pub(super) const REQUEST_BYTES: u64 = 8 << 20;
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

    /// The bytes of each range, in order, for a thread that may wait. Of what is kept in memory with them, and is not asked
    /// for, there is no more than of what is.
    pub fn wait_for(&self, ranges: &[Range<u64>], runtime: &Handle) -> Result<Vec<Bytes>, SourceError> {
        self.store.wait(runtime, self.parts(ranges, join_close))
    }

    /// The bytes of each range, in order. Neighbours are joined into one request.
    pub async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, SourceError> {
        self.parts(ranges, join_near).await
    }

    async fn parts(&self, ranges: &[Range<u64>], join: Join) -> Result<Vec<Bytes>, SourceError> {
        self.refuse_beyond(ranges)?;
        match ranges.iter().map(|range| self.kept(range)).collect() {
            Some(kept) => Ok(kept),
            None => {
                let (joined, parts) = self.joined(join(ranges)).await?;
                Ok(ranges.iter().map(|range| cut(range, &joined, &parts)).collect())
            }
        }
    }

    /// What a file says may lie anywhere.
    pub(super) fn refuse_beyond(&self, ranges: &[Range<u64>]) -> Result<(), SourceError> {
        let size = self.object.size;
        let beyond = ranges.iter().find(|range| range.start > range.end || range.end > size);
        beyond.map_or(Ok(()), |range| {
            let message = format!("its footer names bytes {} to {}, of {size}", range.start, range.end);
            Err(SourceError::bad(&self.object.path, message))
        })
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

/// An object whose footer was read and whose columns fit the job.
#[derive(Debug)]
pub struct Opened {
    /// As listed.
    pub object: Object,
    /// Place in the run's listing.
    pub index: u32,
    /// Of footer, first and last bytes: the same for a copy of the object.
    pub digest: String,
    /// Rows in all.
    pub rows: u64,
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) readings: Readings,
    pub(super) encrypted: Vec<usize>,
    pub(super) fetch: Fetch,
}

/// One row group.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The object it lies in.
    pub object: Arc<Opened>,
    /// Its ordinal among the row groups.
    pub row_group: usize,
    /// Row ordinals in the object.
    pub rows: Range<u64>,
    /// Where its first byte lies in the object.
    pub first_byte: u64,
}

/// Reads an object's footer and digest.
pub async fn open(store: &Store, object: &Object, index: u32) -> Result<Opened, SourceError> {
    let mut opened = open_to_read(store, object, index).await?;
    opened.fetch.kept.clear();
    Ok(opened)
}

/// As [`open`], for who reads the object's rows at once: what was read for footer and digest is kept, which of a small object
/// is all of it.
pub async fn open_to_read(store: &Store, object: &Object, index: u32) -> Result<Opened, SourceError> {
    let mut fetch = Fetch::new(store, object);
    let Footer { metadata, digest, encrypted } = read_footer(&mut fetch).await?;
    let rows = count_rows(&metadata).map_err(|message| SourceError::bad(&object.path, message))?;
    let readings = Readings::new(Arc::new(metadata)).map_err(|error| SourceError::bad(&object.path, error))?;
    let metadata = readings.once.clone();
    Ok(Opened { object: object.clone(), index, digest, rows, metadata, readings, encrypted, fetch })
}

/// Rows of all row groups, which must be what the footer says in all.
fn count_rows(metadata: &ParquetMetaData) -> Result<u64, String> {
    let groups = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok());
    let rows: Option<u64> = groups.sum();
    let said = metadata.file_metadata().num_rows();
    match rows {
        Some(rows) if u64::try_from(said) == Ok(rows) => Ok(rows),
        _ => Err(format!("the footer says {said} rows, its row groups say otherwise")),
    }
}

/// The schema of an object in plain types.
pub fn schema_of(opened: &Opened) -> SchemaRef {
    columns::plain_schema(&opened.readings.schema)
}

/// Columns that have ordered dictionaries somewhere.
pub fn ordered_columns(opened: &Opened) -> impl Iterator<Item = &str> {
    let is_ordered = |field: &Field| field.dict_is_ordered() == Some(true);
    let fields = opened.readings.original.fields().iter();
    fields.filter(move |field| annotations::any(field, &is_ordered)).map(|field| field.name().as_str())
}

/// The same with everything else that the object says of its columns.
pub fn annotated_schema(opened: &Opened) -> Result<SchemaRef, SourceError> {
    let file = opened.metadata.metadata().file_metadata();
    annotations::annotated(&schema_of(opened), &opened.readings.original, file)
        .map_err(|error| SourceError::bad(&opened.object.path, error))
}

async fn read_footer(fetch: &mut Fetch) -> Result<Footer, SourceError> {
    let size = fetch.object.size;
    let edges = [0..size.min(EDGE_BYTES), size.saturating_sub(EDGE_BYTES)..size];
    if size > 0 {
        let (joined, parts) = fetch.joined(join_near(&edges)).await?;
        fetch.kept = joined.into_iter().map(|range| range.start).zip(parts).collect();
    }
    let edges = if size > 0 { fetch.ranges(&edges).await? } else { vec![Bytes::new(); 2] };
    if size < SMALLEST_BYTES || !edges[1].ends_with(MAGIC) {
        return Err(SourceError::is_another(&fetch.object.path, sniff::no_parquet(&edges[0], &edges[1])));
    }
    let cut = || SourceError::is_another(&fetch.object.path, sniff::CUT);
    let footer = footer_range(&edges[1], size).ok_or_else(cut)?;
    let bytes = fetch.ranges(std::slice::from_ref(&footer)).await?.remove(0);
    let digest = digest(size, &edges, (footer.start < size.saturating_sub(EDGE_BYTES)).then_some(&bytes));
    let depth = thrift::schema_depth(&bytes);
    if depth > DEPTH_MAX {
        let message = format!("its columns are nested {depth} levels deep; at most {DEPTH_MAX} are read");
        let hint = "where it is written, put what lies so deep into fewer levels, or into text as JSON";
        return Err(SourceError::Bad { object: fetch.object.path.to_string(), message, hint });
    }
    let encrypted = thrift::encrypted_columns(&bytes);
    Ok(Footer { metadata: decode_footer(fetch, footer, bytes).await?, digest, encrypted })
}

/// Levels of a schema; pyarrow reads no more either, and each takes a piece of the stack.
const DEPTH_MAX: usize = 100;

/// What is at a file's end.
struct Footer {
    metadata: ParquetMetaData,
    digest: String,
    /// Leaves that are encrypted.
    encrypted: Vec<usize>,
}

/// Of a file without a row: magic, an empty footer, its length, magic.
const SMALLEST_BYTES: u64 = 12;
const MAGIC: &[u8] = b"PAR1";

fn digest(size: u64, edges: &[Bytes], footer: Option<&Bytes>) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(&size.to_le_bytes()).update(&edges[0]).update(&edges[1]);
    if let Some(footer) = footer {
        digest.update(footer);
    }
    digest.finalize().to_hex().to_string()
}

/// Statistics that cannot be read are done without.
async fn decode_footer(fetch: &Fetch, range: Range<u64>, bytes: Bytes) -> Result<ParquetMetaData, SourceError> {
    let footer = (range, bytes);
    let metadata = match decode_with(fetch, &footer, KeepAll).await {
        Err(SourceError::Bad { message, .. }) => {
            let metadata = decode_with(fetch, &footer, SkipAll).await?;
            tracing::warn!(object = &*fetch.object.path, message, "its statistics are wrong, it is read without them");
            metadata
        }
        result => result?,
    };
    Ok(pages::mended(metadata))
}

async fn decode_with(
    fetch: &Fetch,
    (range, bytes): &(Range<u64>, Bytes),
    statistics: ParquetStatisticsPolicy,
) -> Result<ParquetMetaData, SourceError> {
    let path = &fetch.object.path;
    let bad = |error: ParquetError| SourceError::bad(path, error);
    let decoder = ParquetMetaDataPushDecoder::try_new(fetch.object.size).map_err(bad)?;
    let options = ParquetMetaDataOptions::new().with_column_stats_policy(statistics);
    let mut decoder =
        decoder.with_page_index_policy(PageIndexPolicy::Skip).with_metadata_options(Some(Arc::new(options)));
    decoder.push_ranges(vec![range.clone()], vec![bytes.clone()]).map_err(bad)?;
    loop {
        let decoded = guarded(|| decoder.try_decode()).map_err(|words| SourceError::bad(path, words))?;
        match decoded.map_err(bad)? {
            DecodeResult::NeedsData(ranges) => {
                let bytes = fetch.ranges(&ranges).await?;
                decoder.push_ranges(ranges, bytes).map_err(bad)?;
            }
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::Finished => return Err(SourceError::bad(path, "the footer ended early")),
        }
    }
}

/// Where the footer lies by its own length, the last four bytes but four, with these and the magic.
fn footer_range(tail: &[u8], size: u64) -> Option<Range<u64>> {
    let length = tail.last_chunk::<8>().map_or(0, |end| u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    Some(size.checked_sub(u64::from(length) + 8)?..size)
}

impl Opened {
    /// The units, in order.
    pub fn units(self: &Arc<Opened>) -> Vec<Unit> {
        let mut start = 0;
        let mut units = Vec::new();
        for (row_group, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            let end = start + u64::try_from(metadata.num_rows()).unwrap_or(0);
            let first_byte = metadata.columns().iter().map(first_byte).min().unwrap_or(0);
            units.push(Unit { object: Arc::clone(self), row_group, rows: start..end, first_byte });
            start = end;
        }
        units
    }

    /// Nulls in a column as the footer counts them, if it does.
    pub fn nulls(&self, column: &str) -> Option<u64> {
        let schema = self.metadata.parquet_schema();
        let leaf = schema.columns().iter().position(|leaf| leaf.path().parts() == [column.to_string()])?;
        let groups = self.metadata.metadata().row_groups().iter();
        groups.map(|group| group.column(leaf).statistics().and_then(Statistics::null_count_opt)).sum()
    }
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
