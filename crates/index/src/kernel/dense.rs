//! Dense distances: f32 and i8 by simsimd, bits by popcount.

use simsimd::SpatialSimilarity;

use super::{
    half16::{Half16, Narrow},
    scalar,
};

/// The lengths are equal in every caller, which is the only reason for simsimd to answer nothing.
const EQUAL: &str = "rows and query have one length";

/// Inner product. Accumulates in f32.
#[inline(always)]
pub(crate) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    <f32 as SpatialSimilarity>::dot(a, b).expect(EQUAL) as f32
}

/// Squared Euclidean distance. Accumulates in f32.
#[inline(always)]
pub(crate) fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
    <f32 as SpatialSimilarity>::l2sq(a, b).expect(EQUAL) as f32
}

/// Exact inner product: at most `32_768 * 128^2`, which fits the i32 that simsimd sums in.
#[inline(always)]
pub(crate) fn dot_i8(a: &[i8], b: &[i8]) -> i64 {
    <i8 as SpatialSimilarity>::dot(a, b).expect(EQUAL) as i64
}

/// Exact squared Euclidean distance: at most `32_768 * 255^2`, which fits an i32.
#[inline(always)]
pub(crate) fn l2_i8(a: &[i8], b: &[i8]) -> i64 {
    <i8 as SpatialSimilarity>::l2sq(a, b).expect(EQUAL) as i64
}

/// Cosine from exact sums; 0 when either is the zero vector. `norm` is `dot_i8(query, query)`.
#[inline(always)]
pub(crate) fn cosine_i8(query: &[i8], norm: i64, row: &[i8]) -> f32 {
    let row_norm = dot_i8(row, row);
    if norm == 0 || row_norm == 0 {
        return 0.0;
    }
    let cosine = dot_i8(query, row) as f64 / ((norm as f64) * (row_norm as f64)).sqrt();
    cosine.clamp(-1.0, 1.0) as f32
}

/// A query of a cosine search with its norm.
pub(crate) struct CosineQuery<'q> {
    query: &'q [f32],
    /// 1 / |query|; `None` when the squared norm leaves the comfortable range of f32.
    inverse: Option<f32>,
}

/// Squared norms outside of this range go the slow way, in f64: near its ends f32 has lost digits,
/// beyond them it has nothing but 0 and infinity.
const COMFORTABLE: std::ops::RangeInclusive<f32> = 1e-20..=1e30;

impl<'q> CosineQuery<'q> {
    pub(crate) fn new(query: &'q [f32]) -> Self {
        let norm = scalar::dot(query, query.iter().copied());
        Self {
            query,
            inverse: COMFORTABLE
                .contains(&(norm as f32))
                .then(|| (1.0 / norm.sqrt()) as f32),
        }
    }

    /// The distance, -cosine, from the inner product and the squared norm of a row.
    #[inline(always)]
    fn distance(&self, dot: f32, norm: f32, exact: impl FnOnce() -> f64) -> f32 {
        match self.inverse {
            Some(inverse) if COMFORTABLE.contains(&norm) => {
                -(dot * inverse / norm.sqrt()).clamp(-1.0, 1.0)
            }
            _ => -exact() as f32,
        }
    }

    #[inline(always)]
    pub(crate) fn f32(&self, row: &[f32]) -> f32 {
        self.distance(dot_f32(self.query, row), dot_f32(row, row), || {
            scalar::cosine(self.query, row.iter().copied())
        })
    }

    #[inline(always)]
    pub(crate) fn half16<T: Narrow>(&self, kernel: Half16, row: &[T]) -> f32 {
        self.distance(kernel.dot(self.query, row), kernel.norm(row), || {
            scalar::cosine(self.query, row.iter().map(|x| x.wide()))
        })
    }
}

/// Distances of bit vectors, by the processor's popcount where it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits {
    popcnt: bool,
}

impl Bits {
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        let popcnt = is_x86_feature_detected!("popcnt");
        #[cfg(not(target_arch = "x86_64"))]
        let popcnt = false;
        Self { popcnt }
    }

    /// The plain twin.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { popcnt: false }
    }

    /// Number of differing bits.
    #[inline(always)]
    pub(crate) fn hamming(self, a: &[u8], b: &[u8]) -> u64 {
        #[cfg(target_arch = "x86_64")]
        if self.popcnt {
            // SAFETY: `detect` found popcnt.
            return unsafe { hamming_popcnt(a, b) };
        }
        count_bits(a, b, |x, y| x ^ y)
    }

    /// 1 - |a AND b| / |a OR b|; 0 for two zero vectors.
    #[inline(always)]
    pub(crate) fn jaccard(self, a: &[u8], b: &[u8]) -> f32 {
        #[cfg(target_arch = "x86_64")]
        if self.popcnt {
            // SAFETY: `detect` found popcnt.
            return unsafe { jaccard_popcnt(a, b) };
        }
        jaccard(a, b)
    }
}

#[inline(always)]
fn count_bits(a: &[u8], b: &[u8], op: impl Fn(u64, u64) -> u64) -> u64 {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let words: u64 = a_words
        .iter()
        .zip(b_words)
        .map(|(x, y)| u64::from(op(u64::from_le_bytes(*x), u64::from_le_bytes(*y)).count_ones()))
        .sum();
    let rest: u64 = a_rest
        .iter()
        .zip(b_rest)
        .map(|(&x, &y)| u64::from(op(u64::from(x), u64::from(y)).count_ones()))
        .sum();
    words + rest
}

#[inline(always)]
fn jaccard(a: &[u8], b: &[u8]) -> f32 {
    let either = count_bits(a, b, |x, y| x | y);
    if either == 0 {
        return 0.0;
    }
    let both = count_bits(a, b, |x, y| x & y);
    (1.0 - both as f64 / either as f64) as f32
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn hamming_popcnt(a: &[u8], b: &[u8]) -> u64 {
    count_bits(a, b, |x, y| x ^ y)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn jaccard_popcnt(a: &[u8], b: &[u8]) -> f32 {
    jaccard(a, b)
}
