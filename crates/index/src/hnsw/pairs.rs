//! Distances of two rows by their codes, exact in integers: what a graph is grown by.
//!
//! Growing asks for hundreds of millions of them, so the kernel is chosen once, and what depends on one row
//! alone is kept behind its codes:
//!
//! ```text
//! codes, padded with zeros to a multiple of 64 | squared norm: i32 | sum: i32
//! ```

use hnsw_rs::anndists::dist::Distance;

use super::codes::PAD;
use crate::kernel::dense;

/// Bytes behind the codes of a row.
const TAIL: usize = 8;

/// Compares rows of one dimension that [`Self::row`] made.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodePairs {
    dim: usize,
    padded: usize,
    vnni: bool,
}

impl CodePairs {
    pub(super) fn new(dim: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        let vnni = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
        #[cfg(not(target_arch = "x86_64"))]
        let vnni = false;
        Self {
            dim,
            padded: dim.next_multiple_of(PAD),
            vnni,
        }
    }

    /// The codes of a row with what goes behind them.
    pub(super) fn row(&self, mut codes: Vec<i8>) -> Vec<i8> {
        assert_eq!(codes.len(), self.dim, "codes of another dimension");
        // At most `32_768 * 127^2`, which fits.
        let norm: i32 = codes.iter().map(|&c| i32::from(c).pow(2)).sum();
        let sum: i32 = codes.iter().map(|&c| i32::from(c)).sum();
        codes.reserve_exact(self.padded + TAIL - self.dim);
        codes.resize(self.padded, 0);
        let tail = norm.to_le_bytes().into_iter().chain(sum.to_le_bytes());
        codes.extend(tail.map(u8::cast_signed));
        codes
    }

    #[inline(always)]
    fn tail(&self, row: &[i8], at: usize) -> i32 {
        let bytes = &row[self.padded + at..self.padded + at + 4];
        i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]].map(i8::cast_unsigned))
    }

    /// The squared norm of a row.
    #[inline(always)]
    pub(super) fn norm(&self, row: &[i8]) -> i64 {
        self.tail(row, 0).into()
    }

    /// Inner product.
    #[inline(always)]
    pub(super) fn dot(&self, a: &[i8], b: &[i8]) -> i64 {
        let len = self.padded + TAIL;
        assert!(
            a.len() == len && b.len() == len,
            "rows of another dimension"
        );
        #[cfg(target_arch = "x86_64")]
        if self.vnni {
            // SAFETY: `new` found the features; both rows are longer than `padded`, a multiple of 64.
            let biased = unsafe { biased_dot(a, b, self.padded) };
            return i64::from(biased) - 128 * i64::from(self.tail(b, 4));
        }
        dense::dot_i8(&a[..self.dim], &b[..self.dim])
    }

    /// Squared Euclidean distance.
    #[inline(always)]
    pub(super) fn l2(&self, a: &[i8], b: &[i8]) -> i64 {
        self.norm(a) + self.norm(b) - 2 * self.dot(a, b)
    }
}

/// The sum of `(a + 128) * b`: the multiply-add instruction wants one side unsigned. Where `b` is padded
/// with zeros, the pad of `a` counts for nothing. Stays below `255 * 127 * 32_768`, which fits an i32.
///
/// # Safety
/// AVX-512F and VNNI are present; both rows have at least `len` codes, a multiple of 64.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn biased_dot(a: &[i8], b: &[i8], len: usize) -> i32 {
    use std::arch::x86_64::{
        _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32,
        _mm512_set1_epi8, _mm512_setzero_si512, _mm512_xor_si512,
    };
    let bias = _mm512_set1_epi8(i8::MIN);
    let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for at in (0..len).step_by(64) {
        // SAFETY: `at + 64` is at most `len`.
        let (x, y) = unsafe {
            (
                _mm512_loadu_si512(a.as_ptr().add(at).cast()),
                _mm512_loadu_si512(b.as_ptr().add(at).cast()),
            )
        };
        // One chain of additions would be waited for.
        let sum = _mm512_dpbusd_epi32(even, _mm512_xor_si512(x, bias), y);
        (even, odd) = (odd, sum);
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd))
}

/// Squared Euclidean distances, never negative.
pub(super) struct CodeL2(pub(super) CodePairs);

impl Distance<i8> for CodeL2 {
    fn eval(&self, a: &[i8], b: &[i8]) -> f32 {
        self.0.l2(a, b) as f32
    }
}

/// Inner products, turned so that nearer is smaller and none is negative.
pub(super) struct CodeIp {
    pub(super) pairs: CodePairs,
    /// The largest squared norm: no inner product is larger (Cauchy-Schwarz).
    pub(super) limit: i64,
}

impl Distance<i8> for CodeIp {
    fn eval(&self, a: &[i8], b: &[i8]) -> f32 {
        (self.limit - self.pairs.dot(a, b)) as f32
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn both_kernels_are_exact() {
        let mut rng = StdRng::seed_from_u64(14);
        for dim in [1, 2, 31, 63, 64, 65, 128, 384, 1000, 32_768] {
            let detected = CodePairs::new(dim);
            let plain = CodePairs {
                vnni: false,
                ..detected
            };
            let random: Vec<i8> = (0..dim).map(|_| rng.random_range(-127..=127)).collect();
            let rows = [random, vec![127; dim], vec![-127; dim], vec![0; dim]];
            for a in &rows {
                for b in &rows {
                    let pair = || a.iter().zip(b).map(|(&x, &y)| (i64::from(x), i64::from(y)));
                    let dot: i64 = pair().map(|(x, y)| x * y).sum();
                    let l2: i64 = pair().map(|(x, y)| (x - y).pow(2)).sum();
                    for pairs in [detected, plain] {
                        let (a, b) = (pairs.row(a.clone()), pairs.row(b.clone()));
                        assert_eq!(pairs.dot(&a, &b), dot, "{pairs:?}");
                        assert_eq!(pairs.l2(&a, &b), l2, "{pairs:?}");
                    }
                }
            }
        }
    }
}
