//! Schemas, rows and searches that the tests share.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray,
    Float16Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray,
    builder::{Int64Builder, ListBuilder, StringBuilder},
    cast::AsArray,
    types::Int64Type,
};
use arrow_schema::Field;
use half::{bf16, f16};
use holdfast_expr::{Predicate, parse};
use holdfast_index::{QueryVector, Within};
use holdfast_types::{
    CollectionSchema, DataType, FieldId, FieldSchema, Metric, PartitionId, Pk, SegmentId,
    Timestamp, Value, columns,
};

use crate::{
    GrowingSegment, Hit, QuerySpec, Rows, SealedSegment, SearchParams, SearchSpec, SegmentFiles,
};

pub(crate) const ID: FieldId = FieldId(100);
pub(crate) const DIM: u32 = 4;

/// A field of this type that is not nullable.
pub(crate) fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        dim: None,
        max_length: (data_type == DataType::VarChar).then_some(256),
        max_capacity: None,
        is_primary: id == ID.0,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: false,
        type_params: Vec::new(),
    }
}

pub(crate) fn vector(id: i64, name: &str, data_type: DataType, dim: u32) -> FieldSchema {
    FieldSchema {
        dim: data_type.is_dense_vector().then_some(dim),
        ..field(id, name, data_type)
    }
}

fn list(id: i64, name: &str, element: DataType) -> FieldSchema {
    FieldSchema {
        element_type: Some(element),
        max_capacity: Some(16),
        max_length: (element == DataType::VarChar).then_some(64),
        ..field(id, name, DataType::Array)
    }
}

fn nullable(field: FieldSchema) -> FieldSchema {
    FieldSchema {
        nullable: true,
        ..field
    }
}

pub(crate) fn schema_of(fields: Vec<FieldSchema>) -> Arc<CollectionSchema> {
    Arc::new(CollectionSchema {
        description: String::new(),
        fields,
        enable_dynamic_field: true,
        version: 1,
    })
}

/// Every type, several of them nullable; the key is of `key_type`.
pub(crate) fn every_type(key_type: DataType) -> Arc<CollectionSchema> {
    let meta = FieldSchema {
        is_dynamic: true,
        ..nullable(field(110, "$meta", DataType::Json))
    };
    schema_of(vec![
        field(ID.0, "id", key_type),
        nullable(field(101, "flag", DataType::Bool)),
        field(102, "i8", DataType::Int8),
        field(103, "i16", DataType::Int16),
        nullable(field(104, "i32", DataType::Int32)),
        nullable(field(105, "i64", DataType::Int64)),
        field(106, "f32", DataType::Float),
        nullable(field(107, "f64", DataType::Double)),
        nullable(field(108, "text", DataType::VarChar)),
        nullable(field(109, "doc", DataType::Json)),
        list(111, "ints", DataType::Int64),
        nullable(list(112, "texts", DataType::VarChar)),
        vector(120, "v", DataType::FloatVector, DIM),
        nullable(vector(121, "v16", DataType::Float16Vector, DIM)),
        vector(122, "vb16", DataType::BFloat16Vector, DIM),
        nullable(vector(123, "v8", DataType::Int8Vector, DIM)),
        vector(124, "vbin", DataType::BinaryVector, 16),
        nullable(vector(125, "vsparse", DataType::SparseFloatVector, 0)),
        nullable(vector(126, "vnull", DataType::FloatVector, DIM)),
        meta,
    ])
}

/// Small pseudo-random numbers that depend on their arguments only.
pub(crate) fn number(seed: u64, row: i64, salt: u64) -> u64 {
    let mut x = seed
        ^ (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93);
    for _ in 0..2 {
        x ^= x >> 32;
        x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    x ^ x >> 32
}

pub(crate) fn floats(seed: u64, row: i64, salt: u64, dim: usize) -> Vec<f32> {
    (0..dim as u64)
        .map(|i| (number(seed, row, salt * 100 + i) % 2_000) as f32 / 1_000.0 - 1.0)
        .collect()
}

/// Rows of these keys; their content depends on key and seed. About one nullable value in five is null.
pub(crate) fn rows(schema: &CollectionSchema, keys: &[i64], seed: u64) -> RecordBatch {
    let fields = columns::row_schema(schema);
    let arrays = schema
        .fields
        .iter()
        .map(|field| column(field, keys, seed))
        .collect();
    RecordBatch::try_new(fields, arrays).unwrap()
}

pub(crate) fn text_key(key: i64) -> String {
    format!("key-{key:05}")
}

/// The key as the schema has it.
pub(crate) fn pk(schema: &CollectionSchema, key: i64) -> Pk {
    match schema.primary().data_type {
        DataType::VarChar => Pk::Str(text_key(key).into()),
        _ => Pk::Int(key),
    }
}

fn column(field: &FieldSchema, keys: &[i64], seed: u64) -> ArrayRef {
    let salt = field.id.0 as u64;
    let dim = field.dim.unwrap_or(0) as usize;
    let some = |key: i64| !field.nullable || !number(seed, key, salt + 1_000).is_multiple_of(5);
    let value = |key: i64| number(seed, key, salt);
    macro_rules! scalars {
        ($array:ty, $value:expr) => {
            Arc::new(
                keys.iter()
                    .map(|k| some(*k).then(|| $value(*k)))
                    .collect::<$array>(),
            )
        };
    }
    macro_rules! vectors {
        ($values:ident, $element:ty, $value:expr) => {{
            let mut flat: Vec<$element> = Vec::new();
            for key in keys {
                flat.extend(floats(seed, *key, salt, dim).into_iter().map($value));
            }
            let nulls: Vec<bool> = keys.iter().map(|k| some(*k)).collect();
            let values = $values::from(flat);
            let item = Field::new("item", values.data_type().clone(), false);
            Arc::new(FixedSizeListArray::new(
                Arc::new(item),
                dim as i32,
                Arc::new(values),
                field.nullable.then(|| nulls.into()),
            ))
        }};
    }
    if field.is_primary {
        return match field.data_type {
            DataType::VarChar => Arc::new(StringArray::from_iter_values(
                keys.iter().map(|k| text_key(*k)),
            )),
            _ => Arc::new(Int64Array::from(keys.to_vec())),
        };
    }
    match field.data_type {
        DataType::Bool => scalars!(BooleanArray, |k| value(k) % 2 == 0),
        DataType::Int8 => scalars!(Int8Array, |k| (value(k) % 20) as i8 - 10),
        DataType::Int16 => scalars!(Int16Array, |k| (value(k) % 200) as i16 - 100),
        DataType::Int32 => scalars!(Int32Array, |k| (value(k) % 50) as i32),
        DataType::Int64 => scalars!(Int64Array, |k| (value(k) % 10) as i64),
        DataType::Float => scalars!(Float32Array, |k| (value(k) % 100) as f32 / 10.0),
        DataType::Double => scalars!(Float64Array, |k| (value(k) % 100) as f64 / 10.0),
        DataType::VarChar => scalars!(StringArray, |k| format!("t{}", value(k) % 30)),
        DataType::Json => scalars!(StringArray, |k| document(value(k))),
        DataType::Array if field.element_type == Some(DataType::VarChar) => {
            let item = Arc::new(Field::new("item", arrow_schema::DataType::Utf8, false));
            let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item);
            for key in keys {
                for i in 0..value(*key) % 4 {
                    builder
                        .values()
                        .append_value(format!("e{}", number(seed, *key, i) % 5));
                }
                builder.append(some(*key));
            }
            Arc::new(builder.finish()) as ArrayRef
        }
        DataType::Array => {
            let item = Arc::new(Field::new("item", arrow_schema::DataType::Int64, false));
            let mut builder = ListBuilder::new(Int64Builder::new()).with_field(item);
            for key in keys {
                for i in 0..value(*key) % 4 {
                    builder
                        .values()
                        .append_value((number(seed, *key, i) % 5) as i64);
                }
                builder.append(some(*key));
            }
            let array: ListArray = builder.finish();
            Arc::new(array)
        }
        DataType::FloatVector => vectors!(Float32Array, f32, |x| x),
        DataType::Float16Vector => vectors!(Float16Array, f16, f16::from_f32),
        DataType::Int8Vector => vectors!(Int8Array, i8, |x: f32| (x * 100.0) as i8),
        DataType::BFloat16Vector => {
            let bytes = keys.iter().map(|k| {
                floats(seed, *k, salt, dim)
                    .into_iter()
                    .flat_map(|x| bf16::from_f32(x).to_le_bytes())
                    .collect::<Vec<u8>>()
            });
            Arc::new(FixedSizeBinaryArray::try_from_iter(bytes).unwrap())
        }
        DataType::BinaryVector => {
            let bytes = keys
                .iter()
                .map(|k| value(*k).to_le_bytes()[..dim / 8].to_vec());
            Arc::new(FixedSizeBinaryArray::try_from_iter(bytes).unwrap())
        }
        DataType::SparseFloatVector => Arc::new(
            keys.iter()
                .map(|k| some(*k).then(|| sparse(seed, *k)))
                .map(|v| v.map(|pairs| sparse_bytes(&pairs)))
                .collect::<BinaryArray>(),
        ),
    }
}

pub(crate) fn sparse(seed: u64, key: i64) -> Vec<(u32, f32)> {
    (0..10_u32)
        .filter(|i| number(seed, key, 500 + u64::from(*i)).is_multiple_of(3))
        .map(|i| {
            (
                i * 7,
                (number(seed, key, u64::from(i)) % 100) as f32 / 50.0 + 0.01,
            )
        })
        .collect()
}

fn sparse_bytes(pairs: &[(u32, f32)]) -> Vec<u8> {
    pairs
        .iter()
        .flat_map(|(i, x)| [i.to_le_bytes(), x.to_le_bytes()].concat())
        .collect()
}

fn document(value: u64) -> String {
    match value % 6 {
        0 => "{}".to_owned(),
        1 => format!(r#"{{"a":{},"s":"x{}"}}"#, value % 10, value / 6 % 3),
        2 => format!(r#"{{"a":{}.5,"n":{{"b":[1,{}]}}}}"#, value % 10, value % 7),
        3 => format!(r#"{{"a":"text","t":{}}}"#, (value / 6).is_multiple_of(2)),
        4 => r#"{"a":null,"n":{"b":[]}}"#.to_owned(),
        _ => format!(r#"{{"a":true,"l":[{},"z",[1,2]],"s":"x1"}}"#, value % 4),
    }
}

/// A query vector of the field's type.
pub(crate) fn query_vector(field: &FieldSchema, seed: u64) -> QueryVector {
    let dim = field.dim.unwrap_or(0) as usize;
    let values = floats(seed, -7, 9, dim);
    match field.data_type {
        DataType::FloatVector => QueryVector::F32(values),
        DataType::Float16Vector => {
            QueryVector::F16(values.into_iter().map(f16::from_f32).collect())
        }
        DataType::BFloat16Vector => {
            QueryVector::Bf16(values.into_iter().map(bf16::from_f32).collect())
        }
        DataType::Int8Vector => {
            QueryVector::I8(values.into_iter().map(|x| (x * 100.0) as i8).collect())
        }
        DataType::BinaryVector => {
            QueryVector::Binary(number(seed, 1, 1).to_le_bytes()[..dim / 8].to_vec())
        }
        _ => QueryVector::Sparse(vec![(0, 1.0), (7, 0.5), (21, 2.0), (63, 0.25)]),
    }
}

pub(crate) fn predicate(schema: &CollectionSchema, text: &str) -> Arc<Predicate> {
    match parse(
        text,
        schema,
        &std::collections::HashMap::<String, Value>::new(),
    ) {
        Ok(predicate) => Arc::new(predicate),
        Err(error) => panic!("{text}: {error}"),
    }
}

pub(crate) fn search_spec(field: &FieldSchema, metric: Metric, top_k: usize) -> SearchSpec {
    SearchSpec {
        field: field.id,
        metric,
        queries: vec![query_vector(field, 3)].into(),
        top_k,
        params: SearchParams::default(),
        within: Within::ALL,
        filter: None,
        group_by: None,
        at: Timestamp::MAX,
        ttl_before: None,
    }
}

pub(crate) fn query_spec() -> QuerySpec {
    QuerySpec {
        filter: None,
        keys: None,
        fields: Vec::new(),
        limit: None,
        after: None,
        at: Timestamp::MAX,
        ttl_before: None,
    }
}

pub(crate) fn growing(schema: &Arc<CollectionSchema>, id: i64) -> GrowingSegment {
    GrowingSegment::new(SegmentId(id), PartitionId(1), schema.clone())
}

pub(crate) fn open(
    schema: &Arc<CollectionSchema>,
    id: i64,
    files: SegmentFiles,
) -> Arc<SealedSegment> {
    let opened = SealedSegment::open(
        SegmentId(id),
        PartitionId(1),
        schema.clone(),
        files.files,
        Vec::new(),
    );
    Arc::new(opened.unwrap())
}

/// The keys of rows, as their column has them.
pub(crate) fn keys_of(rows: &Rows) -> Vec<Pk> {
    let column = rows.batch.column(0);
    (0..column.len())
        .map(|i| crate::table::key_at(&**column, i).unwrap())
        .collect()
}

/// The integer keys of rows.
pub(crate) fn ints_of(rows: &Rows) -> Vec<i64> {
    rows.batch
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

pub(crate) fn hit_ids(hits: &[Hit]) -> Vec<i64> {
    hits.iter()
        .map(|hit| match &hit.pk {
            Pk::Int(i) => *i,
            Pk::Str(s) => s.trim_start_matches("key-").parse().unwrap(),
        })
        .collect()
}
