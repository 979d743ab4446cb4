//! Rows of several segments as one batch.

use std::collections::HashMap;

use arrow_array::{Array, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow_schema::{Field, Schema};
use arrow_select::interleave::interleave;
use holdfast_types::{Coded, CollectionSchema, Failure, FieldId, RowIdx, SegmentId, columns};

use crate::{RowRef, SegmentError};

/// The fields of these rows, in this order. `fetch` answers for the rows of one segment.
///
/// # Errors
/// Those of `fetch`; `Internal` when its answers do not fit together; `InvalidArgument` for a field that
/// the schema does not have.
pub fn gather(
    rows: &[RowRef],
    fields: &[FieldId],
    schema: &CollectionSchema,
    mut fetch: impl FnMut(SegmentId, &[RowIdx]) -> Result<RecordBatch, Failure>,
) -> Result<RecordBatch, Failure> {
    let mut wanted: HashMap<SegmentId, (usize, Vec<RowIdx>)> = HashMap::new();
    let mut order = Vec::new();
    let mut addresses = Vec::with_capacity(rows.len());
    for row in rows {
        let (part, list) = wanted.entry(row.segment).or_insert_with(|| {
            order.push(row.segment);
            (order.len() - 1, Vec::new())
        });
        addresses.push((*part, list.len()));
        list.push(row.row);
    }
    let parts = order
        .iter()
        .map(|id| fetch(*id, &wanted[id].1))
        .collect::<Result<Vec<_>, _>>()?;
    let mut arrow_fields: Vec<Field> = Vec::with_capacity(fields.len());
    let mut arrays = Vec::with_capacity(fields.len());
    for id in fields {
        let field = schema
            .field_by_id(*id)
            .ok_or_else(|| Failure::invalid(format!("field {id} was dropped while it was read")))?;
        let of_parts: Vec<&dyn Array> = parts
            .iter()
            .filter_map(|p| columns::column(p, *id))
            .map(|c| &**c)
            .collect();
        if of_parts.len() != parts.len() {
            return Err(Failure::internal(format!(
                "a segment answered without field {}",
                field.name
            )));
        }
        let column = if of_parts.is_empty() {
            new_empty_array(&columns::arrow_type(field))
        } else {
            interleave(&of_parts, &addresses).map_err(|e| SegmentError::from(e).to_failure())?
        };
        let nullable = field.nullable || column.null_count() > 0;
        arrow_fields.push(columns::arrow_field(field).with_nullable(nullable));
        arrays.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Schema::new(arrow_fields).into(), arrays, &options)
        .map_err(|e| SegmentError::from(e).to_failure())
}
