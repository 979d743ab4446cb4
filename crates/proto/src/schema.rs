//! Collection schemas: checked on the way in, shown as they were given on the way out.
//!
//! | module            | what it knows                               |
//! |-------------------|---------------------------------------------|
//! | `field`           | one field and its type parameters           |
//! | `default_value`   | the default of a field                      |
//! | `name`            | what collections and fields may be called   |

mod default_value;
mod field;
mod name;

use std::collections::HashSet;

use holdfast_types::{
    Code, CollectionSchema, DataType, Failure, FieldId, FieldSchema, Value,
    limits::{MAX_FIELDS, MAX_VECTOR_FIELDS},
    schema::{DYNAMIC_FIELD, FIRST_USER_FIELD},
};
use prost::Message;

use crate::milvus::schema as wire;
pub use field::{field_to_domain, field_to_wire};
pub use name::check_name;

/// The schema inside a request, where it travels as bytes of its own. Its name, properties and database
/// are the request's business; everything else is read by [`to_domain`].
///
/// # Errors
/// [`Code::InvalidArgument`]: the bytes are not that message.
pub fn decode(bytes: &[u8]) -> Result<wire::CollectionSchema, Failure> {
    wire::CollectionSchema::decode(bytes)
        .map_err(|e| Failure::invalid(format!("schema: not a CollectionSchema message: {e}")))
}

/// The schema, checked whole. Field ids count from [`FIRST_USER_FIELD`] in declaration order, whatever
/// the message says; the dynamic field comes last.
///
/// # Errors
/// [`Code::InvalidArgument`] for what no server would take, [`Code::Unsupported`] for what Holdfast has
/// not built, both naming the field.
pub fn to_domain(schema: &wire::CollectionSchema) -> Result<CollectionSchema, Failure> {
    // Destructured, so that a new wire field does not compile until it is handled.
    let wire::CollectionSchema {
        name: _, // the request's own name counts
        description,
        auto_id: _, // long replaced by that of the primary field
        fields,
        enable_dynamic_field,
        properties: _, // the request's own properties count
        functions,
        db_name: _, // the request's own database counts
        struct_array_fields,
        version: _, // a new schema starts at 0
        external_source,
        external_spec,
        do_physical_backfill,
        file_resource_ids,
        enable_namespace,
    } = schema;
    if let Some(function) = functions.first() {
        return Err(unsupported(
            format_args!("function {}", function.name),
            "functions",
        ));
    }
    if let Some(field) = struct_array_fields.first() {
        return Err(unsupported(
            format_args!("field {}", field.name),
            "arrays of structs",
        ));
    }
    for (asked, what) in [
        (
            !external_source.is_empty() || !external_spec.is_empty(),
            "external collections",
        ),
        (*do_physical_backfill, "physical backfill"),
        (!file_resource_ids.is_empty(), "file resources"),
        (*enable_namespace, "namespaces"),
    ] {
        if asked {
            return Err(unsupported("schema", what));
        }
    }
    if fields.len() > MAX_FIELDS {
        return Err(Failure::invalid(format!(
            "maximum field's number should be limited to {MAX_FIELDS}, got {}",
            fields.len()
        )));
    }

    let mut next = FIRST_USER_FIELD.0;
    let mut checked = Vec::with_capacity(fields.len() + 1);
    for field in fields {
        checked.push(field_to_domain(field, FieldId(next))?);
        next += 1;
    }
    if *enable_dynamic_field {
        checked.push(dynamic_field(FieldId(next)));
    }
    let schema = CollectionSchema {
        description: description.clone(),
        fields: checked,
        enable_dynamic_field: *enable_dynamic_field,
        version: 0,
    };
    check_fields(&schema)?;
    Ok(schema)
}

/// The hidden field of undeclared keys: a row that gives none has `{}`.
#[must_use]
pub fn dynamic_field(id: FieldId) -> FieldSchema {
    FieldSchema {
        id,
        name: DYNAMIC_FIELD.to_owned(),
        description: String::new(),
        data_type: DataType::Json,
        element_type: None,
        dim: None,
        max_length: None,
        max_capacity: None,
        is_primary: false,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: true,
        default: Some(Value::Str("{}".to_owned())),
        is_dynamic: true,
        type_params: Vec::new(),
    }
}

/// What holds among the fields of a schema: one primary key, distinct names, at least one vector. Also
/// for a schema to which a field was just added.
///
/// # Errors
/// [`Code::InvalidArgument`] naming the fields.
pub fn check_fields(schema: &CollectionSchema) -> Result<(), Failure> {
    let mut names = HashSet::new();
    for field in &schema.fields {
        if !names.insert(field.name.as_str()) {
            return Err(Failure::invalid(format!(
                "duplicated field name {}",
                field.name
            )));
        }
    }
    let declared = schema.fields.iter().filter(|f| !f.is_dynamic).count();
    if declared > MAX_FIELDS {
        return Err(Failure::invalid(format!(
            "maximum field's number should be limited to {MAX_FIELDS}, got {declared}"
        )));
    }
    if one_at_most(schema, "primary key", |f| f.is_primary)?.is_none() {
        return Err(Failure::invalid("primary key is not specified"));
    }
    one_at_most(schema, "partition key", |f| f.is_partition_key)?;
    one_at_most(schema, "clustering key", |f| f.is_clustering_key)?;
    match schema.vectors().count() {
        0 => Err(Failure::invalid("schema does not contain vector field")),
        n if n > MAX_VECTOR_FIELDS => Err(Failure::invalid(format!(
            "maximum vector field's number should be limited to {MAX_VECTOR_FIELDS}, got {n}"
        ))),
        _ => Ok(()),
    }
}

fn one_at_most<'a>(
    schema: &'a CollectionSchema,
    what: &str,
    is: impl Fn(&FieldSchema) -> bool,
) -> Result<Option<&'a FieldSchema>, Failure> {
    let mut found = schema.fields.iter().filter(|f| is(f));
    match (found.next(), found.next()) {
        (Some(a), Some(b)) => Err(Failure::invalid(format!(
            "there are more than one {what}, field name = {}, {}",
            a.name, b.name
        ))),
        (first, _) => Ok(first),
    }
}

/// The schema as a client is shown it: without the dynamic field.
#[must_use]
pub fn to_wire(schema: &CollectionSchema, name: &str) -> wire::CollectionSchema {
    wire::CollectionSchema {
        name: name.to_owned(),
        description: schema.description.clone(),
        fields: schema
            .fields
            .iter()
            .filter(|f| !f.is_dynamic)
            .map(field_to_wire)
            .collect(),
        enable_dynamic_field: schema.enable_dynamic_field,
        version: schema.version,
        ..wire::CollectionSchema::default()
    }
}

fn unsupported(place: impl std::fmt::Display, what: &str) -> Failure {
    Failure::new(Code::Unsupported, format!("{place}: {what} are not built"))
}

#[cfg(test)]
mod tests;
