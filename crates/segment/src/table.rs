//! Rows in several batches, addressed by one row number.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use arrow_schema::{Field, Schema};
use arrow_select::interleave::interleave;
use holdfast_types::{CollectionSchema, FieldId, Pk, columns, schema::TIMESTAMP_FIELD};

use crate::{
    SegmentError,
    fields::{self, downcast},
};

/// Part of a segment: consecutive rows, `$ts` among their columns, vectors apart.
pub(crate) trait Part {
    /// Scalars and `$ts`.
    fn scalars(&self) -> &RecordBatch;
    /// First row.
    fn base(&self) -> usize;
}

/// The column of `field` for these rows, in this order. Vector fields are not read here.
pub(crate) fn gather<P: Part>(
    parts: &[P],
    schema: &CollectionSchema,
    field: FieldId,
    rows: &[u32],
) -> Result<ArrayRef, SegmentError> {
    if rows.is_empty() {
        let empty = if field == TIMESTAMP_FIELD {
            arrow_schema::DataType::UInt64
        } else {
            let definition = schema
                .field_by_id(field)
                .ok_or(SegmentError::UnknownField(field))?;
            columns::arrow_type(definition)
        };
        return Ok(new_null_array(&empty, 0));
    }
    let addresses = addresses(parts, rows)?;
    let mut used: Vec<usize> = addresses.iter().map(|(part, _)| *part).collect();
    used.sort_unstable();
    used.dedup();
    let arrays: Vec<ArrayRef> = used
        .iter()
        .map(|part| fields::column(parts[*part].scalars(), schema, field))
        .collect::<Result<_, _>>()?;
    let addresses: Vec<(usize, usize)> = addresses
        .into_iter()
        .map(|(part, row)| (used.partition_point(|u| *u < part), row))
        .collect();
    let arrays: Vec<&dyn Array> = arrays.iter().map(|a| &**a).collect();
    Ok(interleave(&arrays, &addresses)?)
}

/// Part and row within it of each row.
pub(crate) fn addresses<P: Part>(
    parts: &[P],
    rows: &[u32],
) -> Result<Vec<(usize, usize)>, SegmentError> {
    let total = parts
        .last()
        .map_or(0, |last| last.base() + last.scalars().num_rows());
    rows.iter()
        .map(|row| {
            let at = *row as usize;
            if at >= total {
                return Err(SegmentError::NoSuchRow {
                    row: *row,
                    rows: total,
                });
            }
            let part = parts.partition_point(|part| part.base() <= at) - 1;
            Ok((part, at - parts[part].base()))
        })
        .collect()
}

/// The stamps of a batch.
pub(crate) fn stamps(batch: &RecordBatch) -> Result<&UInt64Array, SegmentError> {
    let column = columns::column(batch, TIMESTAMP_FIELD)
        .ok_or(SegmentError::UnknownField(TIMESTAMP_FIELD))?;
    downcast(&**column)
}

/// The key of a row of a key column.
pub(crate) fn key_at(column: &dyn Array, row: usize) -> Result<Pk, SegmentError> {
    if let Some(ints) = column.as_any().downcast_ref::<arrow_array::Int64Array>() {
        return Ok(Pk::Int(ints.value(row)));
    }
    let text: &arrow_array::StringArray = downcast(column)?;
    Ok(Pk::Str(text.value(row).into()))
}

/// A batch of these columns; their fields are those of the schema, or the stamp's.
pub(crate) fn batch_of(
    schema: &CollectionSchema,
    columns: Vec<(FieldId, ArrayRef)>,
    rows: usize,
) -> Result<RecordBatch, SegmentError> {
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays = Vec::with_capacity(columns.len());
    for (id, array) in columns {
        fields.push(field_of(schema, id, array.null_count() > 0)?);
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        arrays,
        &options,
    )?)
}

/// The batch with one more column, found under `field` whatever its type is.
pub(crate) fn with_column(
    batch: &RecordBatch,
    schema: &CollectionSchema,
    field: FieldId,
    column: ArrayRef,
) -> Result<RecordBatch, SegmentError> {
    let added = field_of(schema, field, true)?.with_data_type(column.data_type().clone());
    let mut fields = batch.schema_ref().fields().to_vec();
    fields.push(Arc::new(added));
    let mut columns = batch.columns().to_vec();
    columns.push(column);
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

/// The Arrow field of a column; nullable also when an older row has no value.
pub(crate) fn field_of(
    schema: &CollectionSchema,
    id: FieldId,
    nulls: bool,
) -> Result<Field, SegmentError> {
    if id == TIMESTAMP_FIELD {
        return Ok(columns::timestamp_field());
    }
    let field = schema
        .field_by_id(id)
        .ok_or(SegmentError::UnknownField(id))?;
    let arrow = columns::arrow_field(field);
    let nullable = arrow.is_nullable() || nulls;
    Ok(arrow.with_nullable(nullable))
}
