//! Columns on the way out, as clients expect them in results.

use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType,
    cast::AsArray,
    types::{Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use bytes::Bytes;
use holdfast_types::{DataType, Failure, FieldSchema};

use crate::milvus::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, FloatArray, IntArray, JsonArray, LongArray,
    ScalarField, SparseFloatArray, StringArray, VectorField, field_data::Field,
    scalar_field::Data as Scalars, vector_field::Data as Vectors,
};

/// What stands for a row without a JSON value; clients parse it before they look whether it counts.
const NO_JSON: &str = "null";
/// What stands for a row without dynamic keys.
const NO_KEYS: &str = "{}";

/// The column of a result. The right case of every oneof is set, also for no rows at all: clients tell
/// the type from it.
///
/// # Errors
/// [`holdfast_types::Code::Internal`]: the column is not of the field's type.
pub fn from_column(column: &ArrayRef, field: &FieldSchema) -> Result<FieldData, Failure> {
    let data = if field.data_type.is_vector() {
        vectors(column.as_ref(), field).map(Field::Vectors)
    } else {
        let scalars = match field.data_type {
            DataType::Array => arrays(column.as_ref(), field).map(Scalars::ArrayData),
            data_type => scalars(column.as_ref(), data_type, field.is_dynamic),
        };
        scalars.map(|data| {
            Field::Scalars(ScalarField {
                data: Some(data),
                valid_data: Vec::new(),
            })
        })
    };
    let Some(data) = data else {
        return Err(Failure::internal(format!(
            "field {}: a column of {} instead of {}",
            field.name,
            column.data_type(),
            field.data_type
        )));
    };
    let shows_nulls = field.nullable || column.null_count() > 0;
    Ok(FieldData {
        r#type: field.data_type.wire_number(),
        field_name: field.name.clone(),
        field_id: field.id.0,
        is_dynamic: field.is_dynamic,
        valid_data: if shows_nulls {
            (0..column.len()).map(|row| column.is_valid(row)).collect()
        } else {
            Vec::new()
        },
        field: Some(data),
    })
}

/// One value per row, a placeholder where there is none. `None`: not a column of that type.
fn scalars(column: &dyn Array, data_type: DataType, is_dynamic: bool) -> Option<Scalars> {
    Some(match data_type {
        DataType::Bool => Scalars::BoolData(BoolArray {
            data: column
                .as_boolean_opt()?
                .iter()
                .map(|b| b.unwrap_or(false))
                .collect(),
        }),
        DataType::Int8 => ints(numbers::<Int8Type>(column)?),
        DataType::Int16 => ints(numbers::<Int16Type>(column)?),
        DataType::Int32 => ints(numbers::<Int32Type>(column)?),
        DataType::Int64 => Scalars::LongData(LongArray {
            data: numbers::<Int64Type>(column)?.collect(),
        }),
        DataType::Float => Scalars::FloatData(FloatArray {
            data: numbers::<Float32Type>(column)?.collect(),
        }),
        DataType::Double => Scalars::DoubleData(DoubleArray {
            data: numbers::<Float64Type>(column)?.collect(),
        }),
        DataType::VarChar => Scalars::StringData(StringArray {
            data: column
                .as_string_opt::<i32>()?
                .iter()
                .map(|text| text.unwrap_or_default().to_owned())
                .collect(),
        }),
        DataType::Json => {
            let nothing = if is_dynamic { NO_KEYS } else { NO_JSON };
            Scalars::JsonData(JsonArray {
                data: column
                    .as_string_opt::<i32>()?
                    .iter()
                    .map(|text| Bytes::copy_from_slice(text.unwrap_or(nothing).as_bytes()))
                    .collect(),
            })
        }
        DataType::Array
        | DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::Int8Vector
        | DataType::BinaryVector
        | DataType::SparseFloatVector => return None,
    })
}

fn numbers<T: ArrowPrimitiveType>(
    column: &dyn Array,
) -> Option<impl Iterator<Item = T::Native> + '_> {
    let values = column.as_primitive_opt::<T>()?;
    Some(values.iter().map(Option::unwrap_or_default))
}

fn ints(values: impl Iterator<Item = impl Into<i32>>) -> Scalars {
    Scalars::IntData(IntArray {
        data: values.map(Into::into).collect(),
    })
}

fn arrays(column: &dyn Array, field: &FieldSchema) -> Option<ArrayArray> {
    let element = field.element_type?;
    let lists = column.as_list_opt::<i32>()?;
    let data = lists
        .iter()
        .map(|list| {
            let elements = match &list {
                Some(list) => scalars(list.as_ref(), element, false)?,
                None => scalars(lists.values().slice(0, 0).as_ref(), element, false)?,
            };
            Some(ScalarField {
                data: Some(elements),
                valid_data: Vec::new(),
            })
        })
        .collect::<Option<_>>()?;
    // A column without rows has no list that could betray a wrong element type.
    scalars(lists.values().slice(0, 0).as_ref(), element, false)?;
    Some(ArrayArray {
        data,
        element_type: element.wire_number(),
    })
}

/// The vectors of the rows that have one. `None`: not a column of that type.
fn vectors(column: &dyn Array, field: &FieldSchema) -> Option<VectorField> {
    let mut dim = i64::from(field.dim.unwrap_or(0));
    let data = match field.data_type {
        DataType::FloatVector => Vectors::FloatVector(FloatArray {
            data: present::<Float32Type>(column)?.concat(),
        }),
        DataType::Float16Vector => Vectors::Float16Vector(
            present::<Float16Type>(column)?
                .into_iter()
                .flatten()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
        ),
        DataType::Int8Vector => Vectors::Int8Vector(
            present::<Int8Type>(column)?
                .into_iter()
                .flatten()
                .flat_map(|x| x.to_le_bytes())
                .collect(),
        ),
        DataType::BFloat16Vector => Vectors::Bfloat16Vector(fixed(column)?),
        DataType::BinaryVector => Vectors::BinaryVector(fixed(column)?),
        DataType::SparseFloatVector => {
            let rows = column.as_binary_opt::<i32>()?;
            let contents: Vec<Bytes> = rows.iter().flatten().map(Bytes::copy_from_slice).collect();
            dim = contents
                .iter()
                .map(|row| sparse_dim(row))
                .max()
                .unwrap_or(0);
            Vectors::SparseFloatVector(SparseFloatArray { contents, dim })
        }
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar
        | DataType::Json
        | DataType::Array => return None,
    };
    Some(VectorField {
        dim,
        data: Some(data),
        valid_data: Vec::new(),
    })
}

/// The slices of the rows that have a vector.
fn present<T: ArrowPrimitiveType>(column: &dyn Array) -> Option<Vec<&[T::Native]>> {
    let rows = column.as_fixed_size_list_opt()?;
    let dim = usize::try_from(rows.value_length()).ok()?;
    let values: &[T::Native] = rows.values().as_primitive_opt::<T>()?.values();
    if rows.null_count() == 0 {
        return Some(vec![values]);
    }
    (0..rows.len())
        .filter(|row| rows.is_valid(*row))
        .map(|row| values.get(row * dim..(row + 1) * dim))
        .collect()
}

fn fixed(column: &dyn Array) -> Option<Bytes> {
    let rows = column.as_fixed_size_binary_opt()?;
    let mut bytes = Vec::with_capacity(rows.value_data().len());
    for row in rows.iter().flatten() {
        bytes.extend_from_slice(row);
    }
    Some(bytes.into())
}

/// One more than the largest index: the index of the last pair.
fn sparse_dim(row: &[u8]) -> i64 {
    match row.as_chunks::<8>().0.last() {
        Some([a, b, c, d, ..]) => i64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 1,
        None => 0,
    }
}
