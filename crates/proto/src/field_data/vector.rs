//! Vectors on the way in.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray,
    PrimitiveArray,
    builder::BinaryBuilder,
    types::{Float16Type, Float32Type, Int8Type},
};
use arrow_buffer::Buffer;
use arrow_schema::{ArrowError, DataType as Arrow};
use bytes::Bytes;
use holdfast_types::{DataType, Failure, columns::arrow_type};

use super::{bad_row, check_size, presence::Presence, wrong_payload};
use crate::{
    elements,
    milvus::schema::{VectorField, vector_field::Data},
};

pub(super) fn to_column(
    vectors: Option<&VectorField>,
    presence: &Presence<'_>,
) -> Result<ArrayRef, Failure> {
    let field = presence.field;
    let data = vectors.and_then(|v| v.data.as_ref());
    if field.data_type == DataType::SparseFloatVector {
        return match data {
            None => sparse(&[], presence),
            Some(Data::SparseFloatVector(rows)) => sparse(&rows.contents, presence),
            Some(_) => Err(wrong_payload(field)),
        };
    }
    let dim = field
        .dim
        .filter(|dim| *dim > 0)
        .ok_or_else(|| Failure::internal(format!("field {} has no dimension", field.name)))?;
    // Without a value there need not be a dimension either.
    if let Some(given) = vectors.map(|v| v.dim)
        && given != i64::from(dim)
        && !(given == 0 && presence.present() == 0)
    {
        return Err(Failure::invalid(format!(
            "the dim ({given}) of field data({}) is not equal to schema dim ({dim})",
            field.name
        )));
    }
    let dense = Dense {
        presence,
        dim: dim as usize,
    };
    match (field.data_type, data) {
        (DataType::FloatVector, None) => dense.floats(&[]),
        (DataType::FloatVector, Some(Data::FloatVector(a))) => dense.floats(&a.data),
        (DataType::Float16Vector, None) => dense.halves(&[]),
        (DataType::Float16Vector, Some(Data::Float16Vector(bytes))) => dense.halves(bytes),
        (DataType::Float16Vector, Some(Data::FloatVector(a))) => dense.narrowed_halves(&a.data),
        (DataType::BFloat16Vector, None) => dense.brains(&[]),
        (DataType::BFloat16Vector, Some(Data::Bfloat16Vector(bytes))) => dense.brains(bytes),
        (DataType::BFloat16Vector, Some(Data::FloatVector(a))) => dense.narrowed_brains(&a.data),
        (DataType::Int8Vector, None) => dense.bytes_as_i8(&[]),
        (DataType::Int8Vector, Some(Data::Int8Vector(bytes))) => dense.bytes_as_i8(bytes),
        (DataType::BinaryVector, None) => dense.bits(&[]),
        (DataType::BinaryVector, Some(Data::BinaryVector(bytes))) => dense.bits(bytes),
        _ => Err(wrong_payload(field)),
    }
}

fn sparse(contents: &[Bytes], presence: &Presence<'_>) -> Result<ArrayRef, Failure> {
    let field = presence.field;
    let layout = presence.layout(contents.len())?;
    // Offsets are 32-bit; these bounds also keep them from overflowing.
    let bytes: usize = contents.iter().map(Bytes::len).sum();
    check_size(field, 1, bytes)?;
    check_size(field, presence.rows, size_of::<i32>())?;
    let mut column = BinaryBuilder::with_capacity(presence.rows, bytes);
    for (row, position) in layout.iter().enumerate() {
        match position {
            None => column.append_null(),
            Some(p) => {
                elements::sparse(&contents[p]).map_err(|problem| bad_row(field, row, problem))?;
                column.append_value(&contents[p]);
            }
        }
    }
    let column: BinaryArray = column.finish();
    Ok(Arc::new(column))
}

/// A dense vector field of `dim` dimensions, at least one.
struct Dense<'a> {
    presence: &'a Presence<'a>,
    dim: usize,
}

impl Dense<'_> {
    fn floats(&self, values: &[f32]) -> Result<ArrayRef, Failure> {
        self.read(values, self.dim, elements::check_finite)?;
        self.list::<Float32Type>(self.spread(values, self.dim)?)
    }

    fn halves(&self, bytes: &[u8]) -> Result<ArrayRef, Failure> {
        let values = self.read(bytes, self.dim * 2, elements::f16s)?;
        self.check_whole(bytes, self.dim * 2)?;
        self.list::<Float16Type>(self.spread(&values, self.dim)?)
    }

    fn narrowed_halves(&self, values: &[f32]) -> Result<ArrayRef, Failure> {
        let values = self.read(values, self.dim, elements::to_f16s)?;
        self.list::<Float16Type>(self.spread(&values, self.dim)?)
    }

    fn brains(&self, bytes: &[u8]) -> Result<ArrayRef, Failure> {
        self.read(bytes, self.dim * 2, elements::bf16s)?;
        self.fixed(self.spread(bytes, self.dim * 2)?)
    }

    fn narrowed_brains(&self, values: &[f32]) -> Result<ArrayRef, Failure> {
        let values = self.read(values, self.dim, elements::to_bf16s)?;
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.fixed(self.spread(&bytes, self.dim * 2)?)
    }

    fn bytes_as_i8(&self, bytes: &[u8]) -> Result<ArrayRef, Failure> {
        self.list::<Int8Type>(self.spread(&elements::i8s(bytes), self.dim)?)
    }

    fn bits(&self, bytes: &[u8]) -> Result<ArrayRef, Failure> {
        self.fixed(self.spread(bytes, self.dim / 8)?)
    }

    /// Reads the payload in one go; only when that fails, looks for the row to name.
    fn read<T, R>(
        &self,
        values: &[T],
        per_row: usize,
        read: impl Fn(&[T]) -> Result<R, String>,
    ) -> Result<R, Failure> {
        read(values).map_err(|problem| {
            let field = self.presence.field;
            let culprit = values
                .chunks(per_row)
                .position(|vector| read(vector).is_err());
            match culprit.and_then(|position| self.row_of(position, values.len() / per_row)) {
                Some(row) => bad_row(field, row, problem),
                None => Failure::invalid(format!("{problem}[field={}]", field.name)),
            }
        })
    }

    /// The row whose vector lies at `position` of a payload of so many vectors.
    fn row_of(&self, position: usize, vectors: usize) -> Option<usize> {
        let layout = self.presence.layout(vectors).ok()?;
        layout.iter().position(|p| p == Some(position))
    }

    fn check_whole<T>(&self, values: &[T], per_row: usize) -> Result<(), Failure> {
        if per_row > 0 && values.len().is_multiple_of(per_row) {
            return Ok(());
        }
        Err(Failure::invalid(format!(
            "field {}: the data ({} elements) should be a multiple of {per_row}, that is of whole vectors of dim ({})",
            self.presence.field.name,
            values.len(),
            self.dim
        )))
    }

    /// The vectors, with zeros for rows without one.
    fn spread<T: Copy + Default>(&self, values: &[T], per_row: usize) -> Result<Vec<T>, Failure> {
        let Presence { field, rows, .. } = *self.presence;
        self.check_whole(values, per_row)?;
        let layout = self.presence.layout(values.len() / per_row)?;
        if self.presence.present() == rows {
            return Ok(values.to_vec());
        }
        check_size(field, rows, per_row * size_of::<T>())?;
        let mut column = vec![T::default(); rows * per_row];
        for (vector, position) in column.chunks_exact_mut(per_row).zip(layout.iter()) {
            if let Some(p) = position {
                vector.copy_from_slice(&values[p * per_row..(p + 1) * per_row]);
            }
        }
        Ok(column)
    }

    fn list<T: ArrowPrimitiveType>(&self, values: Vec<T::Native>) -> Result<ArrayRef, Failure> {
        let Arrow::FixedSizeList(item, dim) = arrow_type(self.presence.field) else {
            return Err(wrong_payload(self.presence.field));
        };
        let values = Arc::new(PrimitiveArray::<T>::new(values.into(), None));
        let column = FixedSizeListArray::try_new(item, dim, values, self.presence.nulls());
        self.built(column.map(|column| Arc::new(column) as ArrayRef))
    }

    fn fixed(&self, bytes: Vec<u8>) -> Result<ArrayRef, Failure> {
        let Arrow::FixedSizeBinary(width) = arrow_type(self.presence.field) else {
            return Err(wrong_payload(self.presence.field));
        };
        let column =
            FixedSizeBinaryArray::try_new(width, Buffer::from_vec(bytes), self.presence.nulls());
        self.built(column.map(|column| Arc::new(column) as ArrayRef))
    }

    fn built(&self, column: Result<ArrayRef, ArrowError>) -> Result<ArrayRef, Failure> {
        column.map_err(|e| Failure::internal(format!("field {}: {e}", self.presence.field.name)))
    }
}
