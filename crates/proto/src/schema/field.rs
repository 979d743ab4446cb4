//! One field and its type parameters.

use std::{collections::HashSet, ops::RangeInclusive};

use holdfast_types::{
    Code, DataType, Failure, FieldId, FieldSchema,
    limits::{MAX_ARRAY_CAPACITY, MAX_BINARY_DIM, MAX_DIM, MAX_VARCHAR_LENGTH, MIN_DIM},
};

use super::{default_value, name::check_field_name};
use crate::{
    kv,
    milvus::{common::KeyValuePair, schema as wire},
};

/// The field, checked by itself; [`super::check_fields`] checks it among the others.
///
/// # Errors
/// [`Code::InvalidArgument`] or [`Code::Unsupported`], naming the field.
pub fn field_to_domain(field: &wire::FieldSchema, id: FieldId) -> Result<FieldSchema, Failure> {
    // Destructured, so that a new wire field does not compile until it is handled.
    let wire::FieldSchema {
        field_id: _, // the server gives it
        name,
        is_primary_key,
        description,
        data_type,
        type_params,
        index_params: _, // superseded by CreateIndex; Milvus does not read them either
        auto_id,
        state: _, // the server's to say
        element_type,
        default_value,
        is_dynamic,
        is_partition_key,
        is_clustering_key,
        nullable,
        is_function_output,
        external_field,
    } = field;
    check_field_name(name)?;
    if *is_dynamic {
        return Err(Failure::invalid(format!(
            "field {name}: cannot explicitly set a field as a dynamic field"
        )));
    }
    for (asked, what) in [
        (*is_function_output, "the output of a function"),
        (!external_field.is_empty(), "a field of an external source"),
        (is_on(type_params, "enable_match"), "enable_match"),
        (is_on(type_params, "enable_analyzer"), "enable_analyzer"),
    ] {
        if asked {
            return Err(unsupported(name, what));
        }
    }

    let data_type = read_type(name, "data_type", *data_type)?;
    check_distinct_keys(name, type_params)?;
    let element_type = match data_type {
        DataType::Array => Some(read_element_type(name, *element_type)?),
        _ => None, // clients send anything here
    };
    let mut domain = FieldSchema {
        id,
        name: name.clone(),
        description: description.clone(),
        data_type,
        element_type,
        dim: read_dim(name, data_type, type_params)?,
        max_length: (data_type == DataType::VarChar || element_type == Some(DataType::VarChar))
            .then(|| read_max_length(name, type_params))
            .transpose()?,
        max_capacity: (data_type == DataType::Array)
            .then(|| read_max_capacity(name, type_params))
            .transpose()?,
        is_primary: *is_primary_key,
        auto_id: *auto_id,
        is_partition_key: *is_partition_key,
        is_clustering_key: *is_clustering_key,
        nullable: *nullable,
        default: None,
        is_dynamic: false,
        type_params: kv::to_domain(type_params),
    };
    check_roles(&domain)?;
    if let Some(value) = default_value {
        domain.default = default_value::to_domain(value, &domain)?;
    }
    Ok(domain)
}

/// The field as a client is shown it.
#[must_use]
pub fn field_to_wire(field: &FieldSchema) -> wire::FieldSchema {
    wire::FieldSchema {
        field_id: field.id.0,
        name: field.name.clone(),
        is_primary_key: field.is_primary,
        description: field.description.clone(),
        data_type: field.data_type.wire_number(),
        type_params: kv::to_wire(
            field
                .type_params
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str())),
        ),
        auto_id: field.auto_id,
        element_type: field.element_type.map_or(0, DataType::wire_number),
        default_value: field
            .default
            .as_ref()
            .and_then(|value| default_value::to_wire(value, field.data_type)),
        is_dynamic: field.is_dynamic,
        is_partition_key: field.is_partition_key,
        is_clustering_key: field.is_clustering_key,
        nullable: field.nullable,
        ..wire::FieldSchema::default()
    }
}

fn check_roles(field: &FieldSchema) -> Result<(), Failure> {
    let FieldSchema {
        name, data_type, ..
    } = field;
    let is_key_type = matches!(data_type, DataType::Int64 | DataType::VarChar);
    let problem = if field.is_primary && !is_key_type {
        format!(
            "the data type of primary key should be Int64 or VarChar, field {name} is {data_type}"
        )
    } else if field.is_primary && field.nullable {
        format!("primary field not support null, field name = {name}")
    } else if field.auto_id && !field.is_primary {
        format!("only primary field can specify AutoID with true, field name = {name}")
    } else if field.is_partition_key && field.is_primary {
        format!("the partition key field must not be primary field, field name = {name}")
    } else if field.is_partition_key && !is_key_type {
        format!(
            "the data type of partition key should be Int64 or VarChar, field {name} is {data_type}"
        )
    } else if field.is_partition_key && field.nullable {
        format!("partition key field not support nullable, field name = {name}")
    } else if field.is_clustering_key
        && (data_type.is_vector() || matches!(data_type, DataType::Json | DataType::Array))
    {
        format!("the data type of clustering key can not be {data_type}, field name = {name}")
    } else {
        return Ok(());
    };
    Err(Failure::invalid(problem))
}

fn read_type(name: &str, what: &str, number: i32) -> Result<DataType, Failure> {
    if let Some(data_type) = DataType::from_wire_number(number) {
        return Ok(data_type);
    }
    match wire::DataType::try_from(number) {
        Ok(wire::DataType::String) => Err(Failure::invalid(format!(
            "field {name}: string data type not supported yet, please use VarChar type instead"
        ))),
        Ok(wire::DataType::None) | Err(_) => Err(Failure::invalid(format!(
            "field {name}: {what} {number} is not a data type"
        ))),
        Ok(known) => Err(unsupported(name, known.as_str_name())),
    }
}

fn read_element_type(name: &str, number: i32) -> Result<DataType, Failure> {
    let element = read_type(name, "element_type", number)?;
    if element.is_array_element() {
        return Ok(element);
    }
    Err(Failure::invalid(format!(
        "field {name}: element type {element} is not supported"
    )))
}

fn read_dim(
    name: &str,
    data_type: DataType,
    params: &[KeyValuePair],
) -> Result<Option<u32>, Failure> {
    let given = kv::get(params, "dim");
    if data_type == DataType::SparseFloatVector && given.is_some() {
        return Err(Failure::invalid(format!(
            "dim should not be specified for sparse vector field {name}"
        )));
    }
    if !data_type.is_dense_vector() {
        return Ok(None);
    }
    let Some(text) = given else {
        return Err(Failure::invalid(format!(
            "dimension is not defined in field type params, check type param `dim` for vector field `{name}`"
        )));
    };
    let range = match data_type {
        DataType::BinaryVector => MIN_DIM..=MAX_BINARY_DIM,
        _ => MIN_DIM..=MAX_DIM,
    };
    let dim = text
        .trim()
        .parse::<u32>()
        .ok()
        .filter(|dim| range.contains(dim));
    let Some(dim) = dim else {
        return Err(Failure::invalid(format!(
            "invalid dimension: {text} of field {name}. {data_type} dimension should be in range {} ~ {}",
            range.start(),
            range.end()
        )));
    };
    if data_type == DataType::BinaryVector && dim % 8 != 0 {
        return Err(Failure::invalid(format!(
            "invalid dimension: {dim} of field {name}. binary vector dimension should be multiple of 8"
        )));
    }
    Ok(Some(dim))
}

fn read_max_length(name: &str, params: &[KeyValuePair]) -> Result<u32, Failure> {
    bounded(
        name,
        "max_length",
        "the maximum length",
        params,
        1..=MAX_VARCHAR_LENGTH,
    )
}

fn read_max_capacity(name: &str, params: &[KeyValuePair]) -> Result<u32, Failure> {
    bounded(
        name,
        "max_capacity",
        "the maximum capacity",
        params,
        1..=MAX_ARRAY_CAPACITY,
    )
}

fn bounded(
    name: &str,
    key: &str,
    what: &str,
    params: &[KeyValuePair],
    range: RangeInclusive<u32>,
) -> Result<u32, Failure> {
    let Some(text) = kv::get(params, key) else {
        return Err(Failure::invalid(format!(
            "type param({key}) should be specified for the field({name})"
        )));
    };
    text.trim()
        .parse::<u32>()
        .ok()
        .filter(|n| range.contains(n))
        .ok_or_else(|| {
            Failure::invalid(format!(
                "{what} specified for the field({name}) should be in ({}, {}], but got {text} instead",
                range.start() - 1,
                range.end()
            ))
        })
}

fn check_distinct_keys(name: &str, params: &[KeyValuePair]) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    for param in params {
        if !seen.insert(param.key.as_str()) {
            return Err(Failure::invalid(format!(
                "field {name}: duplicated type param key {}",
                param.key
            )));
        }
    }
    Ok(())
}

fn is_on(params: &[KeyValuePair], key: &str) -> bool {
    kv::get(params, key).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
}

fn unsupported(name: &str, what: &str) -> Failure {
    Failure::new(
        Code::Unsupported,
        format!("field {name}: {what} is not built"),
    )
}
