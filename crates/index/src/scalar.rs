//! Indexes over scalar columns and over the elements of arrays.
//!
//! One layout serves every kind: the distinct values ascending, and for each the ascending rows that have
//! it. A value, a list of values, a range or a prefix is a few binary searches and a run of rows. NaN is
//! in no list: it compares as false with everything. -0 is 0.
//!
//! | module    | what it knows                              |
//! |-----------|--------------------------------------------|
//! | [`build`] | from an Arrow column to bytes              |
//! | [`keys`]  | the distinct values and how they compare   |

mod build;
mod keys;

use std::ops::{Bound, Range};

use bytes::Bytes;
use holdfast_types::Value;
use roaring::RoaringBitmap;

pub use build::build_scalar;

use self::keys::Keys;
use crate::{
    allow::BitSet,
    error::DamagedIndex,
    file::{Kind, Reader, Section},
};

mod tag {
    pub(super) const META: u32 = 1;
    pub(super) const KEYS: u32 = 2;
    pub(super) const KEY_OFFSETS: u32 = 3;
    pub(super) const OFFSETS: u32 = 4;
    pub(super) const ROWS: u32 = 5;
    pub(super) const NULLS: u32 = 6;
}

/// Positions in the META section, which is an array of u32.
mod meta {
    pub(super) const ROWS: usize = 0;
    pub(super) const FAMILY: usize = 1;
    pub(super) const KIND: usize = 2;
    pub(super) const ARRAY: usize = 3;
    pub(super) const KEYS: usize = 4;
    pub(super) const WORDS: usize = 8;
}

/// What the user asked for. The layout is the same; the kind is kept to be described again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarIndexKind {
    /// INVERTED: values to rows.
    Inverted,
    /// BITMAP: for few distinct values.
    Bitmap,
    /// STL_SORT: for ranges.
    Sorted,
}

impl ScalarIndexKind {
    const NUMBERS: [(Self, u32); 3] = [(Self::Inverted, 1), (Self::Bitmap, 2), (Self::Sorted, 3)];

    fn number(self) -> u32 {
        match self {
            Self::Inverted => 1,
            Self::Bitmap => 2,
            Self::Sorted => 3,
        }
    }
}

/// An index over a scalar or array column. Every answer is exact; `None` says that this index cannot
/// answer, and the column must be read.
#[derive(Clone)]
pub struct ScalarIndex {
    kind: ScalarIndexKind,
    len: usize,
    array: bool,
    keys: Keys,
    offsets: Section<u32>,
    rows: Section<u32>,
    nulls: Section<u32>,
}

impl std::fmt::Debug for ScalarIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScalarIndex")
            .field("kind", &self.kind)
            .field("len", &self.len)
            .field("array", &self.array)
            .finish_non_exhaustive()
    }
}

impl ScalarIndex {
    /// Opens an index over a column of so many rows. How many the file says it has bounds nothing: rows
    /// without a value take no room in it, and answers take memory by their number.
    ///
    /// # Errors
    /// [`DamagedIndex`] when a checksum, a length, an order or any number is wrong.
    pub fn open(bytes: Bytes, rows_of_column: usize) -> Result<Self, DamagedIndex> {
        let file = Reader::open(bytes, Kind::Scalar)?;
        let head = file.array::<u32>(tag::META, "meta", meta::WORDS)?;
        let word = |i: usize| head.get()[i];
        let kind = ScalarIndexKind::NUMBERS
            .iter()
            .find(|(_, number)| *number == word(meta::KIND))
            .map(|(kind, _)| *kind)
            .ok_or_else(|| head.damaged(meta::KIND, "unknown kind"))?;
        let array = match word(meta::ARRAY) {
            0 => false,
            1 => true,
            other => return Err(head.damaged(meta::ARRAY, format!("{other} is no flag"))),
        };
        let len = word(meta::ROWS) as usize;
        if len != rows_of_column {
            let problem = format!("built over {len} rows, not {rows_of_column}");
            return Err(head.damaged(meta::ROWS, problem));
        }
        let count = word(meta::KEYS) as usize;
        let keys = Keys::open(&file, word(meta::FAMILY), count)?
            .ok_or_else(|| head.damaged(meta::FAMILY, "unknown family of values"))?;
        let offsets = file.array::<u32>(tag::OFFSETS, "row list offsets", count + 1)?;
        let rows = file.whole::<u32>(tag::ROWS, "row lists")?;
        offsets.check_offsets(rows.get().len())?;
        rows.check_below(len)?;
        for list in offsets.get().windows(2) {
            let (from, to) = (list[0] as usize, list[1] as usize);
            if from == to {
                return Err(rows.damaged(from, "a value without rows"));
            }
            if let Some(i) = rows.get()[from..to].windows(2).position(|w| w[0] >= w[1]) {
                return Err(rows.damaged(from + i, "rows do not ascend"));
            }
        }
        let nulls = file.whole::<u32>(tag::NULLS, "nulls")?;
        nulls.check_below(len)?;
        if let Some(i) = nulls.get().windows(2).position(|w| w[0] >= w[1]) {
            return Err(nulls.damaged(i, "rows do not ascend"));
        }
        Ok(Self {
            kind,
            len,
            array,
            keys,
            offsets,
            rows,
            nulls,
        })
    }

    /// What the index was built as.
    #[must_use]
    pub fn kind(&self) -> ScalarIndexKind {
        self.kind
    }

    /// Number of rows of the column, nulls included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the column has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the index is over the elements of arrays: then only [`Self::contains`] and
    /// [`Self::is_null`] answer.
    #[must_use]
    pub fn is_over_arrays(&self) -> bool {
        self.array
    }

    /// Rows equal to `value`. Numbers are compared by their mathematical value: 3 equals 3.0. A `Float`
    /// column holds f32 widened to f64, so a caller that wants `0.1` to mean the nearest f32 rounds it first.
    #[must_use]
    pub fn equal(&self, value: &Value) -> Option<RoaringBitmap> {
        self.of_scalar()?.rows_of(value)
    }

    /// Rows equal to any of `values`.
    #[must_use]
    pub fn in_list(&self, values: &[Value]) -> Option<RoaringBitmap> {
        let scalar = self.of_scalar()?;
        let mut rows = RoaringBitmap::new();
        for value in values {
            rows |= scalar.rows_of(value)?;
        }
        Some(rows)
    }

    /// Rows between two values; the bounds compare as in [`Self::equal`].
    #[must_use]
    pub fn range(&self, from: Bound<&Value>, to: Bound<&Value>) -> Option<RoaringBitmap> {
        let scalar = self.of_scalar()?;
        let start = match from {
            Bound::Unbounded => 0,
            Bound::Included(v) => scalar.keys.position(v)?.start,
            Bound::Excluded(v) => scalar.keys.position(v)?.end,
        };
        let end = match to {
            Bound::Unbounded => scalar.keys.len(),
            Bound::Included(v) => scalar.keys.position(v)?.end,
            Bound::Excluded(v) => scalar.keys.position(v)?.start,
        };
        let nan = |bound: Bound<&Value>| match bound {
            Bound::Included(Value::Float(x)) | Bound::Excluded(Value::Float(x)) => x.is_nan(),
            _ => false,
        };
        if nan(from) || nan(to) {
            return Some(RoaringBitmap::new());
        }
        Some(scalar.rows_of_keys(start..end.max(start)))
    }

    /// Rows whose text starts with `prefix`.
    #[must_use]
    pub fn prefix(&self, prefix: &str) -> Option<RoaringBitmap> {
        let scalar = self.of_scalar()?;
        Some(scalar.rows_of_keys(scalar.keys.prefix(prefix)?))
    }

    /// Rows whose text `matches` says yes to; it is asked once for each distinct text.
    #[must_use]
    pub fn matching(&self, matches: impl FnMut(&str) -> bool) -> Option<RoaringBitmap> {
        let scalar = self.of_scalar()?;
        let keys = scalar.keys.matching(matches)?;
        Some(scalar.collect(keys.into_iter().map(|key| key..key + 1)))
    }

    /// Rows whose array has an element equal to `value`, compared as in [`Self::equal`].
    #[must_use]
    pub fn contains(&self, value: &Value) -> Option<RoaringBitmap> {
        if !self.array {
            return None;
        }
        self.rows_of(value)
    }

    /// Rows that are null.
    #[must_use]
    pub fn is_null(&self) -> RoaringBitmap {
        self.nulls.get().iter().copied().collect()
    }

    fn of_scalar(&self) -> Option<&Self> {
        (!self.array).then_some(self)
    }

    fn rows_of(&self, value: &Value) -> Option<RoaringBitmap> {
        Some(self.rows_of_keys(self.keys.position(value)?))
    }

    fn rows_of_keys(&self, keys: Range<usize>) -> RoaringBitmap {
        self.collect(std::iter::once(keys))
    }

    /// The rows of runs of keys.
    fn collect(&self, keys: impl Iterator<Item = Range<usize>>) -> RoaringBitmap {
        let (offsets, rows) = (self.offsets.get(), self.rows.get());
        let mut bits: Option<BitSet> = None;
        let mut all = RoaringBitmap::new();
        for run in keys {
            let list = &rows[offsets[run.start] as usize..offsets[run.end] as usize];
            if run.len() <= 1 && bits.is_none() && all.is_empty() {
                all = list.iter().copied().collect();
                continue;
            }
            // Lists of several keys are not ascending together: put them in order by their bits.
            let bits = bits.get_or_insert_with(|| BitSet::new(self.len));
            for &row in list {
                bits.set(row as usize);
            }
        }
        if let Some(bits) = bits {
            all |= bits.ones().map(|row| row as u32).collect::<RoaringBitmap>();
        }
        all
    }
}

#[cfg(test)]
mod tests;
