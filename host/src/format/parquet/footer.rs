//! What stands at a file's end: its row groups and columns.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::DecodeResult;
use parquet::file::metadata::ParquetStatisticsPolicy::{KeepAll, SkipAll};
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataPushDecoder,
    ParquetStatisticsPolicy, RowGroupMetaData,
};

use super::{bad, get, pages, thrift};
use crate::format::{AsyncRanges, Edges, FormatError, sniff};
use crate::panics::guarded;

/// Reads it.
pub(super) async fn read(ranges: &dyn AsyncRanges, edges: &Edges) -> Result<Footer, FormatError> {
    let (size, tail) = (ranges.size(), &edges.tail);
    if size < SMALLEST_BYTES || !tail.ends_with(MAGIC) {
        return Err(is_another(sniff::no_parquet(&edges.head, tail)));
    }
    let footer = footer_range(tail, size).ok_or_else(|| is_another(sniff::CUT))?;
    let bytes = get(ranges, std::slice::from_ref(&footer)).await?.remove(0);
    let identity = (footer.start < size.saturating_sub(Edges::BYTES)).then(|| bytes.clone());
    // Behind it stand its own length and the magic.
    if !thrift::is_struct(&bytes[..bytes.len().saturating_sub(8)]) {
        return Err(bad("its footer is not what a footer is"));
    }
    let depth = thrift::schema_depth(&bytes);
    if depth > DEPTH_MAX {
        let message = format!("its columns are nested {depth} levels deep; at most {DEPTH_MAX} are read");
        let hint = "where it is written, put what lies so deep into fewer levels, or into text as JSON";
        return Err(FormatError::Bad { message, hint });
    }
    let encrypted = thrift::encrypted_columns(&bytes);
    let metadata = decode(ranges, footer, bytes).await?;
    let rows = count_rows(&metadata).map_err(bad)?;
    Ok(Footer { metadata, rows, identity, encrypted })
}

/// It is no Parquet file that can be read, but nothing is wrong with it.
fn is_another(kind: sniff::Kind) -> FormatError {
    FormatError::Bad { message: format!("it {}", kind.is), hint: kind.hint }
}

/// Levels of a schema; pyarrow reads no more either, and each takes a piece of the stack.
const DEPTH_MAX: usize = 100;

/// What is at a file's end.
pub(super) struct Footer {
    pub metadata: ParquetMetaData,
    /// In all.
    pub rows: u64,
    /// Its bytes, if they are not at the file's edges.
    pub identity: Option<Bytes>,
    /// Leaves that are encrypted.
    pub encrypted: Vec<usize>,
}

/// Of a file without a row: magic, an empty footer, its length, magic.
const SMALLEST_BYTES: u64 = 12;
const MAGIC: &[u8] = b"PAR1";

/// Statistics that cannot be read are done without.
async fn decode(ranges: &dyn AsyncRanges, range: Range<u64>, bytes: Bytes) -> Result<ParquetMetaData, FormatError> {
    let footer = (range, bytes);
    let metadata = match decode_with(ranges, &footer, KeepAll).await {
        Err(FormatError::Bad { message, .. }) => {
            let metadata = decode_with(ranges, &footer, SkipAll).await?;
            tracing::warn!(object = ranges.name(), message, "its statistics are wrong, it is read without them");
            metadata
        }
        result => result?,
    };
    Ok(pages::mended(metadata))
}

async fn decode_with(
    ranges: &dyn AsyncRanges,
    (range, bytes): &(Range<u64>, Bytes),
    statistics: ParquetStatisticsPolicy,
) -> Result<ParquetMetaData, FormatError> {
    let decoder = ParquetMetaDataPushDecoder::try_new(ranges.size()).map_err(bad)?;
    let options = ParquetMetaDataOptions::new().with_column_stats_policy(statistics);
    let mut decoder =
        decoder.with_page_index_policy(PageIndexPolicy::Skip).with_metadata_options(Some(Arc::new(options)));
    decoder.push_ranges(vec![range.clone()], vec![bytes.clone()]).map_err(bad)?;
    loop {
        let decoded = guarded(|| decoder.try_decode()).map_err(bad)?;
        match decoded.map_err(bad)? {
            DecodeResult::NeedsData(wanted) => {
                let bytes = get(ranges, &wanted).await?;
                decoder.push_ranges(wanted, bytes).map_err(bad)?;
            }
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::Finished => return Err(bad("the footer ended early")),
        }
    }
}

/// Where the footer lies by its own length, the last four bytes but four, with these and the magic.
fn footer_range(tail: &[u8], size: u64) -> Option<Range<u64>> {
    let length = tail.last_chunk::<8>().map_or(0, |end| u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    Some(size.checked_sub(u64::from(length) + 8)?..size)
}

/// Rows of all row groups, which must be what the footer says in all.
fn count_rows(metadata: &ParquetMetaData) -> Result<u64, String> {
    let groups = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok());
    let rows: Option<u64> = groups.sum();
    let said = metadata.file_metadata().num_rows();
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns().iter().map(move |chunk| (group, chunk)));
    let is_other = |(group, chunk): &(&RowGroupMetaData, &ColumnChunkMetaData)| {
        chunk.column_descr().max_rep_level() == 0 && chunk.num_values() != group.num_rows()
    };
    if let Some((group, chunk)) = chunks.into_iter().find(is_other) {
        let (values, rows, column) = (chunk.num_values(), group.num_rows(), chunk.column_path().string());
        return Err(format!("the footer says {values} values of column `{column}` where there are {rows} rows"));
    }
    match rows {
        Some(rows) if u64::try_from(said) == Ok(rows) => Ok(rows),
        _ => Err(format!("the footer says {said} rows, its row groups say otherwise")),
    }
}
