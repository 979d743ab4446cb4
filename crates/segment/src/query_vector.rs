//! A stored vector as something to search for.

use arrow_array::{
    Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array,
    Float32Array, Int8Array, cast::AsArray,
};
use half::bf16;
use holdfast_index::QueryVector;
use holdfast_types::{DataType, FieldSchema};

use crate::SegmentError;

/// The vector of one row of a field's column; `None` where the row has none.
///
/// # Errors
/// [`SegmentError::Internal`] when the column is not the field's.
pub fn query_vector(
    column: &ArrayRef,
    row: usize,
    field: &FieldSchema,
) -> Result<Option<QueryVector>, SegmentError> {
    if row >= column.len() {
        return Err(SegmentError::Internal(format!(
            "row {row} of a column of {}",
            column.len()
        )));
    }
    if column.is_null(row) {
        return Ok(None);
    }
    let vector = match field.data_type {
        DataType::FloatVector => list(column, row).and_then(|v| {
            v.as_any()
                .downcast_ref::<Float32Array>()
                .map(|v| QueryVector::F32(v.values().to_vec()))
        }),
        DataType::Float16Vector => list(column, row).and_then(|v| {
            v.as_any()
                .downcast_ref::<Float16Array>()
                .map(|v| QueryVector::F16(v.values().to_vec()))
        }),
        DataType::Int8Vector => list(column, row).and_then(|v| {
            v.as_any()
                .downcast_ref::<Int8Array>()
                .map(|v| QueryVector::I8(v.values().to_vec()))
        }),
        DataType::BFloat16Vector => fixed(column, row).map(|bytes| {
            QueryVector::Bf16(
                bytes
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|b| bf16::from_le_bytes(*b))
                    .collect(),
            )
        }),
        DataType::BinaryVector => {
            fixed(column, row).map(|bytes| QueryVector::Binary(bytes.to_vec()))
        }
        DataType::SparseFloatVector => column.as_any().downcast_ref::<BinaryArray>().map(|c| {
            let pairs = c.value(row).as_chunks::<8>().0;
            QueryVector::Sparse(
                pairs
                    .iter()
                    .map(|p| {
                        let (index, value) = (&p[..4], &p[4..]);
                        let word = |b: &[u8]| b.try_into().expect("a half of eight bytes");
                        (
                            u32::from_le_bytes(word(index)),
                            f32::from_le_bytes(word(value)),
                        )
                    })
                    .collect(),
            )
        }),
        _ => None,
    };
    vector.map(Some).ok_or_else(|| {
        SegmentError::Internal(format!(
            "field {} has a column of {}",
            field.name,
            column.data_type()
        ))
    })
}

fn list(column: &ArrayRef, row: usize) -> Option<ArrayRef> {
    column
        .as_any()
        .downcast_ref::<FixedSizeListArray>()
        .map(|c| c.value(row))
}

fn fixed(column: &ArrayRef, row: usize) -> Option<&[u8]> {
    column
        .as_fixed_size_binary_opt()
        .map(|c: &FixedSizeBinaryArray| c.value(row))
}
