//! What growing and sealed segments share in making their answers.

use arrow_array::ArrayRef;
use holdfast_index::Neighbor;
use holdfast_types::{
    CollectionSchema, FieldId, FieldSchema, Pk, RowIdx, SegmentId, Timestamp,
    schema::TIMESTAMP_FIELD,
};

use crate::{GroupValue, Hit, RowRef, Rows, SearchSpec, SegmentError, table};

/// Checks that every query fits the field, so that no kernel has to; the field.
pub(crate) fn check_search<'s>(
    schema: &'s CollectionSchema,
    spec: &SearchSpec,
) -> Result<&'s FieldSchema, SegmentError> {
    let field = schema
        .field_by_id(spec.field)
        .ok_or(SegmentError::UnknownField(spec.field))?;
    if !spec.metric.applies_to(field.data_type) {
        return Err(SegmentError::Invalid(format!(
            "metric_type: {} does not apply to field {}, a {}",
            spec.metric, field.name, field.data_type
        )));
    }
    let dim = field.dim.unwrap_or(0) as usize;
    for query in spec.queries.iter() {
        if query.data_type() != field.data_type || query.dim() != dim {
            return Err(SegmentError::Invalid(format!(
                "query vector is a {} of {} dimensions, field {} is a {} of {dim}",
                query.data_type(),
                query.dim(),
                field.name,
                field.data_type
            )));
        }
    }
    if let Some(group_by) = &spec.group_by {
        let grouped = schema
            .field_by_id(group_by.access.field)
            .ok_or(SegmentError::UnknownField(group_by.access.field))?;
        if grouped.data_type.is_vector() {
            return Err(SegmentError::Invalid(format!(
                "group_by_field: {} is a vector",
                grouped.name
            )));
        }
    }
    Ok(field)
}

/// Rows as hits; `row` gives a row's key and stamp.
pub(crate) fn hits(
    segment: SegmentId,
    found: Vec<(Neighbor, Option<GroupValue>)>,
    row: impl Fn(u32) -> Result<(Pk, Timestamp), SegmentError>,
) -> Result<Vec<Hit>, SegmentError> {
    found
        .into_iter()
        .map(|(neighbor, group)| {
            let (pk, ts) = row(neighbor.row)?;
            Ok(Hit {
                distance: neighbor.distance,
                pk,
                ts,
                row: RowRef {
                    segment,
                    row: RowIdx(neighbor.row),
                },
                group,
            })
        })
        .collect()
}

/// A row that a query may return.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) key: Pk,
    pub(crate) ts: Timestamp,
    pub(crate) row: u32,
}

/// The newest row of each key, smallest keys first.
pub(crate) fn newest_of_each_key(mut candidates: Vec<Candidate>, limit: Option<usize>) -> Vec<u32> {
    candidates.sort_unstable_by(|a, b| {
        a.key
            .cmp(&b.key)
            .then(b.ts.cmp(&a.ts))
            .then(b.row.cmp(&a.row))
    });
    candidates.dedup_by(|later, first| later.key == first.key);
    candidates.truncate(limit.unwrap_or(usize::MAX));
    candidates.into_iter().map(|c| c.row).collect()
}

/// Columns of these rows: key, stamp, then the fields asked for.
pub(crate) fn assemble(
    schema: &CollectionSchema,
    fields: &[FieldId],
    rows: &[u32],
    gather: impl Fn(FieldId, &[u32]) -> Result<ArrayRef, SegmentError>,
) -> Result<Rows, SegmentError> {
    let mut ids = vec![schema.primary().id, TIMESTAMP_FIELD];
    for field in fields {
        if !ids.contains(field) {
            ids.push(*field);
        }
    }
    let columns = ids
        .into_iter()
        .map(|id| Ok((id, gather(id, rows)?)))
        .collect::<Result<Vec<_>, SegmentError>>()?;
    Ok(Rows {
        batch: table::batch_of(schema, columns, rows.len())?,
    })
}
