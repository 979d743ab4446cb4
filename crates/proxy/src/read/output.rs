//! Output fields: names to columns, columns to the wire.

use std::collections::HashSet;

use arrow_array::RecordBatch;
use holdfast_meta::CollectionMeta;
use holdfast_proto::{field_data, milvus::schema::FieldData};
use holdfast_types::{
    CollectionSchema, DataType, Failure, FieldId, columns, schema::DYNAMIC_FIELD,
};

/// The most names that a request may list.
const NAMES_MAX: usize = 1_024;

/// What a request wants to see of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Columns, in the order of the answer.
    pub(crate) fields: Vec<FieldId>,
    /// Names as the answer lists them, dynamic keys among them.
    pub(crate) names: Vec<String>,
}

impl Output {
    /// Resolves the names: `*` is every field, an undeclared name is a key of the dynamic field.
    pub(crate) fn resolve(meta: &CollectionMeta, wanted: &[String]) -> Result<Self, Failure> {
        if wanted.len() > NAMES_MAX {
            return Err(Failure::invalid(format!(
                "output_fields: {} names, at most {NAMES_MAX} are allowed",
                wanted.len()
            )));
        }
        let schema = &meta.schema;
        let mut output = Self {
            fields: Vec::new(),
            names: Vec::new(),
        };
        let mut seen = HashSet::new();
        for name in wanted {
            let name = name.trim();
            if name == "*" {
                for field in &schema.fields {
                    output.add(field.id, &field.name, &mut seen);
                }
            } else if let Some(field) = schema.field(name) {
                output.add(field.id, name, &mut seen);
            } else if let Some(dynamic) = schema.dynamic() {
                let key = dynamic_key(name);
                if !output.fields.contains(&dynamic.id) {
                    output.fields.push(dynamic.id);
                }
                if seen.insert(key.to_owned()) {
                    output.names.push(key.to_owned());
                }
            } else {
                return Err(Failure::invalid(format!("field {name} not exist")));
            }
        }
        Ok(output)
    }

    fn add(&mut self, id: FieldId, name: &str, seen: &mut HashSet<String>) {
        if !self.fields.contains(&id) {
            self.fields.push(id);
        }
        if seen.insert(name.to_owned()) {
            self.names.push(name.to_owned());
        }
    }

    /// The same with the primary key, which a query always answers with.
    pub(crate) fn with_primary(mut self, schema: &CollectionSchema) -> Self {
        let primary = schema.primary();
        if !self.fields.contains(&primary.id) {
            self.fields.insert(0, primary.id);
            self.names.insert(0, primary.name.clone());
        }
        self
    }

    /// The columns of `batch`, one a field, in the order of the answer.
    pub(crate) fn to_wire(
        &self,
        schema: &CollectionSchema,
        batch: &RecordBatch,
    ) -> Result<Vec<FieldData>, Failure> {
        self.fields
            .iter()
            .map(|id| {
                let field = schema.field_by_id(*id).ok_or_else(|| {
                    Failure::invalid(format!("field {id} was dropped while it was read"))
                })?;
                let column = columns::column(batch, *id).ok_or_else(|| {
                    Failure::internal(format!(
                        "field {}: no such column in the answer",
                        field.name
                    ))
                })?;
                field_data::from_column(column, field)
            })
            .collect()
    }

    /// Bytes that one row of the answer takes, as far as the schema says: what is reserved before rows
    /// are read.
    pub(crate) fn row_bytes(&self, schema: &CollectionSchema) -> u64 {
        /// Guess for values of no fixed size.
        const VARIABLE: u64 = 64;
        self.fields
            .iter()
            .filter_map(|id| schema.field_by_id(*id))
            .map(|field| match field.data_type {
                DataType::Bool
                | DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Float => 4,
                DataType::Int64 | DataType::Double => 8,
                DataType::VarChar
                | DataType::Json
                | DataType::Array
                | DataType::SparseFloatVector => VARIABLE,
                DataType::FloatVector
                | DataType::Float16Vector
                | DataType::BFloat16Vector
                | DataType::Int8Vector
                | DataType::BinaryVector => field
                    .data_type
                    .vector_bytes(field.dim.unwrap_or(0))
                    .unwrap_or(0) as u64,
            })
            .sum()
    }
}

/// The key that `$meta["key"]` or `key` names.
fn dynamic_key(name: &str) -> &str {
    name.strip_prefix(DYNAMIC_FIELD)
        .and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'))
        .map_or(name, |quoted| quoted.trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_key_may_be_written_with_its_field() {
        for (name, key) in [
            ("color", "color"),
            ("$meta[\"color\"]", "color"),
            ("$meta['a b']", "a b"),
            ("$meta", "$meta"),
        ] {
            assert_eq!(dynamic_key(name), key);
        }
    }
}
