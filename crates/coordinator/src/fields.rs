//! DDL of fields: what changes, what comes and what goes. Stored rows are never rewritten for it.

use std::sync::Arc;

use holdfast_meta::{CollectionMeta, NameOf, check_name};
use holdfast_node_api::coordinator::{AlterParams, CollectionName};
use holdfast_types::{
    CollectionSchema, DataType, Failure, FieldId, FieldSchema,
    limits::{
        MAX_ARRAY_CAPACITY, MAX_BINARY_DIM, MAX_DIM, MAX_FIELDS, MAX_VARCHAR_LENGTH,
        MAX_VECTOR_FIELDS, MIN_DIM,
    },
};

use crate::{
    CoordinatorService,
    collections::{alter, named},
    properties::{MMAP, WARMUP, check_bool},
};

const MAX_LENGTH: &str = "max_length";
const MAX_CAPACITY: &str = "max_capacity";

impl CoordinatorService {
    pub(crate) async fn change_field(
        &self,
        name: &CollectionName,
        field: &str,
        change: &AlterParams,
    ) -> Result<(), Failure> {
        self.change_schema(name, |meta| {
            let schema = Arc::make_mut(&mut meta.schema);
            let found = schema.fields.iter_mut().find(|f| f.name == field);
            let found = found.filter(|f| !f.is_dynamic).ok_or_else(|| {
                let collection = &name.collection;
                Failure::invalid(format!(
                    "field {field} does not exist in collection {collection}"
                ))
            })?;
            altered(found, change)
        })
        .await
    }

    pub(crate) async fn append_field(
        &self,
        name: &CollectionName,
        field: FieldSchema,
    ) -> Result<(), Failure> {
        self.change_schema(name, |meta| append(meta, field.clone()))
            .await
    }

    pub(crate) async fn remove_field(
        &self,
        name: &CollectionName,
        field: &str,
    ) -> Result<(), Failure> {
        self.change_schema(name, |meta| remove(meta, field, &name.collection))
            .await?;
        // Its indexes are in the manifests still.
        self.left_over.notify_one();
        Ok(())
    }

    async fn change_schema(
        &self,
        name: &CollectionName,
        f: impl Fn(&mut CollectionMeta) -> Result<(), Failure> + Send + Sync,
    ) -> Result<(), Failure> {
        let id = self.resolve(name)?.id;
        let stamp = Some(self.hlc.next());
        let changed = self.parts.catalog.update_collection(id, stamp, |old| {
            let mut new = old.clone();
            f(&mut new)?;
            Ok(new)
        });
        changed.await.map(drop).map_err(|e| named(e, name))
    }
}

/// Changes a field's type parameters.
fn altered(field: &mut FieldSchema, change: &AlterParams) -> Result<(), Failure> {
    for key in &change.remove {
        if ![MMAP, WARMUP].contains(&key.as_str()) {
            return Err(Failure::invalid(format!(
                "{key} is not allowed to delete in collection field param"
            )));
        }
    }
    for (key, value) in &change.set {
        match key.as_str() {
            MAX_LENGTH => {
                let is_text =
                    [Some(field.data_type), field.element_type].contains(&Some(DataType::VarChar));
                if !is_text {
                    return Err(Failure::invalid(format!(
                        "{} can not modify the maxlength for non-string types",
                        field.data_type
                    )));
                }
                field.max_length = Some(grown(key, value, field.max_length, MAX_VARCHAR_LENGTH)?);
            }
            MAX_CAPACITY => {
                if field.data_type != DataType::Array {
                    return Err(Failure::invalid(format!(
                        "{} can not modify the maxcapacity for non-array types",
                        field.data_type
                    )));
                }
                let capacity = grown(key, value, field.max_capacity, MAX_ARRAY_CAPACITY)?;
                field.max_capacity = Some(capacity);
            }
            MMAP => check_bool(key, value)?,
            WARMUP => {}
            _ => {
                return Err(Failure::invalid(format!(
                    "{key} does not allow update in collection field param"
                )));
            }
        }
    }
    alter(&mut field.type_params, change);
    Ok(())
}

/// A bound that may only grow: rows that used it up are stored.
fn grown(key: &str, value: &str, now: Option<u32>, most: u32) -> Result<u32, Failure> {
    let new: u32 = value
        .parse()
        .map_err(|_| Failure::invalid(format!("{key} should be an integer, but got {value}")))?;
    if new > most {
        return Err(Failure::invalid(format!(
            "{key} {new} exceeds the maximum allowed value {most}"
        )));
    }
    if let Some(now) = now.filter(|&now| new < now) {
        return Err(Failure::invalid(format!(
            "{key} may only grow: {new} is less than {now}"
        )));
    }
    Ok(new)
}

fn append(meta: &mut CollectionMeta, mut field: FieldSchema) -> Result<(), Failure> {
    check_addition(&meta.schema, &field)?;
    field.id = meta.next_field_id;
    let after = field.id.0.checked_add(1);
    meta.next_field_id =
        FieldId(after.ok_or_else(|| Failure::internal("all field ids are used up"))?);
    let schema = Arc::make_mut(&mut meta.schema);
    // The dynamic field stays last.
    let at = schema.fields.iter().position(|f| f.is_dynamic);
    schema
        .fields
        .insert(at.unwrap_or(schema.fields.len()), field);
    next_version(schema)
}

fn check_addition(schema: &CollectionSchema, field: &FieldSchema) -> Result<(), Failure> {
    let name = &field.name;
    check_name(NameOf::Field, name)?;
    let refuse = |why: String| Err(Failure::invalid(why));
    if schema.field(name).is_some() {
        return refuse(format!("duplicate field name: {name}"));
    }
    if field.is_primary {
        return refuse(format!("not support to add pk field, field name = {name}"));
    }
    if field.auto_id {
        return refuse(format!(
            "only primary field can speficy AutoID with true, field name = {name}"
        ));
    }
    if field.is_partition_key {
        return refuse(format!(
            "not support to add partition key field, field name = {name}"
        ));
    }
    if field.is_clustering_key {
        return refuse(format!(
            "not support to add clustering key field, field name = {name}"
        ));
    }
    if field.is_dynamic {
        return refuse(format!(
            "not support to add dynamic field, field name = {name}"
        ));
    }
    if !field.nullable {
        return refuse(format!(
            "added field must be nullable, please check it, field name = {name}"
        ));
    }
    if schema.fields.iter().filter(|f| !f.is_dynamic).count() >= MAX_FIELDS {
        return refuse(format!(
            "The number of fields has reached the maximum value {MAX_FIELDS}"
        ));
    }
    if field.data_type.is_vector() && schema.vectors().count() >= MAX_VECTOR_FIELDS {
        return refuse(format!(
            "maximum vector field's number should be limited to {MAX_VECTOR_FIELDS}"
        ));
    }
    check_shape(field)
}

/// What the rest of the system relies on for the layout of a column.
fn check_shape(field: &FieldSchema) -> Result<(), Failure> {
    let name = &field.name;
    let refuse = |what: &str| Err(Failure::invalid(format!("field {name}: {what}")));
    if field.data_type.is_dense_vector() {
        let most = match field.data_type {
            DataType::BinaryVector => MAX_BINARY_DIM,
            _ => MAX_DIM,
        };
        match field.dim {
            Some(dim) if (MIN_DIM..=most).contains(&dim) => {}
            _ => return refuse(&format!("dim should be in range {MIN_DIM} ~ {most}")),
        }
        if field.data_type == DataType::BinaryVector && field.dim.is_some_and(|d| d % 8 != 0) {
            return refuse("the dim of a binary vector should be a multiple of 8");
        }
        if field.default.is_some() {
            return refuse("a vector has no default value");
        }
    }
    if field.data_type == DataType::Array
        && !(field.element_type.is_some_and(DataType::is_array_element)
            && field
                .max_capacity
                .is_some_and(|c| (1..=MAX_ARRAY_CAPACITY).contains(&c)))
    {
        return refuse("an array needs an element type and a max_capacity");
    }
    let is_text = [Some(field.data_type), field.element_type].contains(&Some(DataType::VarChar));
    let length_is_good = field
        .max_length
        .is_some_and(|l| (1..=MAX_VARCHAR_LENGTH).contains(&l));
    if is_text && !length_is_good {
        return refuse("text needs a max_length");
    }
    Ok(())
}

fn remove(meta: &mut CollectionMeta, name: &str, collection: &str) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::invalid(why));
    let Some(field) = meta.schema.field(name).filter(|f| !f.is_dynamic) else {
        return refuse(format!(
            "field {name} does not exist in collection {collection}"
        ));
    };
    if field.is_primary {
        return refuse(format!("cannot drop primary key field: {name}"));
    }
    if field.is_partition_key {
        return refuse(format!("cannot drop partition key field: {name}"));
    }
    if field.is_clustering_key {
        return refuse(format!("cannot drop clustering key field: {name}"));
    }
    if field.data_type.is_vector() && meta.schema.vectors().count() == 1 {
        return refuse(format!("cannot drop the last vector field: {name}"));
    }
    let id = field.id;
    if let Some(load) = &mut meta.load {
        // An empty list would mean all fields; the primary key is always in a list that is not empty.
        load.fields.retain(|f| *f != id);
    }
    meta.indexes.retain(|i| i.field != id);
    let schema = Arc::make_mut(&mut meta.schema);
    schema.fields.retain(|f| f.id != id);
    next_version(schema)
}

fn next_version(schema: &mut CollectionSchema) -> Result<(), Failure> {
    let next = schema.version.checked_add(1);
    schema.version = next.ok_or_else(|| Failure::internal("all schema versions are used up"))?;
    Ok(())
}
