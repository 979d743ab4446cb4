//! Given fields over stored rows; pure.

use std::collections::HashMap;

use arrow_array::{
    Array, ArrayRef, RecordBatch, UInt32Array, builder::StringBuilder, cast::AsArray,
};
use arrow_schema::ArrowError;
use arrow_select::{concat::concat, take::take};
use holdfast_proto::field_data::absent_column;
use holdfast_types::{
    CollectionSchema, Failure, FieldId, FieldSchema, Pk, PkList, columns, limits::MAX_JSON_BYTES,
};

use crate::write::{
    arrays::{self, ArrayOp},
    json,
    rows::{self, Given},
};

/// What is to change.
pub(crate) struct Changes<'a> {
    /// The given fields.
    pub(crate) given: &'a Given,
    /// The keys of the given rows, each once.
    pub(crate) keys: &'a PkList,
    /// The keys that the rows get, if not the same.
    pub(crate) new_keys: Option<&'a PkList>,
    /// Fields whose given values change the stored ones instead of replacing them.
    pub(crate) array_ops: &'a HashMap<FieldId, ArrayOp>,
}

/// Whole rows, in the order of the given ones.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) rows: RecordBatch,
    /// The stored row that each was made of.
    pub(crate) old: Vec<Option<usize>>,
}

/// Merges the given fields over `stored`, whose keys are `stored_keys`.
///
/// # Errors
/// `InvalidArgument`: a key has no stored row, and a field that a row needs is not given; a merged array
/// or dynamic field is too large.
pub(crate) fn merge(
    schema: &CollectionSchema,
    changes: &Changes<'_>,
    stored: &RecordBatch,
    stored_keys: &PkList,
) -> Result<Merged, Failure> {
    let places: HashMap<Pk, usize> = stored_keys.iter().zip(0..).collect();
    let old: Vec<Option<usize>> = changes
        .keys
        .iter()
        .map(|key| places.get(&key).copied())
        .collect();
    let new_keys = changes.new_keys.map(PkList::to_array);
    let rows = rows::batch(schema, |field| {
        if let (true, Some(keys)) = (field.is_primary, &new_keys) {
            return Ok(keys.clone());
        }
        let before = || {
            columns::column(stored, field.id).ok_or_else(|| {
                Failure::internal(format!("rows were read without field {}", field.name))
            })
        };
        match (
            changes.given.column(field.id),
            changes.array_ops.get(&field.id),
        ) {
            (None, _) => kept(field, before()?, &old, changes.keys),
            (Some(given), Some(op)) => arrays::apply(*op, field, before()?, given, &old),
            (Some(given), None) if field.is_dynamic => dynamic(field, before()?, given, &old),
            (Some(given), None) => Ok(given.clone()),
        }
    })?;
    Ok(Merged { rows, old })
}

/// The stored values of a field that is not given; of rows that are new, its default or null.
fn kept(
    field: &FieldSchema,
    stored: &ArrayRef,
    old: &[Option<usize>],
    keys: &PkList,
) -> Result<ArrayRef, Failure> {
    let fill = match old.iter().position(Option::is_none) {
        None => None,
        Some(row) => Some(absent_column(field, 1).map_err(|f| {
            f.within(format_args!(
                "no row has the key {}, so that it is inserted whole",
                keys.get(row)
            ))
        })?),
    };
    let with_fill;
    let source: &dyn Array = match &fill {
        None => stored.as_ref(),
        Some(fill) => {
            with_fill = concat(&[stored.as_ref(), fill.as_ref()]).map_err(|e| defect(field, &e))?;
            with_fill.as_ref()
        }
    };
    let indices: UInt32Array = old
        .iter()
        .map(|old| u32::try_from(old.unwrap_or(stored.len())))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Failure::internal("more stored rows than a request has keys"))?
        .into();
    take(source, &indices, None).map_err(|e| defect(field, &e))
}

/// The given keys over those that are stored.
fn dynamic(
    field: &FieldSchema,
    stored: &ArrayRef,
    given: &ArrayRef,
    old: &[Option<usize>],
) -> Result<ArrayRef, Failure> {
    let (Some(stored), Some(given)) = (stored.as_string_opt::<i32>(), given.as_string_opt::<i32>())
    else {
        return Err(Failure::internal(format!(
            "field {}: its column is not text",
            field.name
        )));
    };
    let mut column = StringBuilder::with_capacity(given.len(), given.values().len());
    let mut bytes = 0_usize;
    for (row, old) in old.iter().enumerate() {
        let new = given.is_valid(row).then(|| given.value(row));
        let before = old
            .filter(|&old| stored.is_valid(old))
            .map(|old| stored.value(old));
        let text = match (before, new) {
            (Some(before), Some(new)) => json::merge(before, new).ok_or_else(|| {
                Failure::internal(format!(
                    "field {}: a stored value is no JSON object",
                    field.name
                ))
            })?,
            (Some(text), None) | (None, Some(text)) => text.to_owned(),
            (None, None) => "{}".to_owned(),
        };
        if text.len() > MAX_JSON_BYTES {
            return Err(Failure::invalid(format!(
                "the length ({}) of json exceeds max length ({MAX_JSON_BYTES})[field={}][row number={row}]",
                text.len(),
                field.name
            )));
        }
        bytes = bytes.saturating_add(text.len());
        if bytes > rows::ROWS_BYTES_MAX {
            return Err(Failure::invalid(format!(
                "field {}: the merged rows are too large, send fewer rows",
                field.name
            )));
        }
        column.append_value(text);
    }
    Ok(std::sync::Arc::new(column.finish()))
}

fn defect(field: &FieldSchema, error: &ArrowError) -> Failure {
    Failure::internal(format!(
        "field {}: stored values can't be kept: {error}",
        field.name
    ))
}
