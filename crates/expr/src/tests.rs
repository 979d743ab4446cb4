//! The language as tables: what each filter means, and what each mistake is told.

mod accepted;
mod hostile;
mod planning;
mod refused;
mod round_trip;

use std::collections::HashMap;

use holdfast_types::{CollectionSchema, DataType, FieldId, FieldSchema, Value};

use crate::{ExprError, Predicate};

const ID: FieldId = FieldId(100);
const TENANT: FieldId = FieldId(101);

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.into(),
        description: String::new(),
        data_type,
        element_type: None,
        dim: None,
        max_length: None,
        max_capacity: None,
        is_primary: id == ID.0,
        auto_id: false,
        is_partition_key: id == TENANT.0,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: name == "$meta",
        type_params: Vec::new(),
    }
}

fn array(id: i64, name: &str, element: DataType) -> FieldSchema {
    FieldSchema {
        element_type: Some(element),
        ..field(id, name, DataType::Array)
    }
}

/// `i8`, `i32`, `i64`, `n` integers; `f`, `d` floats; `b` a truth; `s`, `tenant` texts; `json`; arrays
/// `ints`, `floats`, `words`, `flags`; a vector.
fn schema() -> CollectionSchema {
    CollectionSchema {
        description: String::new(),
        fields: vec![
            field(100, "id", DataType::Int64),
            field(101, "tenant", DataType::VarChar),
            field(102, "i8", DataType::Int8),
            field(103, "i32", DataType::Int32),
            field(104, "i64", DataType::Int64),
            field(105, "f", DataType::Float),
            field(106, "d", DataType::Double),
            field(107, "b", DataType::Bool),
            field(108, "s", DataType::VarChar),
            field(109, "json", DataType::Json),
            array(110, "ints", DataType::Int32),
            array(111, "floats", DataType::Float),
            array(112, "words", DataType::VarChar),
            array(113, "flags", DataType::Bool),
            field(114, "vector", DataType::FloatVector),
            field(115, "b2", DataType::Bool),
        ],
        enable_dynamic_field: false,
        version: 0,
    }
}

fn dynamic_schema() -> CollectionSchema {
    let mut schema = schema();
    schema.enable_dynamic_field = true;
    schema.fields.push(field(116, "$meta", DataType::Json));
    schema
}

fn params() -> HashMap<String, Value> {
    HashMap::from([
        ("n".into(), Value::Int(5)),
        ("x".into(), Value::Float(2.5)),
        ("name".into(), Value::Str("it's".into())),
        ("yes".into(), Value::Bool(true)),
        ("nothing".into(), Value::Null),
        ("nan".into(), Value::Float(f64::NAN)),
        (
            "ids".into(),
            Value::List(vec![Value::Int(3), Value::Int(1), Value::Int(3)]),
        ),
    ])
}

fn parse(text: &str) -> Result<Predicate, ExprError> {
    crate::parse(text, &dynamic_schema(), &params())
}

#[track_caller]
fn parsed(text: &str) -> Predicate {
    parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}
