//! Several sealed segments into one: compaction.

use std::sync::Arc;

use holdfast_index::Cancel;
use holdfast_types::{CollectionSchema, Timestamp};

use crate::{
    SealedSegment, SegmentError, SegmentFiles,
    vectors::VectorColumn,
    write::{self, Pick, Source},
};

/// The rows of `segments` as one segment, in the order of key and stamp.
///
/// Left out are rows deleted at or before `drop_deleted_before` and rows stamped at or before
/// `ttl_before`; the other deletes are kept with their stamps, so that reads at stamps after
/// `drop_deleted_before` answer as before. The deletes are those in place when this is called.
/// `schema` may be younger than the segments: missing fields are filled.
///
/// # Errors
/// [`SegmentError::Unsupported`] when a column outgrows its format; [`SegmentError::Cancelled`].
pub fn merge(
    segments: &[Arc<SealedSegment>],
    drop_deleted_before: Timestamp,
    schema: &CollectionSchema,
    ttl_before: Option<Timestamp>,
    cancel: &Cancel,
) -> Result<SegmentFiles, SegmentError> {
    let mut picks: Vec<Pick> = Vec::new();
    for (source, segment) in (0_u32..).zip(segments) {
        cancel.check()?;
        let mut deletes = segment.deletes().into_iter().peekable();
        for row in 0..segment.len() {
            let row = row as u32;
            let deleted = deletes.next_if(|(r, _)| *r == row).map(|(_, ts)| ts);
            let gone = deleted.is_some_and(|ts| ts <= drop_deleted_before)
                || ttl_before.is_some_and(|expired| segment.stamp(row as usize) <= expired);
            if !gone {
                picks.push(Pick {
                    source,
                    row,
                    deleted,
                });
            }
        }
    }
    // A stable merge sort finds the segments' runs, each sorted already.
    picks.sort_by(|a, b| {
        let (x, y) = (&segments[a.source as usize], &segments[b.source as usize]);
        let (i, j) = (a.row as usize, b.row as usize);
        x.keys()
            .compare_with(i, y.keys(), j)
            .then_with(|| x.stamp(i).cmp(&y.stamp(j)))
    });
    let sources = segments
        .iter()
        .map(|segment| source(segment, schema))
        .collect::<Result<Vec<_>, _>>()?;
    write::write(schema, &sources, &picks, cancel)
}

fn source(segment: &SealedSegment, schema: &CollectionSchema) -> Result<Source, SegmentError> {
    let vectors = schema
        .vectors()
        .map(|field| {
            let column = match segment.vectors(field.id) {
                Ok(column) => column.clone(),
                // The field is younger than the schema that the segment was opened with.
                Err(SegmentError::UnknownField(_)) => VectorColumn::all_null(field, segment.len())?,
                Err(error) => return Err(error),
            };
            Ok(vec![(0, column)])
        })
        .collect::<Result<_, SegmentError>>()?;
    Ok(Source {
        batches: segment.batches(),
        vectors,
    })
}
