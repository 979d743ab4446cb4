//! A schema and rows to start from.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
    builder::{Int64Builder, ListBuilder},
};
use arrow_schema::Field;
use holdfast_types::{CollectionSchema, DataType, FieldId, FieldSchema, Value, columns};

/// The primary key.
pub const KEY: FieldId = FieldId(100);
/// A vector field of [`DIM`] dimensions.
pub const VECTOR: FieldId = FieldId(120);
/// A nullable sparse vector field.
pub const SPARSE: FieldId = FieldId(121);
/// Dimensions of [`VECTOR`].
pub const DIM: usize = 4;

/// A field that is not nullable; arrays hold `Int64`.
pub fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: (data_type == DataType::Array).then_some(DataType::Int64),
        dim: match data_type {
            DataType::BinaryVector => Some(16),
            dense if dense.is_dense_vector() => Some(DIM as u32),
            _ => None,
        },
        max_length: (data_type == DataType::VarChar).then_some(64),
        max_capacity: (data_type == DataType::Array).then_some(8),
        is_primary: id == KEY.0,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: false,
        type_params: Vec::new(),
    }
}

/// The same field, whose rows may be null.
pub fn nullable(field: FieldSchema) -> FieldSchema {
    FieldSchema {
        nullable: true,
        ..field
    }
}

/// An array of text.
pub fn texts(id: i64, name: &str) -> FieldSchema {
    FieldSchema {
        element_type: Some(DataType::VarChar),
        max_length: Some(16),
        ..field(id, name, DataType::Array)
    }
}

fn schema_of(fields: Vec<FieldSchema>) -> Arc<CollectionSchema> {
    Arc::new(CollectionSchema {
        description: String::new(),
        fields,
        enable_dynamic_field: true,
        version: 1,
    })
}

/// A schema with a field of every type, for filters.
pub fn every_type() -> Arc<CollectionSchema> {
    let meta = FieldSchema {
        is_dynamic: true,
        ..nullable(field(119, "$meta", DataType::Json))
    };
    schema_of(vec![
        field(KEY.0, "id", DataType::Int64),
        nullable(field(101, "flag", DataType::Bool)),
        field(102, "tiny", DataType::Int8),
        field(103, "small", DataType::Int16),
        nullable(field(104, "count", DataType::Int32)),
        FieldSchema {
            default: Some(Value::Int(7)),
            ..field(105, "big", DataType::Int64)
        },
        field(106, "price", DataType::Float),
        nullable(field(107, "score", DataType::Double)),
        nullable(field(108, "text", DataType::VarChar)),
        nullable(field(109, "doc", DataType::Json)),
        field(110, "ints", DataType::Array),
        nullable(texts(111, "tags")),
        field(VECTOR.0, "v", DataType::FloatVector),
        meta,
    ])
}

/// The schema of the stored segments.
pub fn schema(key: DataType) -> Arc<CollectionSchema> {
    schema_of(vec![
        field(KEY.0, "id", key),
        nullable(field(104, "count", DataType::Int32)),
        field(107, "score", DataType::Double),
        nullable(field(108, "text", DataType::VarChar)),
        nullable(field(109, "doc", DataType::Json)),
        field(110, "ints", DataType::Array),
        field(VECTOR.0, "v", DataType::FloatVector),
        nullable(field(SPARSE.0, "s", DataType::SparseFloatVector)),
    ])
}

/// `count` rows of [`schema`], with keys from 0.
pub fn rows(schema: &CollectionSchema, count: i64) -> RecordBatch {
    let arrays = schema.fields.iter().map(|f| column(f, count)).collect();
    RecordBatch::try_new(columns::row_schema(schema), arrays)
        .expect("the columns are of the schema")
}

fn column(field: &FieldSchema, count: i64) -> ArrayRef {
    let keys = 0..count;
    match field.data_type {
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(keys)),
        DataType::VarChar if field.is_primary => Arc::new(StringArray::from_iter_values(
            keys.map(|k| format!("key-{k:04}")),
        )),
        DataType::VarChar => Arc::new(
            keys.map(|k| (k % 5 != 0).then(|| format!("t{}", k % 7)))
                .collect::<StringArray>(),
        ),
        DataType::Int32 => Arc::new(
            keys.map(|k| (k % 3 != 0).then_some((k % 10) as i32))
                .collect::<Int32Array>(),
        ),
        DataType::Double => Arc::new(Float64Array::from_iter_values(keys.map(|k| k as f64 / 8.0))),
        DataType::Json => Arc::new(
            keys.map(|k| (k % 4 != 0).then(|| format!(r#"{{"a":{k},"b":["x",{{"c":null}}]}}"#)))
                .collect::<StringArray>(),
        ),
        DataType::Array => {
            let item = Arc::new(Field::new("item", arrow_schema::DataType::Int64, false));
            let mut lists = ListBuilder::new(Int64Builder::new()).with_field(item);
            for key in keys {
                lists.append_value((0..key % 4).map(Some));
            }
            Arc::new(lists.finish())
        }
        DataType::FloatVector => {
            let flat = (0..count * DIM as i64).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0);
            let values: ArrayRef = Arc::new(Float32Array::from_iter_values(flat));
            let item = Arc::new(Field::new("item", arrow_schema::DataType::Float32, false));
            Arc::new(FixedSizeListArray::new(item, DIM as i32, values, None))
        }
        DataType::SparseFloatVector => Arc::new(
            keys.map(|k| {
                (k % 6 != 0).then(|| {
                    (0..k % 5)
                        .flat_map(|i| {
                            let (dim, value) = (i as u32 * 3, i as f32 + 0.5);
                            [dim.to_le_bytes(), value.to_le_bytes()].concat()
                        })
                        .collect::<Vec<u8>>()
                })
            })
            .collect::<BinaryArray>(),
        ),
        other => unreachable!("{other} is not in the sample"),
    }
}
