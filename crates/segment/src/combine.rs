//! The answers of several segments as one.

use std::collections::HashSet;

use arrow_array::{Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow_select::interleave::interleave;
use holdfast_types::{Pk, schema::TIMESTAMP_FIELD};

use crate::{
    GroupBy, GroupValue, Hit, Rows, SegmentError,
    answer::best_groups,
    table::{key_at, stamps},
};

/// The best `top_k` hits of one query over all segments: by distance, then key. Of hits with one key the
/// newest counts, wherever it is in the order. With `group_by`, the best `top_k` groups, rows of a group
/// adjacent.
#[must_use]
pub fn merge_hits(parts: Vec<Vec<Hit>>, top_k: usize, group_by: Option<&GroupBy>) -> Vec<Hit> {
    let mut hits: Vec<Hit> = parts.into_iter().flatten().collect();
    // Newest first within a key, to find the ones that are superseded.
    hits.sort_by(|a, b| {
        a.pk.cmp(&b.pk)
            .then(b.ts.cmp(&a.ts))
            .then(a.row.cmp(&b.row))
    });
    let mut seen: HashSet<Pk> = HashSet::with_capacity(hits.len());
    hits.retain(|hit| seen.insert(hit.pk.clone()));
    hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.pk.cmp(&b.pk)));
    match group_by {
        None => {
            hits.truncate(top_k);
            hits
        }
        Some(group_by) => {
            let grouped = hits.into_iter().map(|hit| {
                let group = hit.group.clone().unwrap_or(GroupValue::Null);
                (hit, group)
            });
            best_groups(grouped, top_k, group_by.group_size.max(1))
                .into_iter()
                .flatten()
                .map(|(hit, _)| hit)
                .collect()
        }
    }
}

/// The rows of all segments, by key, each key once (its newest row), at most `limit`.
///
/// # Errors
/// [`SegmentError::Internal`] when the parts do not have the same columns.
pub fn merge_rows(parts: Vec<Rows>, limit: Option<usize>) -> Result<Rows, SegmentError> {
    let mut batches: Vec<RecordBatch> = parts.into_iter().map(|rows| rows.batch).collect();
    if batches.len() > 1 {
        // Parts without rows say nothing but their columns.
        let filled = batches.iter().any(|batch| batch.num_rows() > 0);
        batches.retain(|batch| !filled || batch.num_rows() > 0);
        batches.truncate(if filled { usize::MAX } else { 1 });
    }
    let Some(first) = batches.first() else {
        return Err(SegmentError::Internal("no parts to merge".to_owned()));
    };
    if batches.len() == 1 {
        let rows = limit.unwrap_or(usize::MAX).min(first.num_rows());
        return Ok(Rows {
            batch: first.slice(0, rows),
        });
    }
    let mut order: Vec<(Pk, u64, usize, usize)> = Vec::new();
    for (part, batch) in batches.iter().enumerate() {
        let keys = batch.column(0);
        let stamps: &UInt64Array = stamps(batch)?;
        for row in 0..batch.num_rows() {
            order.push((key_at(&**keys, row)?, stamps.value(row), part, row));
        }
    }
    order.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0)
            .then(b.1.cmp(&a.1))
            .then((a.2, a.3).cmp(&(b.2, b.3)))
    });
    order.dedup_by(|later, first| later.0 == first.0);
    order.truncate(limit.unwrap_or(usize::MAX));
    let addresses: Vec<(usize, usize)> = order.iter().map(|o| (o.2, o.3)).collect();
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (i, field) in first.schema_ref().fields().iter().enumerate() {
        let mut nullable = field.is_nullable();
        let mut arrays: Vec<&dyn Array> = Vec::with_capacity(batches.len());
        for batch in &batches {
            let column = batch
                .columns()
                .get(i)
                .filter(|c| c.data_type() == field.data_type());
            let column = column.ok_or_else(|| {
                SegmentError::Internal(format!("parts differ in column {}", field.name()))
            })?;
            nullable |= column.null_count() > 0;
            arrays.push(&**column);
        }
        columns.push(interleave(&arrays, &addresses)?);
        fields.push(field.as_ref().clone().with_nullable(nullable));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(addresses.len()));
    debug_assert!(
        first.num_columns() > 1
            && holdfast_types::columns::position(first.schema_ref(), TIMESTAMP_FIELD) == Some(1),
        "rows lead with key and stamp"
    );
    Ok(Rows {
        batch: RecordBatch::try_new_with_options(
            arrow_schema::Schema::new(fields).into(),
            columns,
            &options,
        )?,
    })
}
