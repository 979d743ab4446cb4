//! binary16 rows against an f32 query, accumulated in f32.
//!
//! simsimd is not used here: on processors with AVX512-FP16 it accumulates in binary16, which loses three
//! digits and overflows to infinity from 65 504 on.

use half::f16;

/// The widest path this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half16 {
    /// 16 lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 lanes, by F16C and FMA.
    #[cfg(target_arch = "x86_64")]
    F16c,
    /// Plain loops.
    Plain,
}

impl Half16 {
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("fma")
            {
                return Self::F16c;
            }
        }
        Self::Plain
    }

    /// Inner product.
    #[inline(always)]
    pub(crate) fn dot(self, query: &[f32], row: &[f16]) -> f32 {
        assert_eq!(query.len(), row.len(), "rows of different dimension");
        match self {
            // SAFETY: `detect` found the features, and the lengths are equal.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::sum_512::<{ x86::DOT }>(query, row) },
            // SAFETY: `detect` found the features, and the lengths are equal.
            #[cfg(target_arch = "x86_64")]
            Self::F16c => unsafe { x86::sum_256::<{ x86::DOT }>(query, row) },
            Self::Plain => query.iter().zip(row).map(|(q, r)| q * r.to_f32()).sum(),
        }
    }

    /// Squared Euclidean distance.
    #[inline(always)]
    pub(crate) fn l2(self, query: &[f32], row: &[f16]) -> f32 {
        assert_eq!(query.len(), row.len(), "rows of different dimension");
        match self {
            // SAFETY: `detect` found the features, and the lengths are equal.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::sum_512::<{ x86::L2 }>(query, row) },
            // SAFETY: `detect` found the features, and the lengths are equal.
            #[cfg(target_arch = "x86_64")]
            Self::F16c => unsafe { x86::sum_256::<{ x86::L2 }>(query, row) },
            Self::Plain => {
                let square = |(q, r): (&f32, &f16)| (q - r.to_f32()) * (q - r.to_f32());
                query.iter().zip(row).map(square).sum()
            }
        }
    }

    /// Squared norm.
    #[inline(always)]
    pub(crate) fn norm(self, row: &[f16]) -> f32 {
        match self {
            // SAFETY: `detect` found the features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::sum_512::<{ x86::NORM }>(&[], row) },
            // SAFETY: `detect` found the features.
            #[cfg(target_arch = "x86_64")]
            Self::F16c => unsafe { x86::sum_256::<{ x86::NORM }>(&[], row) },
            Self::Plain => row.iter().map(|r| r.to_f32() * r.to_f32()).sum(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm_add_ps, _mm_cvtss_f32, _mm_hadd_ps, _mm_loadu_si128, _mm256_add_ps,
        _mm256_castps256_ps128, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_loadu_si256, _mm256_setzero_ps, _mm256_sub_ps, _mm512_add_ps,
        _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_reduce_add_ps, _mm512_setzero_ps,
        _mm512_sub_ps,
    };

    use half::f16;

    /// What is summed: query * row.
    pub(super) const DOT: u8 = 0;
    /// What is summed: (query - row)^2.
    pub(super) const L2: u8 = 1;
    /// What is summed: row^2; the query is not read.
    pub(super) const NORM: u8 = 2;

    /// The sum over the elements that do not fill a register.
    #[inline(always)]
    fn rest<const OP: u8>(query: &[f32], row: &[f16], from: usize) -> f32 {
        let mut sum = 0.0;
        for i in from..row.len() {
            let r = row[i].to_f32();
            sum += match OP {
                DOT => query[i] * r,
                L2 => (query[i] - r) * (query[i] - r),
                _ => r * r,
            };
        }
        sum
    }

    /// # Safety
    /// AVX-512F is present; unless `OP` is [`NORM`], `query` is as long as `row`.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn sum_512<const OP: u8>(query: &[f32], row: &[f16]) -> f32 {
        let step = |at: usize, sum: __m512| -> __m512 {
            // SAFETY: callers below keep `at + 16` within `row`, and `query` is as long where it is read.
            unsafe {
                let r = _mm512_cvtph_ps(_mm256_loadu_si256(row.as_ptr().add(at).cast()));
                match OP {
                    DOT => _mm512_fmadd_ps(_mm512_loadu_ps(query.as_ptr().add(at)), r, sum),
                    L2 => {
                        let d = _mm512_sub_ps(_mm512_loadu_ps(query.as_ptr().add(at)), r);
                        _mm512_fmadd_ps(d, d, sum)
                    }
                    _ => _mm512_fmadd_ps(r, r, sum),
                }
            }
        };
        let (mut a, mut b) = (_mm512_setzero_ps(), _mm512_setzero_ps());
        let mut at = 0;
        while at + 32 <= row.len() {
            a = step(at, a);
            b = step(at + 16, b);
            at += 32;
        }
        if at + 16 <= row.len() {
            a = step(at, a);
            at += 16;
        }
        _mm512_reduce_add_ps(_mm512_add_ps(a, b)) + rest::<OP>(query, row, at)
    }

    /// # Safety
    /// AVX2, FMA and F16C are present; unless `OP` is [`NORM`], `query` is as long as `row`.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn sum_256<const OP: u8>(query: &[f32], row: &[f16]) -> f32 {
        let step = |at: usize, sum: __m256| -> __m256 {
            // SAFETY: callers below keep `at + 8` within `row`, and `query` is as long where it is read.
            unsafe {
                let r = _mm256_cvtph_ps(_mm_loadu_si128(row.as_ptr().add(at).cast()));
                match OP {
                    DOT => _mm256_fmadd_ps(_mm256_loadu_ps(query.as_ptr().add(at)), r, sum),
                    L2 => {
                        let d = _mm256_sub_ps(_mm256_loadu_ps(query.as_ptr().add(at)), r);
                        _mm256_fmadd_ps(d, d, sum)
                    }
                    _ => _mm256_fmadd_ps(r, r, sum),
                }
            }
        };
        let (mut a, mut b) = (_mm256_setzero_ps(), _mm256_setzero_ps());
        let mut at = 0;
        while at + 16 <= row.len() {
            a = step(at, a);
            b = step(at + 8, b);
            at += 16;
        }
        if at + 8 <= row.len() {
            a = step(at, a);
            at += 8;
        }
        let sum = _mm256_add_ps(a, b);
        let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let sum = _mm_hadd_ps(sum, sum);
        _mm_cvtss_f32(_mm_hadd_ps(sum, sum)) + rest::<OP>(query, row, at)
    }
}
