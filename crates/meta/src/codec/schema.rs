//! Schemas, fields and default values.

use holdfast_proto::persisted::catalog as pb;
use holdfast_types::{CollectionSchema, DataType, FieldId, FieldSchema, Value};

use super::{InvalidField, pairs_from_wire, pairs_to_wire, positive};

pub(super) fn to_wire(schema: &CollectionSchema) -> pb::Schema {
    let CollectionSchema {
        description,
        fields,
        enable_dynamic_field,
        version,
    } = schema;
    pb::Schema {
        description: description.clone(),
        fields: fields.iter().map(field_to_wire).collect(),
        enable_dynamic_field: *enable_dynamic_field,
        version: *version,
    }
}

pub(super) fn from_wire(wire: pb::Schema) -> Result<CollectionSchema, InvalidField> {
    let pb::Schema {
        description,
        fields,
        enable_dynamic_field,
        version,
    } = wire;
    let fields = fields
        .into_iter()
        .enumerate()
        .map(|(i, f)| field_from_wire(f).map_err(|e| e.within_item("fields", i)))
        .collect::<Result<Vec<_>, _>>()?;
    // `CollectionSchema::primary` relies on it.
    let primaries = fields.iter().filter(|f| f.is_primary).count();
    if primaries != 1 {
        return Err(InvalidField::new(
            "fields",
            format!("{primaries} primary keys"),
        ));
    }
    Ok(CollectionSchema {
        description,
        fields,
        enable_dynamic_field,
        version,
    })
}

fn field_to_wire(field: &FieldSchema) -> pb::Field {
    let FieldSchema {
        id,
        name,
        description,
        data_type,
        element_type,
        dim,
        max_length,
        max_capacity,
        is_primary,
        auto_id,
        is_partition_key,
        is_clustering_key,
        nullable,
        default,
        is_dynamic,
        type_params,
    } = field;
    pb::Field {
        id: id.0,
        name: name.clone(),
        description: description.clone(),
        data_type: data_type.wire_number(),
        element_type: element_type.map(DataType::wire_number),
        dim: *dim,
        max_length: *max_length,
        max_capacity: *max_capacity,
        is_primary: *is_primary,
        auto_id: *auto_id,
        is_partition_key: *is_partition_key,
        is_clustering_key: *is_clustering_key,
        nullable: *nullable,
        default: default.as_ref().map(value_to_wire),
        is_dynamic: *is_dynamic,
        type_params: pairs_to_wire(type_params.iter().map(|(k, v)| (k, v))),
    }
}

fn field_from_wire(wire: pb::Field) -> Result<FieldSchema, InvalidField> {
    let pb::Field {
        id,
        name,
        description,
        data_type,
        element_type,
        dim,
        max_length,
        max_capacity,
        is_primary,
        auto_id,
        is_partition_key,
        is_clustering_key,
        nullable,
        default,
        is_dynamic,
        type_params,
    } = wire;
    let data_type = data_type_from_wire("data_type", data_type)?;
    let element_type = element_type
        .map(|number| data_type_from_wire("element_type", number))
        .transpose()?;
    // What the column layout takes for granted of a checked field.
    if element_type.is_some() != (data_type == DataType::Array) {
        return Err(InvalidField::new(
            "element_type",
            format!("present or absent against the type {data_type}"),
        ));
    }
    if element_type.is_some_and(|t| !t.is_array_element()) {
        return Err(InvalidField::new("element_type", "not a scalar"));
    }
    let dim_fits = match (dim, data_type.is_dense_vector()) {
        (Some(dim), true) => (1..=holdfast_types::limits::MAX_BINARY_DIM).contains(&dim),
        (dim, is_dense) => dim.is_some() == is_dense,
    };
    if !dim_fits {
        return Err(InvalidField::new(
            "dim",
            format!("{dim:?} does not fit the type {data_type}"),
        ));
    }
    Ok(FieldSchema {
        id: FieldId(positive("id", id)?),
        name,
        description,
        data_type,
        element_type,
        dim,
        max_length,
        max_capacity,
        is_primary,
        auto_id,
        is_partition_key,
        is_clustering_key,
        nullable,
        default: default
            .map(value_from_wire)
            .transpose()
            .map_err(|e| e.within("default"))?,
        is_dynamic,
        type_params: pairs_from_wire(type_params),
    })
}

pub(super) fn data_type_from_wire(path: &str, number: i32) -> Result<DataType, InvalidField> {
    DataType::from_wire_number(number)
        .ok_or_else(|| InvalidField::new(path, format!("data type {number} is not known")))
}

fn value_to_wire(value: &Value) -> pb::Value {
    use pb::value::Value as Wire;
    let value = match value {
        Value::Null => Wire::Null(pb::Null {}),
        Value::Bool(b) => Wire::Bool(*b),
        Value::Int(i) => Wire::Int(*i),
        Value::Float(x) => Wire::Float(*x),
        Value::Str(s) => Wire::Str(s.clone()),
        Value::List(values) => Wire::List(pb::List {
            values: values.iter().map(value_to_wire).collect(),
        }),
    };
    pb::Value { value: Some(value) }
}

/// The depth of nested lists is bounded by that of protobuf messages (100), which the decoder enforces.
fn value_from_wire(wire: pb::Value) -> Result<Value, InvalidField> {
    use pb::value::Value as Wire;
    let pb::Value { value } = wire;
    Ok(match value {
        None => return Err(InvalidField::new("value", "absent")),
        Some(Wire::Null(pb::Null {})) => Value::Null,
        Some(Wire::Bool(b)) => Value::Bool(b),
        Some(Wire::Int(i)) => Value::Int(i),
        Some(Wire::Float(x)) => Value::Float(x),
        Some(Wire::Str(s)) => Value::Str(s),
        Some(Wire::List(pb::List { values })) => Value::List(
            values
                .into_iter()
                .enumerate()
                .map(|(i, v)| value_from_wire(v).map_err(|e| e.within_item("list", i)))
                .collect::<Result<_, _>>()?,
        ),
    })
}
