//! Query, count and fetch.

use arrow_array::RecordBatch;
use holdfast_index::{BitSet, Cancel};
use holdfast_types::{FieldId, Pk, RowIdx};

use super::{SealedSegment, overlay};
use crate::{QuerySpec, Rows, SegmentError, rows, table};

impl SealedSegment {
    /// Rows by filter or key, ordered by key, each key once. Rows are stored in that order: with a limit,
    /// the filter is only evaluated as far as needed.
    ///
    /// # Errors
    /// [`SegmentError::UnknownField`]; [`SegmentError::Cancelled`].
    pub fn query(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<Rows, SegmentError> {
        let core = &*self.core;
        let mut picked: Vec<u32> = Vec::new();
        let mut last: Option<Pk> = None;
        let limit = spec.limit.unwrap_or(usize::MAX);
        self.each_passing(spec, cancel, &mut |row| {
            let key = core.keys.get(row);
            if last.as_ref() == Some(&key) {
                // A newer version of the same key: versions are adjacent, oldest first.
                if let Some(newest) = picked.last_mut() {
                    *newest = row as u32;
                }
                return true;
            }
            if picked.len() == limit {
                return false;
            }
            picked.push(row as u32);
            last = Some(key);
            true
        })?;
        rows::assemble(&core.reads.get(), &spec.fields, &picked, |field, rows| {
            core.gather(field, rows)
        })
    }

    /// Number of visible rows for which the filter is true.
    ///
    /// # Errors
    /// As [`Self::query`]. `fields` and `limit` do not matter.
    pub fn count(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<u64, SegmentError> {
        if spec.keys.is_none() && spec.after.is_none() {
            let allowed = self.allowed(spec.filter.as_deref(), spec.at, spec.ttl_before, cancel)?;
            return Ok(allowed.count(self.len()) as u64);
        }
        let mut count = 0;
        self.each_passing(spec, cancel, &mut |_| {
            count += 1;
            true
        })?;
        Ok(count)
    }

    /// The fields of these rows, in this order; rows may repeat and may be deleted.
    ///
    /// # Errors
    /// [`SegmentError::NoSuchRow`], [`SegmentError::UnknownField`].
    pub fn fetch(&self, rows: &[RowIdx], fields: &[FieldId]) -> Result<RecordBatch, SegmentError> {
        let core = &*self.core;
        let rows: Vec<u32> = rows.iter().map(|row| row.0).collect();
        table::addresses(&core.parts, &rows)?;
        let columns = fields
            .iter()
            .map(|field| Ok((*field, core.gather(*field, &rows)?)))
            .collect::<Result<Vec<_>, SegmentError>>()?;
        table::batch_of(&core.reads.get(), columns, rows.len())
    }

    /// Calls `take` for each row that passes, in row order, until it says no.
    fn each_passing(
        &self,
        spec: &QuerySpec,
        cancel: &Cancel,
        take: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), SegmentError> {
        let core = &*self.core;
        let visible = match &spec.keys {
            None => core.visible(spec.at, spec.ttl_before),
            Some(keys) => {
                let mut bits = core.rows_of(keys);
                if let overlay::Rows::Some(visible) = core.visible(spec.at, spec.ttl_before) {
                    bits.and(&visible);
                }
                overlay::Rows::Some(bits.into())
            }
        };
        let (mut bits, rest) = match spec.filter.as_deref() {
            None => (visible.into_bits(self.len()), None),
            Some(filter) => self.narrowed(visible, filter),
        };
        if let Some(after) = &spec.after {
            clear_before(&mut bits, core.keys.after(after));
        }
        for (i, part) in core.parts.iter().enumerate() {
            let words = match &rest {
                Some(rest) => match core.passing_in(i, rest, &bits, cancel)? {
                    Some(words) => words,
                    None => continue,
                },
                None => {
                    cancel.check()?;
                    let end = (part.base + part.batch.num_rows()).div_ceil(64);
                    bits.words()[part.base / 64..end].to_vec()
                }
            };
            let passing = BitSet::from_words(words, part.batch.num_rows());
            for row in passing.ones() {
                if !take(part.base + row) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Clears the bits below `row`.
fn clear_before(bits: &mut BitSet, row: usize) {
    let below: Vec<usize> = bits.ones().take_while(|i| *i < row).collect();
    for i in below {
        bits.clear(i);
    }
}
