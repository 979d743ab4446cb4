//! The collection the tests use, and its rows: a key, a number that names the version of the row, a text
//! and a vector that follow from both.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::Field;
use holdfast_types::{CollectionSchema, DataType, FieldId, FieldSchema, Pk, columns};

/// The primary key.
pub const ID: FieldId = FieldId(100);
/// The number of a row's version.
pub const NUMBER: FieldId = FieldId(101);
/// A text.
pub const TEXT: FieldId = FieldId(102);
/// The vector.
pub const VECTOR: FieldId = FieldId(103);
/// A field that is added later.
pub const LATER: FieldId = FieldId(104);
/// Components of the vector.
pub const DIM: usize = 8;

fn field(id: FieldId, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id,
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        dim: (data_type == DataType::FloatVector).then_some(DIM as u32),
        max_length: (data_type == DataType::VarChar).then_some(64),
        max_capacity: None,
        is_primary: id == ID,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: id == LATER,
        default: None,
        is_dynamic: false,
        type_params: Vec::new(),
    }
}

/// The schema; keys are integers, or texts.
#[must_use]
pub fn schema(text_keys: bool) -> CollectionSchema {
    CollectionSchema {
        description: String::new(),
        fields: vec![
            field(
                ID,
                "id",
                if text_keys {
                    DataType::VarChar
                } else {
                    DataType::Int64
                },
            ),
            field(NUMBER, "number", DataType::Int64),
            field(TEXT, "text", DataType::VarChar),
            field(VECTOR, "vector", DataType::FloatVector),
        ],
        enable_dynamic_field: false,
        version: 1,
    }
}

/// The schema with one field more.
#[must_use]
pub fn later(schema: &CollectionSchema) -> CollectionSchema {
    let mut later = schema.clone();
    later.fields.push(field(LATER, "later", DataType::Int64));
    later.version += 1;
    later
}

/// A key as the schema has it.
#[must_use]
pub fn pk(schema: &CollectionSchema, key: i64) -> Pk {
    match schema.primary().data_type {
        DataType::VarChar => Pk::Str(format!("key {key}").into()),
        _ => Pk::Int(key),
    }
}

/// The number of a key.
///
/// # Panics
/// When it is none that [`pk`] makes.
#[must_use]
pub fn number_of(key: &Pk) -> i64 {
    match key {
        Pk::Int(key) => *key,
        Pk::Str(key) => key
            .strip_prefix("key ")
            .and_then(|k| k.parse().ok())
            .expect("made by `pk`"),
    }
}

/// The vector of a row.
#[must_use]
pub fn vector(key: i64, number: i64) -> Vec<f32> {
    (0..DIM as i64)
        .map(|i| ((key * 31 + number * 17 + i * i * 7) % 101) as f32 / 50.0)
        .collect()
}

/// A batch of rows: key and version number each.
///
/// # Panics
/// When the schema is not one of this module's.
#[must_use]
pub fn batch(schema: &CollectionSchema, rows: &[(i64, i64)]) -> RecordBatch {
    let arrays = schema
        .fields
        .iter()
        .map(|field| -> ArrayRef {
            match field.id {
                ID => match schema.primary().data_type {
                    DataType::VarChar => Arc::new(StringArray::from_iter_values(
                        rows.iter().map(|(k, _)| format!("key {k}")),
                    )),
                    _ => Arc::new(Int64Array::from_iter_values(rows.iter().map(|(k, _)| *k))),
                },
                TEXT => Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|(k, n)| format!("{k}/{n}")),
                )),
                VECTOR => {
                    let values: Float32Array = rows
                        .iter()
                        .flat_map(|(k, n)| vector(*k, *n))
                        .collect::<Vec<_>>()
                        .into();
                    let item = Arc::new(Field::new("item", values.data_type().clone(), false));
                    Arc::new(FixedSizeListArray::new(
                        item,
                        DIM as i32,
                        Arc::new(values),
                        None,
                    ))
                }
                _ => Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, n)| *n))),
            }
        })
        .collect();
    RecordBatch::try_new(columns::row_schema(schema), arrays).expect("columns of the schema")
}
