//! Columns of rows between the wire and Arrow.
//!
//! | module       | what it knows                                         |
//! |--------------|-------------------------------------------------------|
//! | `presence`   | which rows have a value, and where it lies            |
//! | `scalar`     | scalars, text, JSON and arrays on the way in          |
//! | `vector`     | vectors on the way in                                 |
//! | `output`     | everything on the way out                             |
//!
//! On the way in, rows without a value may be left out of the payload (what clients do) or have a
//! placeholder in it. On the way out, scalars have placeholders and vectors are left out.

mod output;
mod presence;
mod scalar;
mod vector;

use std::collections::HashSet;

use arrow_array::{ArrayRef, new_null_array};
use holdfast_types::{
    CollectionSchema, DataType, Failure, FieldSchema, columns::arrow_type,
    limits::MAX_MESSAGE_BYTES,
};

use crate::milvus::schema::{FieldData, field_data::Field};
pub use output::from_column;
use presence::Presence;

/// Largest column that is made of one request, in bytes. Rows without a value cost nothing on the wire
/// but have room in a column, so that a small request could ask for any amount of memory.
const MAX_COLUMN_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// The column of `field` for `rows` rows, laid out as [`holdfast_types::columns`] says. Rows without a
/// value get the field's default, or null.
///
/// # Errors
/// [`holdfast_types::Code::InvalidArgument`], naming the field and the row: another type than the
/// field's, another number of rows, values out of their bounds, rows without a value where each needs one.
pub fn to_column(data: &FieldData, field: &FieldSchema, rows: usize) -> Result<ArrayRef, Failure> {
    convert(data, field, rows, &HashSet::new())
}

/// [`to_column`] for the dynamic field, whose keys also must not be those of declared fields.
///
/// # Errors
/// As [`to_column`]; also when the schema has no dynamic field.
pub fn dynamic_to_column(
    data: &FieldData,
    schema: &CollectionSchema,
    rows: usize,
) -> Result<ArrayRef, Failure> {
    let Some(field) = schema.dynamic() else {
        return Err(Failure::invalid(format!(
            "field {}: the collection has no dynamic field",
            data.field_name
        )));
    };
    let declared = schema.fields.iter().map(|f| f.name.as_str()).collect();
    convert(data, field, rows, &declared)
}

/// The column of a field that a request leaves out: its default, or null.
///
/// # Errors
/// [`holdfast_types::Code::InvalidArgument`]: the field has neither, or there are too many rows.
pub fn absent_column(field: &FieldSchema, rows: usize) -> Result<ArrayRef, Failure> {
    if field.default.is_none() && !field.nullable {
        return Err(Failure::invalid(format!(
            "field {} is required, but the request has no data for it",
            field.name
        )));
    }
    check_size(field, rows, field.dim.map_or(8, row_bytes_at_most))?;
    if field.default.is_none() {
        return Ok(new_null_array(&arrow_type(field), rows));
    }
    let nothing = vec![false; rows];
    scalar::to_column(
        None,
        &Presence::new(field, rows, &nothing)?,
        &HashSet::new(),
    )
}

fn convert(
    data: &FieldData,
    field: &FieldSchema,
    rows: usize,
    declared: &HashSet<&str>,
) -> Result<ArrayRef, Failure> {
    check_type(data, field)?;
    match (field.data_type.is_vector(), &data.field) {
        (false, Some(Field::Scalars(scalars))) => {
            let valid = valid_data(field, &data.valid_data, &scalars.valid_data)?;
            let presence = Presence::new(field, rows, valid)?;
            scalar::to_column(scalars.data.as_ref(), &presence, declared)
        }
        (true, Some(Field::Vectors(vectors))) => {
            let valid = valid_data(field, &data.valid_data, &vectors.valid_data)?;
            vector::to_column(Some(vectors), &Presence::new(field, rows, valid)?)
        }
        (false, None) => {
            let presence = Presence::new(field, rows, &data.valid_data)?;
            scalar::to_column(None, &presence, declared)
        }
        (true, None) => vector::to_column(None, &Presence::new(field, rows, &data.valid_data)?),
        (_, Some(_)) => Err(wrong_payload(field)),
    }
}

/// The one list of present rows among the two places it may be in.
fn valid_data<'a>(
    field: &FieldSchema,
    outer: &'a [bool],
    inner: &'a [bool],
) -> Result<&'a [bool], Failure> {
    match (outer, inner) {
        (valid, []) | ([], valid) => Ok(valid),
        (a, b) if a == b => Ok(a),
        _ => Err(Failure::invalid(format!(
            "field {}: valid_data is given twice and differs",
            field.name
        ))),
    }
}

fn check_type(data: &FieldData, field: &FieldSchema) -> Result<(), Failure> {
    let given = DataType::from_wire_number(data.r#type);
    let narrows = given == Some(DataType::FloatVector)
        && matches!(
            field.data_type,
            DataType::Float16Vector | DataType::BFloat16Vector
        );
    if given == Some(field.data_type) || narrows {
        return Ok(());
    }
    let given = given.map_or_else(|| data.r#type.to_string(), |t| t.to_string());
    Err(Failure::invalid(format!(
        "field {}: data type mismatch[expected={}][actual={given}]",
        field.name, field.data_type
    )))
}

/// Refuses columns beyond [`MAX_COLUMN_BYTES`] before they are allocated.
fn check_size(field: &FieldSchema, rows: usize, row_bytes: usize) -> Result<(), Failure> {
    match rows.checked_mul(row_bytes) {
        Some(bytes) if bytes <= MAX_COLUMN_BYTES => Ok(()),
        _ => Err(Failure::invalid(format!(
            "field {}: {rows} rows of {row_bytes} bytes are more than {MAX_COLUMN_BYTES} bytes in one request, send fewer rows",
            field.name
        ))),
    }
}

/// Bytes of the widest vector of so many dimensions.
fn row_bytes_at_most(dim: u32) -> usize {
    dim as usize * size_of::<f32>()
}

fn wrong_payload(field: &FieldSchema) -> Failure {
    Failure::invalid(format!(
        "field {}: the data is not that of {}",
        field.name, field.data_type
    ))
}

fn bad_row(field: &FieldSchema, row: usize, problem: impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("{problem}[field={}][row number={row}]", field.name))
}

#[cfg(test)]
mod tests;
