//! Arrays taken apart: nodes and buffers, each starting at the array's own first value. Nothing is copied but offsets
//! and bits of arrays that are slices of larger ones.

use std::sync::LazyLock;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, OffsetSizeTrait, downcast_primitive_array};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_schema::DataType;

use crate::{Defect, Node};

/// Columns taken apart.
#[derive(Clone, Debug, Default)]
pub struct Flat {
    /// Each array and its children, in pre-order.
    pub nodes: Vec<Node>,
    /// For each of them the validity bitmap (no byte if nothing is null) and what its type has beside it.
    pub buffers: Vec<Buffer>,
}

impl Flat {
    /// The bytes of the buffers, as they cross.
    pub fn bytes(&self) -> Vec<&[u8]> {
        self.buffers.iter().map(Buffer::as_slice).collect()
    }
}

/// Takes columns apart. They have types that cross, and fewer than 2^32 values each.
pub fn flatten(columns: &[ArrayRef]) -> Result<Flat, Defect> {
    let mut flat = Flat { nodes: Vec::with_capacity(columns.len()), buffers: Vec::with_capacity(3 * columns.len()) };
    columns.iter().try_for_each(|column| flat.add(column))?;
    Ok(flat)
}

impl Flat {
    fn add(&mut self, array: &ArrayRef) -> Result<(), Defect> {
        let length = u32::try_from(array.len()).map_err(|_| format!("has {} values in one array", array.len()))?;
        let nulls = match array.data_type() {
            DataType::Null => array.len(),
            _ => array.null_count(),
        };
        self.nodes.push(Node { length, nulls: nulls as u32 });
        if *array.data_type() == DataType::Null {
            return Ok(());
        }
        self.buffers.push(validity(array));
        match array.data_type() {
            DataType::Boolean => self.buffers.push(array.as_boolean().values().sliced()),
            DataType::Utf8 => self.add_bytes(array.as_string::<i32>().offsets(), array.as_string::<i32>().values()),
            DataType::LargeUtf8 => {
                self.add_bytes(array.as_string::<i64>().offsets(), array.as_string::<i64>().values())
            }
            DataType::Binary => self.add_bytes(array.as_binary::<i32>().offsets(), array.as_binary::<i32>().values()),
            DataType::LargeBinary => {
                self.add_bytes(array.as_binary::<i64>().offsets(), array.as_binary::<i64>().values());
            }
            DataType::List(_) => {
                return self.add_list(array.as_list::<i32>().offsets(), array.as_list::<i32>().values());
            }
            DataType::LargeList(_) => {
                return self.add_list(array.as_list::<i64>().offsets(), array.as_list::<i64>().values());
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
                return self.add_list(map.offsets(), &entries);
            }
            DataType::FixedSizeList(..) => return self.add(array.as_fixed_size_list().values()),
            DataType::Struct(_) => return array.as_struct().columns().iter().try_for_each(|child| self.add(child)),
            _ => self.add_values(array)?,
        }
        Ok(())
    }

    fn add_bytes<O: OffsetSizeTrait>(&mut self, offsets: &OffsetBuffer<O>, values: &Buffer) {
        let (first, last) = ends(offsets);
        self.buffers.push(from_zero(offsets));
        self.buffers.push(values.slice_with_length(first, last - first));
    }

    fn add_list<O: OffsetSizeTrait>(&mut self, offsets: &OffsetBuffer<O>, values: &ArrayRef) -> Result<(), Defect> {
        let (first, last) = ends(offsets);
        self.buffers.push(from_zero(offsets));
        self.add(&values.slice(first, last - first))
    }

    /// Values of one width, in one buffer.
    fn add_values(&mut self, array: &ArrayRef) -> Result<(), Defect> {
        let values = downcast_primitive_array! {
            array => {
                let values = array.values();
                values.inner().slice_with_length(0, std::mem::size_of_val(&values[..]))
            },
            DataType::FixedSizeBinary(size) => {
                array.as_fixed_size_binary().values().slice_with_length(0, array.len() * *size as usize)
            },
            other => return Err(format!("has the type {other}, which does not cross")),
        };
        self.buffers.push(values);
        Ok(())
    }
}

/// A buffer without a byte, made once.
static NOTHING: LazyLock<Buffer> = LazyLock::new(|| Buffer::from_vec(Vec::<u8>::new()));

fn validity(array: &ArrayRef) -> Buffer {
    match array.nulls() {
        Some(nulls) if nulls.null_count() > 0 => nulls.inner().sliced(),
        _ => NOTHING.clone(),
    }
}

// An `OffsetBuffer` holds one offset at least.
fn ends<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (usize, usize) {
    (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize())
}

fn from_zero<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> Buffer {
    let first = offsets[0];
    match first.as_usize() {
        0 => offsets.inner().inner().clone(),
        _ => Buffer::from_vec(offsets.iter().map(|offset| *offset - first).collect::<Vec<O>>()),
    }
}
