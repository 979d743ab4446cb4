//! Requests, and rows as JSON.

use arrow_array::RecordBatch;
use bytes::Bytes;
use holdfast_node_api::write::WritePart;
use holdfast_proto::{
    field_data,
    milvus::{
        milvus,
        schema::{
            ArrayArray, DoubleArray, FieldData, FieldPartialUpdateOp, FloatArray, JsonArray,
            LongArray, ScalarField, StringArray, VectorField, field_data::Field, i_ds::IdField,
            scalar_field::Data as Scalars, vector_field::Data as Vectors,
        },
    },
    schema::dynamic_field,
};
use holdfast_types::{
    CollectionSchema, DataType, Failure, FieldId, FieldSchema, Pk, PkList, columns,
    schema::DYNAMIC_FIELD,
};
use serde_json::{Map, Value, json};

use super::node::World;
use crate::{fakes, session::Caller, write};

pub(super) fn caller() -> Caller {
    fakes::caller("")
}

pub(super) fn field(name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        dim: data_type.is_dense_vector().then_some(2),
        ..fakes::field(0, name, data_type)
    }
}

pub(super) fn nullable(field: FieldSchema) -> FieldSchema {
    FieldSchema {
        nullable: true,
        ..field
    }
}

pub(super) fn with_default(field: FieldSchema, default: holdfast_types::Value) -> FieldSchema {
    FieldSchema {
        default: Some(default),
        ..field
    }
}

pub(super) fn text(name: &str) -> FieldSchema {
    FieldSchema {
        max_length: Some(32),
        ..field(name, DataType::VarChar)
    }
}

pub(super) fn array(name: &str, element: DataType) -> FieldSchema {
    let max_length = (element == DataType::VarChar).then_some(8);
    FieldSchema {
        element_type: Some(element),
        max_capacity: Some(6),
        max_length,
        ..field(name, DataType::Array)
    }
}

pub(super) fn key(field: FieldSchema) -> FieldSchema {
    FieldSchema {
        is_primary: true,
        ..field
    }
}

pub(super) fn auto(field: FieldSchema) -> FieldSchema {
    FieldSchema {
        auto_id: true,
        ..key(field)
    }
}

/// A schema of these fields, with a dynamic field at the end if `dynamic`.
pub(super) fn schema(fields: Vec<FieldSchema>, dynamic: bool) -> CollectionSchema {
    let mut fields = fields;
    if dynamic {
        fields.push(dynamic_field(FieldId(0)));
    }
    for (field, id) in fields.iter_mut().zip(100..) {
        field.id = FieldId(id);
    }
    CollectionSchema {
        description: String::new(),
        fields,
        enable_dynamic_field: dynamic,
        version: 0,
    }
}

/// `id`, and `n`.
pub(super) fn plain() -> CollectionSchema {
    schema(
        vec![
            key(field("id", DataType::Int64)),
            field("n", DataType::Int64),
        ],
        false,
    )
}

/// `id`; `v`; `n`, which may be null; `s`, which is "plain"; `tags`, which may be null; dynamic keys.
pub(super) fn rich() -> CollectionSchema {
    let plain = holdfast_types::Value::Str("plain".to_owned());
    let fields = vec![
        key(field("id", DataType::Int64)),
        field("v", DataType::FloatVector),
        nullable(field("n", DataType::Int64)),
        with_default(text("s"), plain),
        nullable(array("tags", DataType::Int64)),
    ];
    schema(fields, true)
}

fn scalars(name: &str, data_type: DataType, data: Scalars) -> FieldData {
    FieldData {
        r#type: data_type.wire_number(),
        field_name: name.to_owned(),
        field: Some(Field::Scalars(ScalarField {
            data: Some(data),
            valid_data: Vec::new(),
        })),
        ..Default::default()
    }
}

pub(super) fn longs(name: &str, data: impl IntoIterator<Item = i64>) -> FieldData {
    scalars(
        name,
        DataType::Int64,
        Scalars::LongData(LongArray {
            data: data.into_iter().collect(),
        }),
    )
}

pub(super) fn doubles(name: &str, data: &[f64]) -> FieldData {
    scalars(
        name,
        DataType::Double,
        Scalars::DoubleData(DoubleArray {
            data: data.to_vec(),
        }),
    )
}

pub(super) fn texts(name: &str, data: &[&str]) -> FieldData {
    let data = data.iter().map(|t| (*t).to_owned()).collect();
    scalars(
        name,
        DataType::VarChar,
        Scalars::StringData(StringArray { data }),
    )
}

/// Vectors of two dimensions.
pub(super) fn vectors(name: &str, data: &[[f32; 2]]) -> FieldData {
    let data = Vectors::FloatVector(FloatArray {
        data: data.concat(),
    });
    FieldData {
        r#type: DataType::FloatVector.wire_number(),
        field_name: name.to_owned(),
        field: Some(Field::Vectors(VectorField {
            dim: 2,
            data: Some(data),
            valid_data: Vec::new(),
        })),
        ..Default::default()
    }
}

pub(super) fn long_lists(name: &str, rows: &[&[i64]]) -> FieldData {
    let row = |row: &&[i64]| ScalarField {
        data: Some(Scalars::LongData(LongArray { data: row.to_vec() })),
        valid_data: Vec::new(),
    };
    scalars(
        name,
        DataType::Array,
        Scalars::ArrayData(ArrayArray {
            data: rows.iter().map(row).collect(),
            element_type: 0,
        }),
    )
}

pub(super) fn text_lists(name: &str, rows: &[&[&str]]) -> FieldData {
    let row = |row: &&[&str]| ScalarField {
        data: Some(Scalars::StringData(StringArray {
            data: row.iter().map(|t| (*t).to_owned()).collect(),
        })),
        valid_data: Vec::new(),
    };
    scalars(
        name,
        DataType::Array,
        Scalars::ArrayData(ArrayArray {
            data: rows.iter().map(row).collect(),
            element_type: 0,
        }),
    )
}

pub(super) fn dynamic(rows: &[&str]) -> FieldData {
    let data = rows
        .iter()
        .map(|t| Bytes::copy_from_slice(t.as_bytes()))
        .collect();
    let data = scalars(
        DYNAMIC_FIELD,
        DataType::Json,
        Scalars::JsonData(JsonArray { data }),
    );
    FieldData {
        is_dynamic: true,
        ..data
    }
}

/// The same, some rows without a value.
pub(super) fn valid(data: FieldData, valid: &[bool]) -> FieldData {
    FieldData {
        valid_data: valid.to_vec(),
        ..data
    }
}

pub(super) fn op(field: &str, op: i32) -> FieldPartialUpdateOp {
    FieldPartialUpdateOp {
        field_name: field.to_owned(),
        op,
    }
}

pub(super) const APPEND: i32 = 1;
pub(super) const REMOVE: i32 = 2;

pub(super) fn inserting(rows: u32, fields_data: Vec<FieldData>) -> milvus::InsertRequest {
    milvus::InsertRequest {
        collection_name: "c".to_owned(),
        num_rows: rows,
        fields_data,
        ..Default::default()
    }
}

pub(super) fn upserting(rows: u32, fields_data: Vec<FieldData>) -> milvus::UpsertRequest {
    milvus::UpsertRequest {
        collection_name: "c".to_owned(),
        num_rows: rows,
        fields_data,
        ..Default::default()
    }
}

pub(super) fn changing(rows: u32, fields_data: Vec<FieldData>) -> milvus::UpsertRequest {
    milvus::UpsertRequest {
        partial_update: true,
        ..upserting(rows, fields_data)
    }
}

pub(super) fn deleting(expr: &str) -> milvus::DeleteRequest {
    milvus::DeleteRequest {
        collection_name: "c".to_owned(),
        expr: expr.to_owned(),
        ..Default::default()
    }
}

type Answer = Result<milvus::MutationResult, Failure>;

impl World {
    pub(super) async fn insert(&self, request: milvus::InsertRequest) -> Answer {
        write::insert::insert(&self.proxy, &caller(), request).await
    }

    pub(super) async fn upsert(&self, request: milvus::UpsertRequest) -> Answer {
        write::upsert::upsert(&self.proxy, &caller(), request).await
    }

    pub(super) async fn delete(&self, request: milvus::DeleteRequest) -> Answer {
        write::delete::delete(&self.proxy, &caller(), request).await
    }

    /// All live rows as a client reads them, by key.
    pub(super) async fn rows(&self) -> Vec<Value> {
        let request = milvus::QueryRequest {
            collection_name: "c".to_owned(),
            output_fields: vec!["*".to_owned()],
            query_params: vec![holdfast_proto::milvus::common::KeyValuePair {
                key: "limit".to_owned(),
                value: "16384".to_owned(),
            }],
            ..Default::default()
        };
        let found = crate::read::query::query(&self.proxy, &caller(), request)
            .await
            .unwrap();
        to_json(&found.fields_data)
    }
}

/// The rows of a part of a write.
pub(super) fn rows_of(schema: &CollectionSchema, batch: &RecordBatch) -> Vec<Value> {
    let data: Vec<FieldData> = schema
        .fields
        .iter()
        .map(|field| {
            field_data::from_column(columns::column(batch, field.id).unwrap(), field).unwrap()
        })
        .collect();
    to_json(&data)
}

/// The keys of the rows of a part.
pub(super) fn keys_of(world: &World, part: &WritePart) -> Vec<Pk> {
    let Some(rows) = &part.rows else {
        return Vec::new();
    };
    let column = columns::column(rows, world.meta.schema.primary().id).unwrap();
    PkList::from_array(column).unwrap().iter().collect()
}

fn to_json(data: &[FieldData]) -> Vec<Value> {
    let columns: Vec<(&str, Vec<Value>)> = data
        .iter()
        .map(|d| (d.field_name.as_str(), values(d)))
        .collect();
    (0..columns.first().map_or(0, |(_, values)| values.len()))
        .map(|row| {
            columns
                .iter()
                .map(|(name, values)| ((*name).to_owned(), values[row].clone()))
                .collect::<Map<_, _>>()
        })
        .map(Value::Object)
        .collect()
}

fn values(data: &FieldData) -> Vec<Value> {
    let mut all = match data.field.as_ref().unwrap() {
        Field::Scalars(s) => scalar_values(s),
        Field::Vectors(v) => match v.data.as_ref().unwrap() {
            Vectors::FloatVector(floats) => floats.data.chunks(2).map(|v| json!(v)).collect(),
            other => panic!("{other:?}"),
        },
        Field::StructArrays(other) => panic!("{other:?}"),
    };
    for (value, valid) in all.iter_mut().zip(&data.valid_data) {
        if !valid {
            *value = Value::Null;
        }
    }
    all
}

fn scalar_values(scalars: &ScalarField) -> Vec<Value> {
    match scalars.data.as_ref().unwrap() {
        Scalars::LongData(a) => a.data.iter().map(|x| json!(x)).collect(),
        Scalars::IntData(a) => a.data.iter().map(|x| json!(x)).collect(),
        Scalars::BoolData(a) => a.data.iter().map(|x| json!(x)).collect(),
        Scalars::FloatData(a) => a.data.iter().map(|x| json!(x)).collect(),
        Scalars::DoubleData(a) => a.data.iter().map(|x| json!(x)).collect(),
        Scalars::StringData(a) => a.data.iter().map(|x| json!(x)).collect(),
        Scalars::JsonData(a) => a
            .data
            .iter()
            .map(|x| serde_json::from_slice(x).unwrap())
            .collect(),
        Scalars::ArrayData(a) => a
            .data
            .iter()
            .map(|x| Value::Array(scalar_values(x)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// The keys of an answer.
pub(super) fn ids(answer: &milvus::MutationResult) -> Vec<Value> {
    match answer.i_ds.as_ref().and_then(|ids| ids.id_field.as_ref()) {
        Some(IdField::IntId(ids)) => ids.data.iter().map(|id| json!(id)).collect(),
        Some(IdField::StrId(ids)) => ids.data.iter().map(|id| json!(id)).collect(),
        None => panic!("an answer without the kind of its keys"),
    }
}
