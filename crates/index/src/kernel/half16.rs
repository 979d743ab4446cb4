//! binary16 and bfloat16 rows against an f32 query, accumulated in f32.
//!
//! simsimd is not used here. On processors with AVX512-FP16 it accumulates in binary16, which loses three
//! digits and overflows to infinity from 65 504 on. On those with AVX512-BF16 it rounds the differences of
//! bfloat16 to bfloat16, which is wrong by half a percent, and takes subnormals for zero.

use half::{bf16, f16};

/// A float of 16 bits.
pub(crate) trait Narrow: Copy {
    /// Whether it is the upper half of an f32; otherwise it is binary16.
    const UPPER_HALF: bool;
    /// The same value.
    fn wide(self) -> f32;
}

impl Narrow for f16 {
    const UPPER_HALF: bool = false;

    #[inline(always)]
    fn wide(self) -> f32 {
        self.to_f32()
    }
}

impl Narrow for bf16 {
    const UPPER_HALF: bool = true;

    #[inline(always)]
    fn wide(self) -> f32 {
        self.to_f32()
    }
}

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
    pub(crate) fn dot<T: Narrow>(self, query: &[f32], row: &[T]) -> f32 {
        assert_eq!(query.len(), row.len(), "rows of different dimension");
        match self {
            // SAFETY: `detect` found the features, and the lengths are equal.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::sum_512::<T, { x86::DOT }>(query, row) },
            // SAFETY: `detect` found the features, and the lengths are equal.
            #[cfg(target_arch = "x86_64")]
            Self::F16c => unsafe { x86::sum_256::<T, { x86::DOT }>(query, row) },
            Self::Plain => query.iter().zip(row).map(|(q, r)| q * r.wide()).sum(),
        }
    }

    /// Squared Euclidean distance.
    #[inline(always)]
    pub(crate) fn l2<T: Narrow>(self, query: &[f32], row: &[T]) -> f32 {
        assert_eq!(query.len(), row.len(), "rows of different dimension");
        match self {
            // SAFETY: `detect` found the features, and the lengths are equal.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::sum_512::<T, { x86::L2 }>(query, row) },
            // SAFETY: `detect` found the features, and the lengths are equal.
            #[cfg(target_arch = "x86_64")]
            Self::F16c => unsafe { x86::sum_256::<T, { x86::L2 }>(query, row) },
            Self::Plain => {
                let square = |(q, r): (&f32, &T)| (q - r.wide()) * (q - r.wide());
                query.iter().zip(row).map(square).sum()
            }
        }
    }

    /// Squared norm.
    #[inline(always)]
    pub(crate) fn norm<T: Narrow>(self, row: &[T]) -> f32 {
        match self {
            // SAFETY: `detect` found the features.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::sum_512::<T, { x86::NORM }>(&[], row) },
            // SAFETY: `detect` found the features.
            #[cfg(target_arch = "x86_64")]
            Self::F16c => unsafe { x86::sum_256::<T, { x86::NORM }>(&[], row) },
            Self::Plain => row.iter().map(|r| r.wide() * r.wide()).sum(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm_add_ps, _mm_cvtss_f32, _mm_hadd_ps, _mm_loadu_si128, _mm256_add_ps,
        _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps,
        _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256,
        _mm256_setzero_ps, _mm256_slli_epi32, _mm256_sub_ps, _mm512_add_ps, _mm512_castsi512_ps,
        _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
        _mm512_reduce_add_ps, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_sub_ps,
    };

    use super::Narrow;

    /// What is summed: query * row.
    pub(super) const DOT: u8 = 0;
    /// What is summed: (query - row)^2.
    pub(super) const L2: u8 = 1;
    /// What is summed: row^2; the query is not read.
    pub(super) const NORM: u8 = 2;

    /// The sum over the elements that do not fill a register.
    #[inline(always)]
    fn rest<T: Narrow, const OP: u8>(query: &[f32], row: &[T], from: usize) -> f32 {
        let mut sum = 0.0;
        for i in from..row.len() {
            let r = row[i].wide();
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
    pub(super) unsafe fn sum_512<T: Narrow, const OP: u8>(query: &[f32], row: &[T]) -> f32 {
        let step = |at: usize, sum: __m512| -> __m512 {
            // SAFETY: callers below keep `at + 16` within `row`, and `query` is as long where it is read.
            unsafe {
                let r = _mm256_loadu_si256(row.as_ptr().add(at).cast());
                let r = if T::UPPER_HALF {
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(r)))
                } else {
                    _mm512_cvtph_ps(r)
                };
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
        _mm512_reduce_add_ps(_mm512_add_ps(a, b)) + rest::<T, OP>(query, row, at)
    }

    /// # Safety
    /// AVX2, FMA and F16C are present; unless `OP` is [`NORM`], `query` is as long as `row`.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn sum_256<T: Narrow, const OP: u8>(query: &[f32], row: &[T]) -> f32 {
        let step = |at: usize, sum: __m256| -> __m256 {
            // SAFETY: callers below keep `at + 8` within `row`, and `query` is as long where it is read.
            unsafe {
                let r = _mm_loadu_si128(row.as_ptr().add(at).cast());
                let r = if T::UPPER_HALF {
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(r)))
                } else {
                    _mm256_cvtph_ps(r)
                };
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
        _mm_cvtss_f32(_mm_hadd_ps(sum, sum)) + rest::<T, OP>(query, row, at)
    }
}
