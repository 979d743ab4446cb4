//! Search, query, count and fetch over a list of chunks.

use std::{borrow::Cow, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use holdfast_expr::Predicate;
use holdfast_index::{Allow, BitSet, Cancel, Neighbor, flat_search};
use holdfast_types::{FieldId, Pk, PkList, RowIdx, Timestamp};

use super::{GrowingSegment, chunk::Chunk, locate};
use crate::{
    Hit, QuerySpec, Rows, SearchSpec, SegmentError, answer, filter,
    rows::{self, Candidate},
    table,
    vectors::{self, VectorColumn},
};

/// The allowed rows of each chunk.
type AllowedChunks = Vec<(Arc<Chunk>, BitSet)>;

impl GrowingSegment {
    /// The nearest rows for each query vector, nearest first; with `group_by`, rows of a group adjacent.
    /// Every visible row is compared.
    ///
    /// # Errors
    /// [`SegmentError::Invalid`] when a query does not fit the field; [`SegmentError::Cancelled`].
    pub fn search(
        &self,
        spec: &SearchSpec,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<Hit>>, SegmentError> {
        let schema = self.reads.get();
        rows::check_search(&schema, spec)?;
        let chunks = self.snapshot();
        let allowed = self.allowed(
            &chunks,
            spec.filter.as_deref(),
            spec.at,
            spec.ttl_before,
            cancel,
        )?;
        let total: usize = allowed.iter().map(|(_, bits)| bits.count()).sum();
        let mut searched = Vec::with_capacity(allowed.len());
        for (chunk, bits) in &allowed {
            // A field that is younger than the rows: none of them has a vector.
            let Some(column) = chunk.vectors(spec.field) else {
                continue;
            };
            searched.push((chunk.base() as u32, column, column.allowed_positions(bits)));
        }
        let mut answers = Vec::with_capacity(spec.queries.len());
        for query in spec.queries.iter() {
            let nearest = |k: usize| -> Result<Vec<Neighbor>, SegmentError> {
                let mut found: Vec<Neighbor> = Vec::new();
                for (base, column, positions) in &searched {
                    let near = flat_search(
                        &column.data()?,
                        query,
                        spec.metric,
                        Allow::Bits(positions),
                        k,
                        &spec.within,
                        cancel,
                    )?;
                    found.extend(column.to_rows(near).into_iter().map(|n| Neighbor {
                        row: n.row + base,
                        ..n
                    }));
                }
                found.sort_unstable();
                found.truncate(k);
                Ok(found)
            };
            answers.push(match &spec.group_by {
                None => {
                    let found = nearest(spec.top_k)?;
                    self.hits(&chunks, found.into_iter().map(|n| (n, None)).collect())?
                }
                Some(group_by) => {
                    let found =
                        answer::grouped(group_by, spec.top_k, total, cancel, nearest, |rows| {
                            let column =
                                table::gather(&chunks, &schema, group_by.access.field, rows)?;
                            answer::group_values(&group_by.access, &column)
                        })?;
                    self.hits(
                        &chunks,
                        found.into_iter().map(|(n, g)| (n, Some(g))).collect(),
                    )?
                }
            });
        }
        Ok(answers)
    }

    /// Rows by filter or key, ordered by key, each key once.
    ///
    /// # Errors
    /// [`SegmentError::UnknownField`]; [`SegmentError::Cancelled`].
    pub fn query(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<Rows, SegmentError> {
        let (chunks, of_keys) = self.snapshot_of(spec.keys.as_ref());
        let allowed = self.allowed_of(
            &chunks,
            of_keys.as_deref(),
            spec.filter.as_deref(),
            spec.at,
            spec.ttl_before,
            cancel,
        )?;
        let mut candidates: Vec<Candidate> = Vec::new();
        for (chunk, bits) in &allowed {
            cancel.check()?;
            for i in bits.ones() {
                let key = chunk.key(i)?;
                if spec.after.as_ref().is_none_or(|after| key > *after) {
                    candidates.push(Candidate {
                        key,
                        ts: chunk.stamp(i),
                        row: (chunk.base() + i) as u32,
                    });
                }
            }
        }
        let rows = rows::newest_of_each_key(candidates, spec.limit);
        rows::assemble(&self.reads.get(), &spec.fields, &rows, |field, rows| {
            self.gather(&chunks, field, rows)
        })
    }

    /// Number of visible rows for which the filter is true.
    ///
    /// # Errors
    /// As [`Self::query`]. `fields`, `limit` do not matter.
    pub fn count(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<u64, SegmentError> {
        if spec.after.is_some() {
            let keys_only = QuerySpec {
                fields: Vec::new(),
                limit: None,
                ..spec.clone()
            };
            return Ok(self.query(&keys_only, cancel)?.len() as u64);
        }
        let (chunks, of_keys) = self.snapshot_of(spec.keys.as_ref());
        let allowed = self.allowed_of(
            &chunks,
            of_keys.as_deref(),
            spec.filter.as_deref(),
            spec.at,
            spec.ttl_before,
            cancel,
        )?;
        Ok(allowed.iter().map(|(_, bits)| bits.count() as u64).sum())
    }

    /// The fields of these rows, in this order; rows may repeat and may be deleted.
    ///
    /// # Errors
    /// [`SegmentError::NoSuchRow`], [`SegmentError::UnknownField`].
    pub fn fetch(&self, rows: &[RowIdx], fields: &[FieldId]) -> Result<RecordBatch, SegmentError> {
        let chunks = self.snapshot();
        let rows: Vec<u32> = rows.iter().map(|row| row.0).collect();
        table::addresses(&chunks, &rows)?;
        let columns = fields
            .iter()
            .map(|field| Ok((*field, self.gather(&chunks, *field, &rows)?)))
            .collect::<Result<Vec<_>, SegmentError>>()?;
        table::batch_of(&self.reads.get(), columns, rows.len())
    }

    /// Every row's key and stamp, a list a chunk.
    ///
    /// # Errors
    /// [`SegmentError::Internal`] when a chunk has no key column.
    pub fn keys_and_stamps(&self) -> Result<Vec<(PkList, Vec<Timestamp>)>, SegmentError> {
        let primary = self.schema().primary().id;
        self.snapshot()
            .iter()
            .map(|chunk| {
                let keys = holdfast_types::columns::column(chunk.scalars(), primary)
                    .and_then(|column| PkList::from_array(&**column))
                    .ok_or_else(|| SegmentError::Internal("rows have no key column".to_owned()))?;
                let stamps = (0..chunk.len()).map(|i| chunk.stamp(i)).collect();
                Ok((keys, stamps))
            })
            .collect()
    }

    /// The chunks of this moment.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Chunk>> {
        self.state.read().chunks.clone()
    }

    /// The chunks of this moment, and the rows that these keys ever had.
    fn snapshot_of(&self, keys: Option<&PkList>) -> (Vec<Arc<Chunk>>, Option<Vec<u32>>) {
        let state = self.state.read();
        let rows = keys.map(|keys| {
            let mut rows: Vec<u32> = keys
                .iter()
                .flat_map(|key: Pk| state.keys.versions(&key).collect::<Vec<_>>())
                .collect();
            rows.sort_unstable();
            rows.dedup();
            rows
        });
        (state.chunks.clone(), rows)
    }

    fn allowed(
        &self,
        chunks: &[Arc<Chunk>],
        filter: Option<&Predicate>,
        at: Timestamp,
        ttl_before: Option<Timestamp>,
        cancel: &Cancel,
    ) -> Result<AllowedChunks, SegmentError> {
        self.allowed_of(chunks, None, filter, at, ttl_before, cancel)
    }

    /// Chunks with at least one allowed row.
    fn allowed_of(
        &self,
        chunks: &[Arc<Chunk>],
        only: Option<&[u32]>,
        filter: Option<&Predicate>,
        at: Timestamp,
        ttl_before: Option<Timestamp>,
        cancel: &Cancel,
    ) -> Result<AllowedChunks, SegmentError> {
        let schema = self.reads.get();
        let mut allowed = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            cancel.check()?;
            let mut words = chunk.visible(at, ttl_before);
            if let Some(only) = only {
                let mut kept = vec![0_u64; words.len()];
                let start = only.partition_point(|row| (*row as usize) < chunk.base());
                for row in &only[start..] {
                    let i = *row as usize - chunk.base();
                    if i >= chunk.len() {
                        break;
                    }
                    kept[i / 64] |= words[i / 64] & 1 << (i % 64);
                }
                words = kept;
            }
            if words.iter().all(|word| *word == 0) {
                continue;
            }
            if let Some(filter) = filter {
                let batch = chunk.to_filter(&schema, filter)?;
                words = filter::passing(filter, &batch, &schema, &words, cancel)?;
            }
            let bits = BitSet::from_words(words, chunk.len());
            if bits.count() > 0 {
                allowed.push((chunk.clone(), bits));
            }
        }
        Ok(allowed)
    }

    fn hits(
        &self,
        chunks: &[Arc<Chunk>],
        found: Vec<(Neighbor, Option<crate::GroupValue>)>,
    ) -> Result<Vec<Hit>, SegmentError> {
        rows::hits(self.id, found, |row| {
            let (chunk, i) = locate(chunks, row).ok_or(SegmentError::NoSuchRow { row, rows: 0 })?;
            Ok((chunk.key(i)?, chunk.stamp(i)))
        })
    }

    fn gather(
        &self,
        chunks: &[Arc<Chunk>],
        field: FieldId,
        rows: &[u32],
    ) -> Result<ArrayRef, SegmentError> {
        let schema = self.reads.get();
        match schema
            .field_by_id(field)
            .filter(|f| f.data_type.is_vector())
        {
            None => table::gather(chunks, &schema, field, rows),
            Some(definition) => {
                let columns = chunks
                    .iter()
                    .map(|chunk| match chunk.vectors(field) {
                        Some(column) => Ok((chunk.base(), Cow::Borrowed(column))),
                        None => {
                            let none = VectorColumn::all_null(definition, chunk.len())?;
                            Ok((chunk.base(), Cow::Owned(none)))
                        }
                    })
                    .collect::<Result<Vec<_>, SegmentError>>()?;
                let parts: Vec<_> = columns.iter().map(|(base, c)| (*base, &**c)).collect();
                vectors::gather(definition, &parts, rows)
            }
        }
    }
}
