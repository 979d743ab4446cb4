//! Inverted lists over sparse vectors, for inner products.
//!
//! For each dimension that occurs, the rows that have it and their values. A search adds up the lists of
//! the query's dimensions, in order of dimension and in f32: the sums are bit for bit those of
//! [`crate::flat_search`]. Rows whose sum is 0 are no hits, there as here.

use bytes::Bytes;
use holdfast_types::Metric;

use crate::{
    allow::Allow,
    error::{BuildError, DamagedIndex},
    file::{Kind, Reader, Section, Writer, le_bytes},
    kernel::{ordered, sparse::dot},
    search::{Cancel, Cancelled, Neighbor, TopK, Within},
    vectors::{SparseRows, VectorData},
};

mod tag {
    pub(super) const META: u32 = 1;
    pub(super) const ROWS: u32 = 2;
    pub(super) const DIMS: u32 = 3;
    pub(super) const OFFSETS: u32 = 4;
    pub(super) const POSTING_ROWS: u32 = 5;
    pub(super) const POSTING_VALUES: u32 = 6;
}

/// Words of META: rows, whether rows are mapped, two reserved.
const META_WORDS: usize = 4;
/// Rows or postings between two looks at the cancel flag.
const PER_POLL: usize = 1 << 14;

/// Builds inverted lists, as the bytes that [`FrozenSparse::open`] takes. `row_numbers[i]` is the segment
/// row of data row `i`; without it they are the same.
///
/// # Errors
/// [`BuildError::Column`] when `row_numbers` has another length, [`BuildError::TooLarge`] beyond 2^32 rows
/// or entries, [`BuildError::Cancelled`].
pub fn build_sparse(
    rows: &SparseRows<'_>,
    row_numbers: Option<&[u32]>,
    cancel: &Cancel,
) -> Result<Vec<u8>, BuildError> {
    if row_numbers.is_some_and(|numbers| numbers.len() != rows.len()) {
        return Err(BuildError::Column {
            problem: "row numbers are not as many as vectors".to_owned(),
        });
    }
    let count = u32::try_from(rows.len()).map_err(|_| BuildError::TooLarge { what: "rows" })?;
    let mut entries: Vec<(u32, u32, f32)> = Vec::new();
    for row in 0..count {
        if (row as usize).is_multiple_of(PER_POLL) {
            cancel.check()?;
        }
        entries.extend(rows.row(row as usize).map(|(dim, value)| (dim, row, value)));
    }
    // Stable, so that a dimension that occurs twice in a row keeps its order.
    entries.sort_by_key(|&(dim, row, _)| (dim, row));
    if u32::try_from(entries.len()).is_err() {
        return Err(BuildError::TooLarge { what: "entries" });
    }
    let mut dims: Vec<u32> = Vec::new();
    let mut offsets: Vec<u32> = Vec::new();
    for (i, &(dim, ..)) in entries.iter().enumerate() {
        if dims.last() != Some(&dim) {
            dims.push(dim);
            offsets.push(i as u32);
        }
    }
    offsets.push(entries.len() as u32);
    let posting_rows: Vec<u32> = entries.iter().map(|e| e.1).collect();
    let values: Vec<f32> = entries.iter().map(|e| e.2).collect();

    let mut writer = Writer::new(Kind::Sparse);
    let meta = [count, u32::from(row_numbers.is_some()), 0, 0];
    writer.section(tag::META, le_bytes(&meta));
    if let Some(numbers) = row_numbers {
        writer.section(tag::ROWS, le_bytes(numbers));
    }
    writer.section(tag::DIMS, le_bytes(&dims));
    writer.section(tag::OFFSETS, le_bytes(&offsets));
    writer.section(tag::POSTING_ROWS, le_bytes(&posting_rows));
    writer.section(tag::POSTING_VALUES, le_bytes(&values));
    writer.finish()
}

/// Inverted lists, opened in place. Cheap to clone: the bytes are shared.
#[derive(Clone)]
pub struct FrozenSparse {
    len: usize,
    rows: Option<Section<u32>>,
    dims: Section<u32>,
    offsets: Section<u32>,
    posting_rows: Section<u32>,
    values: Section<f32>,
}

impl std::fmt::Debug for FrozenSparse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrozenSparse")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl FrozenSparse {
    /// Opens an index.
    ///
    /// # Errors
    /// [`DamagedIndex`] when a checksum, a length or any number is wrong.
    pub fn open(bytes: Bytes) -> Result<Self, DamagedIndex> {
        let file = Reader::open(bytes, Kind::Sparse)?;
        let meta = file.array::<u32>(tag::META, "meta", META_WORDS)?;
        let len = meta.get()[0] as usize;
        let rows = match meta.get()[1] {
            0 => None,
            1 => Some(file.array::<u32>(tag::ROWS, "rows", len)?),
            other => return Err(meta.damaged(1, format!("{other} is no flag"))),
        };
        let dims = file.whole::<u32>(tag::DIMS, "dimensions")?;
        if let Some(i) = dims.get().windows(2).position(|w| w[0] >= w[1]) {
            return Err(dims.damaged(i + 1, "dimensions do not ascend"));
        }
        let offsets = file.array::<u32>(tag::OFFSETS, "list offsets", dims.get().len() + 1)?;
        let posting_rows = file.whole::<u32>(tag::POSTING_ROWS, "list rows")?;
        let entries = posting_rows.get().len();
        offsets.check_offsets(entries)?;
        posting_rows.check_below(len)?;
        let values = file.array::<f32>(tag::POSTING_VALUES, "list values", entries)?;
        Ok(Self {
            len,
            rows,
            dims,
            offsets,
            posting_rows,
            values,
        })
    }

    /// The metric of the lists: inner product.
    #[must_use]
    pub fn metric(&self) -> Metric {
        Metric::Ip
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the lists can be searched together with these vectors.
    #[must_use]
    pub fn fits(&self, data: &VectorData<'_>) -> bool {
        matches!(data, VectorData::Sparse(_)) && data.len() == self.len
    }

    /// The `k` nearest allowed rows inside the window: ascending distance, then row. Rows, and bits of
    /// `allow`, are segment rows. `query` is ascending by index.
    ///
    /// `drop_ratio` in 0..1 leaves out that share of the query's entries, the smallest by size, to find
    /// candidates, which are then compared exactly against `data`; 0 is exact. A window that begins
    /// somewhere is always searched exactly.
    ///
    /// # Errors
    /// [`Cancelled`] soon after the flag is raised.
    ///
    /// # Panics
    /// If `data` does not fit the lists ([`Self::fits`]).
    #[expect(
        clippy::too_many_arguments,
        reason = "a search is all of these, and its callers have them apart"
    )]
    pub fn search(
        &self,
        data: &VectorData<'_>,
        query: &[(u32, f32)],
        k: usize,
        drop_ratio: f32,
        allow: Allow<'_>,
        within: &Within,
        cancel: &Cancel,
    ) -> Result<Vec<Neighbor>, Cancelled> {
        assert!(self.fits(data), "the vectors are not those of the index");
        let VectorData::Sparse(rows) = data else {
            unreachable!("fits compared the types")
        };
        cancel.check()?;
        if k == 0 {
            return Ok(Vec::new());
        }
        let kept = if within.from == std::ops::Bound::Unbounded {
            keep_largest(query, drop_ratio)
        } else {
            query.to_vec()
        };
        let exact = kept.len() == query.len();
        let sums = self.sums(&kept, cancel)?;
        let candidates = if exact { k } else { k + k.max(20) };
        let mut top = TopK::new(candidates, self.len);
        for (data_row, &sum) in sums.iter().enumerate() {
            if data_row % PER_POLL == 0 {
                cancel.check()?;
            }
            let distance = ordered(-sum);
            if distance == 0.0 || (exact && !within.contains(distance)) {
                continue;
            }
            if allow.allows(self.segment_row(data_row) as usize) {
                top.offer(Neighbor {
                    row: data_row as u32,
                    distance,
                });
            }
        }
        let mut hits = top.into_sorted();
        if !exact {
            for hit in &mut hits {
                hit.distance = ordered(-dot(query, rows.row(hit.row as usize)));
            }
            hits.retain(|hit| hit.distance != 0.0 && within.contains(hit.distance));
        }
        for hit in &mut hits {
            hit.row = self.segment_row(hit.row as usize);
        }
        hits.sort_unstable();
        hits.truncate(k);
        Ok(hits)
    }

    /// The inner product of each data row with the query.
    fn sums(&self, query: &[(u32, f32)], cancel: &Cancel) -> Result<Vec<f32>, Cancelled> {
        let mut sums = vec![0.0_f32; self.len];
        let (offsets, rows, values) = (
            self.offsets.get(),
            self.posting_rows.get(),
            self.values.get(),
        );
        for &(dim, weight) in query {
            let Ok(list) = self.dims.get().binary_search(&dim) else {
                continue;
            };
            let list = offsets[list] as usize..offsets[list + 1] as usize;
            for (rows, values) in rows[list.clone()]
                .chunks(PER_POLL)
                .zip(values[list].chunks(PER_POLL))
            {
                cancel.check()?;
                for (&row, &value) in rows.iter().zip(values) {
                    sums[row as usize] += weight * value;
                }
            }
        }
        Ok(sums)
    }

    #[inline]
    fn segment_row(&self, data_row: usize) -> u32 {
        match &self.rows {
            None => data_row as u32,
            Some(rows) => rows.get()[data_row],
        }
    }
}

/// The query without the `ratio` of its entries that are smallest by size; of equal ones the later go.
fn keep_largest(query: &[(u32, f32)], ratio: f32) -> Vec<(u32, f32)> {
    let dropped = (query.len() as f64 * f64::from(ratio.clamp(0.0, 1.0))) as usize;
    let mut kept = query.to_vec();
    // At least one entry stays, or nothing could be found.
    let keep = (query.len() - dropped).max(1);
    if keep < query.len() {
        kept.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        kept.truncate(keep);
        kept.sort_by_key(|entry| entry.0);
    }
    kept
}

#[cfg(test)]
mod tests;
