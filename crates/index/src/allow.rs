//! Which rows may be returned.

use roaring::RoaringBitmap;

/// A fixed number of bits, all clear at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BitSet {
    words: Vec<u64>,
    len: usize,
}

impl BitSet {
    /// `len` clear bits.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(64)],
            len,
        }
    }

    /// `len` set bits.
    #[must_use]
    pub fn full(len: usize) -> Self {
        let mut bits = Self {
            words: vec![u64::MAX; len.div_ceil(64)],
            len,
        };
        bits.clear_tail();
        bits
    }

    /// Bits from little-endian words: bit `i` is bit `i % 64` of word `i / 64`. Missing words are clear,
    /// what lies past `len` is ignored.
    #[must_use]
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        let mut bits = Self { words, len };
        bits.clear_tail();
        bits
    }

    /// The rows of `rows` below `len`.
    #[must_use]
    pub fn from_rows(rows: &RoaringBitmap, len: usize) -> Self {
        let mut bits = Self::new(len);
        for row in rows {
            if (row as usize) < len {
                bits.set(row as usize);
            }
        }
        bits
    }

    /// Number of bits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bits at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of set bits.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether bit `i` is set; bits past the end are clear.
    #[must_use]
    #[inline]
    pub fn get(&self, i: usize) -> bool {
        self.words
            .get(i / 64)
            .is_some_and(|w| w >> (i % 64) & 1 == 1)
    }

    /// Sets bit `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`].
    #[inline]
    pub fn set(&mut self, i: usize) {
        assert!(i < self.len, "bit {i} of {}", self.len);
        self.words[i / 64] |= 1 << (i % 64);
    }

    /// Clears bit `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`].
    #[inline]
    pub fn clear(&mut self, i: usize) {
        assert!(i < self.len, "bit {i} of {}", self.len);
        self.words[i / 64] &= !(1 << (i % 64));
    }

    /// Keeps the bits that are set in both.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn and(&mut self, other: &Self) {
        assert_eq!(self.len, other.len, "bit sets of different length");
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a &= b;
        }
    }

    /// Sets the bits that are set in either.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn or(&mut self, other: &Self) {
        assert_eq!(self.len, other.len, "bit sets of different length");
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a |= b;
        }
    }

    /// Clears the bits that are set in `other`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn and_not(&mut self, other: &Self) {
        assert_eq!(self.len, other.len, "bit sets of different length");
        for (a, b) in self.words.iter_mut().zip(&other.words) {
            *a &= !b;
        }
    }

    /// Turns every bit over.
    pub fn negate(&mut self) {
        for w in &mut self.words {
            *w = !*w;
        }
        self.clear_tail();
    }

    /// The positions of set bits, ascending.
    pub fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(i, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    i * 64 + bit
                })
            })
        })
    }

    /// The bits as little-endian words: bit `i` is bit `i % 64` of word `i / 64`. Bits past the end are 0.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The bits as [`Self::words`] has them.
    #[must_use]
    pub fn into_words(self) -> Vec<u64> {
        self.words
    }

    fn clear_tail(&mut self) {
        if !self.len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }
}

/// Which rows a search may return.
#[derive(Clone, Copy, Debug)]
pub enum Allow<'a> {
    /// Every row.
    All,
    /// The rows whose bit is set; rows past the end are not allowed.
    Bits(&'a BitSet),
}

impl Allow<'_> {
    /// Whether `row` may be returned.
    #[must_use]
    #[inline]
    pub fn allows(&self, row: usize) -> bool {
        match self {
            Self::All => true,
            Self::Bits(bits) => bits.get(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_past_the_end_never_count() {
        for len in [0, 1, 63, 64, 65, 130] {
            let mut bits = BitSet::full(len);
            assert_eq!(bits.count(), len);
            assert!(!bits.get(len) && !bits.get(len + 200));
            bits.negate();
            assert_eq!(bits.count(), 0);
            bits.negate();
            assert_eq!(
                bits.ones().collect::<Vec<_>>(),
                (0..len).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn set_operations_follow_their_names() {
        let of = |rows: &[u32]| BitSet::from_rows(&rows.iter().copied().collect(), 100);
        let mut a = of(&[1, 64, 99, 100]);
        a.or(&of(&[2]));
        a.and_not(&of(&[64]));
        assert_eq!(a.ones().collect::<Vec<_>>(), [1, 2, 99]);
        a.and(&of(&[2, 3]));
        a.set(50);
        a.clear(2);
        assert_eq!(a.ones().collect::<Vec<_>>(), [50]);
    }
}
