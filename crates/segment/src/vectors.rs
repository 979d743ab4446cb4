//! The vectors of one field: a column without its null rows, and which rows those were.

use std::{borrow::Cow, ops::Range, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray,
    Float16Array, Float32Array, Int8Array, UInt32Array, new_null_array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_select::{interleave::interleave, take::take};
use half::{bf16, slice::HalfBitsSliceExt};
use holdfast_index::{BitSet, Neighbor, SparseRows, VectorData};
use holdfast_types::{DataType, FieldSchema, columns};
use roaring::RoaringBitmap;

use crate::{SegmentError, fields::downcast};

/// Vectors of some rows of a segment. "Position" counts vectors, "row" counts rows, null ones included.
#[derive(Clone, Debug)]
pub(crate) struct VectorColumn {
    data_type: DataType,
    dim: usize,
    /// Row of each position, ascending; `None` when every row has a vector.
    rows: Option<UInt32Array>,
    /// One vector per position, no nulls.
    values: ArrayRef,
    /// The same as numbers, for bfloat16, which Arrow knows as bytes only.
    bits: Option<ScalarBuffer<u16>>,
    /// Rows, null ones included.
    len: usize,
}

impl VectorColumn {
    /// From a column with one slot per row. Copies only when there are nulls.
    pub(crate) fn from_rows(field: &FieldSchema, column: &ArrayRef) -> Result<Self, SegmentError> {
        let len = column.len();
        if column.null_count() == 0 {
            return Self::new(field, column.clone(), None, len);
        }
        let rows: UInt32Array = (0..len)
            .filter(|row| column.is_valid(*row))
            .map(|row| row as u32)
            .collect::<Vec<u32>>()
            .into();
        let values = take(column, &rows, None)?;
        Self::new(field, values, Some(rows), len)
    }

    /// No row of `len` has a vector.
    pub(crate) fn all_null(field: &FieldSchema, len: usize) -> Result<Self, SegmentError> {
        let values = new_null_array(&columns::arrow_type(field), 0);
        Self::new(
            field,
            values,
            Some(UInt32Array::from(Vec::<u32>::new())),
            len,
        )
    }

    /// From vectors without nulls and their rows, which ascend below `len`.
    pub(crate) fn new(
        field: &FieldSchema,
        values: ArrayRef,
        rows: Option<UInt32Array>,
        len: usize,
    ) -> Result<Self, SegmentError> {
        let wrong = |problem: String| Err(SegmentError::Internal(problem));
        if values.data_type() != &columns::arrow_type(field) || values.null_count() > 0 {
            return wrong(format!(
                "vectors of field {} are {} with {} nulls",
                field.id,
                values.data_type(),
                values.null_count()
            ));
        }
        match &rows {
            None if values.len() != len => {
                return wrong(format!("{} vectors for {len} rows", values.len()));
            }
            Some(rows)
                if rows.len() != values.len()
                    || rows.null_count() > 0
                    || rows.values().windows(2).any(|pair| pair[0] >= pair[1])
                    || rows.values().last().is_some_and(|row| *row as usize >= len) =>
            {
                return wrong("the rows of a nullable vector do not ascend".to_owned());
            }
            _ => {}
        }
        let column = Self {
            data_type: field.data_type,
            dim: field.dim.unwrap_or(0) as usize,
            bits: half_bits(field.data_type, &*values)?,
            rows,
            values,
            len,
        };
        // Fails here, once, and not in each search.
        column.data()?;
        Ok(column)
    }

    /// Rows, null ones included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Number of vectors.
    pub(crate) fn positions(&self) -> usize {
        self.values.len()
    }

    /// Row of each position; `None` when they are the same.
    pub(crate) fn rows(&self) -> Option<&[u32]> {
        self.rows.as_ref().map(|rows| &rows.values()[..])
    }

    /// The vectors without nulls.
    pub(crate) fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// The position of a row's vector.
    pub(crate) fn position(&self, row: u32) -> Option<u32> {
        match self.rows() {
            None => Some(row),
            Some(rows) => rows.binary_search(&row).ok().map(|i| i as u32),
        }
    }

    /// The rows without a vector.
    pub(crate) fn null_rows(&self) -> RoaringBitmap {
        let mut null = RoaringBitmap::new();
        if let Some(rows) = self.rows() {
            null.insert_range(0..self.len as u32);
            null -= rows.iter().copied().collect::<RoaringBitmap>();
        }
        null
    }

    /// A column over these rows whose values mean nothing, and which is null where there is no vector.
    pub(crate) fn presence(&self, rows: Range<usize>) -> ArrayRef {
        let len = rows.len();
        let nulls = self.rows().map(|own| {
            let first = own.partition_point(|row| (*row as usize) < rows.start);
            let mut there = vec![false; len];
            for row in own[first..]
                .iter()
                .take_while(|row| (**row as usize) < rows.end)
            {
                there[*row as usize - rows.start] = true;
            }
            NullBuffer::from(there)
        });
        Arc::new(BooleanArray::new(BooleanBuffer::new_unset(len), nulls))
    }

    /// The vectors as the index room reads them.
    pub(crate) fn data(&self) -> Result<VectorData<'_>, SegmentError> {
        let dim = self.dim;
        let values = &*self.values;
        Ok(match self.data_type {
            DataType::FloatVector => VectorData::F32 {
                dim,
                data: downcast::<Float32Array>(list_values(values)?)?.values(),
            },
            DataType::Float16Vector => VectorData::F16 {
                dim,
                data: downcast::<Float16Array>(list_values(values)?)?.values(),
            },
            DataType::Int8Vector => VectorData::I8 {
                dim,
                data: downcast::<Int8Array>(list_values(values)?)?.values(),
            },
            DataType::BFloat16Vector => VectorData::Bf16 {
                dim,
                data: self
                    .bits
                    .as_deref()
                    .unwrap_or_default()
                    .reinterpret_cast::<bf16>(),
            },
            DataType::BinaryVector => VectorData::Binary {
                dim,
                data: downcast::<FixedSizeBinaryArray>(values)?.value_data(),
            },
            DataType::SparseFloatVector => {
                let bytes: &BinaryArray = downcast(values)?;
                let rows = SparseRows::new(bytes.value_offsets(), bytes.value_data())
                    .map_err(|e| SegmentError::Internal(e.to_string()))?;
                VectorData::Sparse(rows)
            }
            other => {
                return Err(SegmentError::Internal(format!("{other} is no vector type")));
            }
        })
    }

    /// The allowed rows as allowed positions.
    pub(crate) fn allowed_positions<'a>(&self, rows: &'a BitSet) -> Cow<'a, BitSet> {
        let Some(own) = self.rows() else {
            return Cow::Borrowed(rows);
        };
        let mut positions = BitSet::new(own.len());
        for (position, row) in own.iter().enumerate() {
            if rows.get(*row as usize) {
                positions.set(position);
            }
        }
        Cow::Owned(positions)
    }

    /// Turns positions into rows. Their order, by distance then position, stays right.
    pub(crate) fn to_rows(&self, mut found: Vec<Neighbor>) -> Vec<Neighbor> {
        if let Some(rows) = self.rows() {
            for neighbor in &mut found {
                neighbor.row = rows[neighbor.row as usize];
            }
        }
        found
    }

    /// Bytes that the vectors take.
    pub(crate) fn bytes(&self) -> usize {
        let rows = self.rows.as_ref().map_or(0, |rows| rows.len() * 4);
        rows + array_bytes(&*self.values)
    }
}

/// The bytes of bfloat16 vectors as aligned 16-bit numbers.
fn half_bits(
    data_type: DataType,
    values: &dyn Array,
) -> Result<Option<ScalarBuffer<u16>>, SegmentError> {
    if data_type != DataType::BFloat16Vector {
        return Ok(None);
    }
    let bytes: &FixedSizeBinaryArray = downcast(values)?;
    let width = bytes.value_length() as usize;
    let data = bytes.to_data();
    let mut buffer = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
    // Arrow may place bytes anywhere.
    if !(buffer.as_ptr() as usize).is_multiple_of(align_of::<u16>()) {
        buffer = Buffer::from_slice_ref(buffer.as_slice());
    }
    Ok(Some(ScalarBuffer::from(buffer)))
}

fn list_values(values: &dyn Array) -> Result<&dyn Array, SegmentError> {
    let list: &FixedSizeListArray = downcast(values)?;
    Ok(&**list.values())
}

/// The vectors of these rows, in this order, from parts that start at these rows.
pub(crate) fn gather(
    field: &FieldSchema,
    parts: &[(usize, &VectorColumn)],
    rows: &[u32],
) -> Result<ArrayRef, SegmentError> {
    let arrow_type = columns::arrow_type(field);
    if rows.is_empty() {
        return Ok(new_null_array(&arrow_type, 0));
    }
    let null = new_null_array(&arrow_type, 1);
    let mut arrays: Vec<&dyn Array> = parts.iter().map(|(_, part)| &**part.values()).collect();
    arrays.push(&*null);
    let addresses: Vec<(usize, usize)> = rows
        .iter()
        .map(|row| {
            let at = *row as usize;
            let part = parts
                .partition_point(|(base, _)| *base <= at)
                .checked_sub(1);
            let found = part.and_then(|part| {
                let (base, vectors) = parts[part];
                let position = vectors.position(u32::try_from(at - base).ok()?)?;
                ((position as usize) < vectors.positions()).then_some((part, position as usize))
            });
            found.unwrap_or((parts.len(), 0))
        })
        .collect();
    Ok(interleave(&arrays, &addresses)?)
}

/// Bytes of the part of its buffers that an array uses.
pub(crate) fn array_bytes(array: &dyn Array) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| {
        // Only for layouts that segments never hold; their capacity is an upper bound.
        array.get_array_memory_size()
    })
}
