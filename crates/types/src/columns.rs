//! How a field is laid out as an Arrow column, in memory, in the log and in segment files alike.
//!
//! | field               | column                                                         |
//! |---------------------|----------------------------------------------------------------|
//! | Bool, Int8 … Double | the Arrow primitive of that width                              |
//! | VarChar, JSON       | `Utf8`                                                         |
//! | Array of E          | `List<E>`, elements not null                                   |
//! | FloatVector         | `FixedSizeList<Float32; dim>`                                  |
//! | Float16Vector       | `FixedSizeList<Float16; dim>`                                  |
//! | BFloat16Vector      | `FixedSizeBinary(2 * dim)`, little-endian (Arrow has no bf16)  |
//! | Int8Vector          | `FixedSizeList<Int8; dim>`                                     |
//! | BinaryVector        | `FixedSizeBinary(dim / 8)`                                     |
//! | SparseFloatVector   | `Binary`: ascending (u32 index, f32 value) little-endian pairs |
//!
//! A column is found by its field id, kept in the Arrow field's metadata under [`FIELD_ID_KEY`]; its
//! Arrow name is the user's field name, so that other readers of the file can make sense of it.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType as Arrow, Field, Schema, SchemaRef};

use crate::{
    CollectionSchema, DataType, FieldId, FieldSchema,
    schema::{TIMESTAMP_COLUMN, TIMESTAMP_FIELD},
};

/// Metadata key of an Arrow field that holds the Holdfast field id in decimal.
pub const FIELD_ID_KEY: &str = "holdfast.field_id";

/// The Arrow type of a scalar, or of an array's element.
fn scalar(data_type: DataType) -> Arrow {
    match data_type {
        DataType::Bool => Arrow::Boolean,
        DataType::Int8 => Arrow::Int8,
        DataType::Int16 => Arrow::Int16,
        DataType::Int32 => Arrow::Int32,
        DataType::Int64 => Arrow::Int64,
        DataType::Float => Arrow::Float32,
        DataType::Double => Arrow::Float64,
        DataType::VarChar | DataType::Json => Arrow::Utf8,
        DataType::Array
        | DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::Int8Vector
        | DataType::BinaryVector
        | DataType::SparseFloatVector => unreachable!("{data_type} is not a scalar"),
    }
}

/// The Arrow type of a field's column.
#[must_use]
pub fn arrow_type(field: &FieldSchema) -> Arrow {
    let dim = i32::try_from(field.dim.unwrap_or(0)).expect("dim is at most MAX_DIM");
    let list = |item: Arrow| Arrow::FixedSizeList(Arc::new(Field::new("item", item, false)), dim);
    match field.data_type {
        DataType::Array => {
            let element = scalar(
                field
                    .element_type
                    .expect("a checked array has an element type"),
            );
            Arrow::List(Arc::new(Field::new("item", element, false)))
        }
        DataType::FloatVector => list(Arrow::Float32),
        DataType::Float16Vector => list(Arrow::Float16),
        DataType::Int8Vector => list(Arrow::Int8),
        DataType::BFloat16Vector => Arrow::FixedSizeBinary(dim * 2),
        DataType::BinaryVector => Arrow::FixedSizeBinary(dim / 8),
        DataType::SparseFloatVector => Arrow::Binary,
        DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar
        | DataType::Json => scalar(field.data_type),
    }
}

/// The Arrow field of a Holdfast field.
#[must_use]
pub fn arrow_field(field: &FieldSchema) -> Field {
    Field::new(&field.name, arrow_type(field), field.nullable).with_metadata(id_metadata(field.id))
}

/// The Arrow field of the row stamps: `UInt64`.
#[must_use]
pub fn timestamp_field() -> Field {
    Field::new(TIMESTAMP_COLUMN, Arrow::UInt64, false).with_metadata(id_metadata(TIMESTAMP_FIELD))
}

/// The Arrow schema of rows as a client writes them: every field, in schema order, no stamps.
#[must_use]
pub fn row_schema(schema: &CollectionSchema) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields.iter().map(arrow_field).collect::<Vec<_>>(),
    ))
}

/// The position of a field's column.
#[must_use]
pub fn position(schema: &Schema, id: FieldId) -> Option<usize> {
    schema.fields().iter().position(|f| field_id(f) == Some(id))
}

/// The column of a field.
#[must_use]
pub fn column(batch: &RecordBatch, id: FieldId) -> Option<&ArrayRef> {
    position(batch.schema_ref(), id).map(|i| batch.column(i))
}

/// The Holdfast field id of an Arrow field.
#[must_use]
pub fn field_id(field: &Field) -> Option<FieldId> {
    field
        .metadata()
        .get(FIELD_ID_KEY)?
        .parse()
        .ok()
        .map(FieldId)
}

fn id_metadata(id: FieldId) -> HashMap<String, String> {
    HashMap::from([(FIELD_ID_KEY.to_owned(), id.to_string())])
}
