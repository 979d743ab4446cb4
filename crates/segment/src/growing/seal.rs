//! A growing segment into the files of a sealed one.

use std::sync::Arc;

use holdfast_index::Cancel;
use holdfast_types::FieldId;

use super::{GrowingSegment, chunk::Chunk, locate};
use crate::{
    SegmentError, SegmentFiles,
    vectors::VectorColumn,
    write::{self, Pick, Source},
};

impl GrowingSegment {
    /// The rows of this moment as files, sorted by key and then stamp. Deleted rows are written with
    /// the stamps of their deletes; rows replaced within their own batch, which nobody can see, are not.
    ///
    /// # Errors
    /// [`SegmentError::Unsupported`] when a column outgrows its format; [`SegmentError::Cancelled`].
    pub fn seal(&self, cancel: &Cancel) -> Result<SegmentFiles, SegmentError> {
        let chunks = self.snapshot();
        let rows: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut order = Vec::with_capacity(rows);
        for chunk in &chunks {
            cancel.check()?;
            for i in 0..chunk.len() {
                let inserted = chunk.stamp(i);
                if chunk.deleted(i).is_none_or(|deleted| deleted > inserted) {
                    order.push((chunk.key(i)?, inserted, (chunk.base() + i) as u32));
                }
            }
        }
        order.sort_unstable();
        let picks: Vec<Pick> = order
            .into_iter()
            .map(|(_, _, row)| Pick {
                source: 0,
                row,
                deleted: locate(&chunks, row).and_then(|(chunk, i)| chunk.deleted(i)),
            })
            .collect();
        let vectors = self
            .schema
            .vectors()
            .map(|field| vectors_of(&chunks, field.id))
            .collect::<Result<_, _>>()?;
        let batches = chunks
            .iter()
            .map(|chunk| (chunk.base(), chunk.scalars().clone()))
            .collect();
        write::write(&self.schema, &[Source { batches, vectors }], &picks, cancel)
    }
}

fn vectors_of(
    chunks: &[Arc<Chunk>],
    field: FieldId,
) -> Result<Vec<(usize, VectorColumn)>, SegmentError> {
    chunks
        .iter()
        .map(|chunk| {
            let column = chunk
                .vectors(field)
                .ok_or(SegmentError::UnknownField(field))?;
            Ok((chunk.base(), column.clone()))
        })
        .collect()
}
