//! Three-valued truth, one value per row, in two bit sets.

use arrow_array::Array;
use arrow_buffer::BooleanBuffer;

/// True, false or unknown for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    rows: usize,
    yes: Vec<u64>,
    no: Vec<u64>,
}

impl Truth {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        let words = rows.div_ceil(64);
        Self {
            rows: 0,
            yes: Vec::with_capacity(words),
            no: Vec::with_capacity(words),
        }
    }

    pub(crate) fn unknown(rows: usize) -> Self {
        let words = rows.div_ceil(64);
        Self {
            rows,
            yes: vec![0; words],
            no: vec![0; words],
        }
    }

    pub(crate) fn constant(rows: usize, value: bool) -> Self {
        let mut truth = Self::unknown(rows);
        *(if value { &mut truth.yes } else { &mut truth.no }) = full(rows);
        truth
    }

    /// `condition` of each open row; `None` is unknown.
    pub(super) fn of_open(
        rows: usize,
        open: &[u64],
        mut condition: impl FnMut(usize) -> Option<bool>,
    ) -> Self {
        let mut truth = Self::unknown(rows);
        for (i, word) in open.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                match condition(i * 64 + bit as usize) {
                    Some(true) => truth.yes[i] |= 1 << bit,
                    Some(false) => truth.no[i] |= 1 << bit,
                    None => {}
                }
            }
        }
        truth
    }

    /// `condition` of every row; unknown where `column` is null.
    pub(super) fn of_column(column: &dyn Array, condition: impl FnMut(usize) -> bool) -> Self {
        let rows = column.len();
        let mut yes = words(&BooleanBuffer::collect_bool(rows, condition));
        let valid = column
            .nulls()
            .map_or_else(|| full(rows), |nulls| words(nulls.inner()));
        let mut no = valid;
        for (yes, no) in yes.iter_mut().zip(&mut no) {
            *yes &= *no;
            *no &= !*yes;
        }
        Self { rows, yes, no }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The truth of a row; `None` is unknown.
    ///
    /// # Panics
    /// If `row` is not below [`Self::len`].
    #[must_use]
    pub fn get(&self, row: usize) -> Option<bool> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let bit = |words: &[u64]| words[row / 64] >> (row % 64) & 1 == 1;
        (bit(&self.yes) || bit(&self.no)).then(|| bit(&self.yes))
    }

    /// Little-endian words: the rows in which it is true.
    #[must_use]
    pub fn yes(&self) -> &[u64] {
        &self.yes
    }

    /// Little-endian words: the rows in which it is false.
    #[must_use]
    pub fn no(&self) -> &[u64] {
        &self.no
    }

    pub(crate) fn into_yes(self) -> Vec<u64> {
        self.yes
    }

    pub(super) fn and(&mut self, other: &Self) {
        for (a, b) in self.yes.iter_mut().zip(&other.yes) {
            *a &= b;
        }
        for (a, b) in self.no.iter_mut().zip(&other.no) {
            *a |= b;
        }
    }

    pub(super) fn or(&mut self, other: &Self) {
        for (a, b) in self.yes.iter_mut().zip(&other.yes) {
            *a |= b;
        }
        for (a, b) in self.no.iter_mut().zip(&other.no) {
            *a &= b;
        }
    }

    pub(super) fn not(self) -> Self {
        Self {
            rows: self.rows,
            yes: self.no,
            no: self.yes,
        }
    }

    /// Adds the rows of `other`. So far the number of rows must be a multiple of 64.
    pub(crate) fn append(&mut self, other: &Self) {
        debug_assert!(self.rows.is_multiple_of(64), "slices are whole words");
        self.rows += other.rows;
        self.yes.extend_from_slice(&other.yes);
        self.no.extend_from_slice(&other.no);
    }
}

/// `rows` set bits, the rest of the last word clear.
pub(crate) fn full(rows: usize) -> Vec<u64> {
    let mut words = vec![u64::MAX; rows.div_ceil(64)];
    if !rows.is_multiple_of(64)
        && let Some(last) = words.last_mut()
    {
        *last = (1 << (rows % 64)) - 1;
    }
    words
}

/// Clears the bits of `closed`; says whether any bit is left.
pub(super) fn exclude(open: &mut [u64], closed: &[u64]) -> bool {
    let mut any = 0;
    for (open, closed) in open.iter_mut().zip(closed) {
        *open &= !closed;
        any |= *open;
    }
    any != 0
}

/// The bits of an Arrow buffer as little-endian words.
pub(crate) fn words(bits: &BooleanBuffer) -> Vec<u64> {
    bits.bit_chunks()
        .iter_padded()
        .take(bits.len().div_ceil(64))
        .collect()
}

/// Number of set bits.
pub(crate) fn count(words: &[u64]) -> usize {
    words.iter().map(|w| w.count_ones() as usize).sum()
}
