//! 8-bit codes of rows: `x ≈ mean + scale * c`, c in -127..=127, and distances by them.
//!
//! The codes only steer a walk; the winners are compared again exactly. Reading a quarter of the bytes of
//! f32 rows is what makes the walk fast once the rows leave the caches.

use holdfast_types::Metric;

use super::rows::FloatRows;
use crate::kernel::ordered;

/// Codes of one row are padded to a multiple of this, so that kernels have no tail.
pub(super) const PAD: usize = 64;
/// What is added to a code to store it unsigned, as the multiply-add instructions want one side.
const BIAS: i32 = 128;
/// Values beyond this quantile of the sizes are clipped.
const QUANTILE: f64 = 0.9999;
/// Values looked at to find the scale.
const SAMPLE: usize = 1 << 20;

/// How rows become codes.
#[derive(Clone, Debug)]
pub(super) struct Codebook {
    pub(super) scale: f32,
    /// `dim` elements; zeros for inner products, where a shift would change the order of rows.
    pub(super) mean: Vec<f32>,
}

impl Codebook {
    pub(super) fn fit(rows: &FloatRows<'_>) -> Self {
        let (n, dim) = (rows.len(), rows.dim());
        let step = (n * dim).div_ceil(SAMPLE).max(1);
        let mut row = vec![0.0; dim];
        let mut mean = vec![0.0_f32; dim];
        if rows.metric() != Metric::Ip {
            let mut sums = vec![0.0_f64; dim];
            let mut count = 0_u32;
            for i in (0..n).step_by(step) {
                rows.read(i, &mut row);
                count += 1;
                for (s, &x) in sums.iter_mut().zip(&row) {
                    *s += f64::from(x);
                }
            }
            for (m, s) in mean.iter_mut().zip(sums) {
                let value = (s / f64::from(count.max(1))) as f32;
                *m = if value.is_finite() { value } else { 0.0 };
            }
        }
        let mut sizes = Vec::new();
        for i in (0..n).step_by(step) {
            rows.read(i, &mut row);
            sizes.extend(row.iter().zip(&mean).map(|(x, m)| (x - m).abs()));
        }
        let mut limit = 0.0;
        if !sizes.is_empty() {
            let at = ((sizes.len() as f64 * QUANTILE) as usize).min(sizes.len() - 1);
            limit = *sizes.select_nth_unstable_by(at, f32::total_cmp).1;
        }
        let scale = limit / 127.0;
        Self {
            scale: if scale.is_normal() { scale } else { 1.0 },
            mean,
        }
    }

    pub(super) fn encode(&self, row: &[f32]) -> Vec<i8> {
        row.iter()
            .zip(&self.mean)
            // A NaN becomes 0 by the cast.
            .map(|(x, m)| ((x - m) / self.scale).round().clamp(-127.0, 127.0) as i8)
            .collect()
    }

    /// The codes of a row without what [`super::pairs`] keeps behind them.
    pub(super) fn of<'r>(&self, row: &'r [i8]) -> &'r [i8] {
        &row[..self.mean.len()]
    }

    /// The codes as stored: unsigned and padded.
    pub(super) fn store(codes: &[i8], out: &mut Vec<u8>) {
        let end = out.len() + codes.len().next_multiple_of(PAD);
        out.extend(codes.iter().map(|&c| (i32::from(c) + BIAS) as u8));
        out.resize(end, 0);
    }

    /// What a row adds to each of its squared Euclidean distances.
    pub(super) fn addend(&self, codes: &[i8]) -> f32 {
        let norm: i64 = codes.iter().map(|&c| i64::from(c).pow(2)).sum();
        (f64::from(self.scale).powi(2) * norm as f64) as f32
    }
}

/// The kernel for inner products of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dot {
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Dot {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                if is_x86_feature_detected!("avx512vnni") {
                    return Self::Vnni;
                }
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Plain
    }
}

/// A query against stored codes.
pub(super) struct CodeQuery {
    kernel: Dot,
    /// Padded like a stored row; the pad is 0 and so is what it contributes.
    narrow: Vec<i8>,
    wide: Vec<i16>,
    bias: i32,
    base: f32,
    factor: f32,
}

impl CodeQuery {
    /// `query` as by [`super::rows::float_query`].
    pub(super) fn new(query: &[f32], metric: Metric, scale: f32, mean: &[f32]) -> Self {
        let centred: Vec<f32> = match metric {
            Metric::L2 => query.iter().zip(mean).map(|(q, m)| q - m).collect(),
            _ => query.to_vec(),
        };
        let largest = centred.iter().fold(0.0_f32, |a, x| a.max(x.abs()));
        let step = largest / 127.0;
        let step = if step.is_normal() { step } else { 1.0 };
        let mut narrow: Vec<i8> = centred
            .iter()
            .map(|x| (x / step).round().clamp(-127.0, 127.0) as i8)
            .collect();
        narrow.resize(narrow.len().next_multiple_of(PAD), 0);
        let norm: i64 = narrow.iter().map(|&c| i64::from(c).pow(2)).sum();
        let unit = scale * step;
        let (base, factor) = match metric {
            Metric::L2 => ((f64::from(step).powi(2) * norm as f64) as f32, -2.0 * unit),
            Metric::Cosine => {
                let shift: f32 = query.iter().zip(mean).map(|(q, m)| q * m).sum();
                (-shift, -unit)
            }
            _ => (0.0, -unit),
        };
        Self {
            kernel: Dot::detect(),
            wide: narrow.iter().map(|&c| i16::from(c)).collect(),
            bias: narrow.iter().map(|&c| i32::from(c) * BIAS).sum(),
            narrow,
            base,
            factor,
        }
    }

    /// Bytes of one stored row.
    pub(super) fn stride(&self) -> usize {
        self.narrow.len()
    }

    /// The approximate distance of a stored row.
    #[inline(always)]
    pub(super) fn distance(&self, codes: &[u8], addend: f32) -> f32 {
        ordered(self.base + addend + self.factor * (self.dot(codes) as f32))
    }

    #[inline(always)]
    fn dot(&self, codes: &[u8]) -> i32 {
        assert_eq!(codes.len(), self.narrow.len(), "codes of another dimension");
        debug_assert!(codes.len().is_multiple_of(PAD));
        let sum = match self.kernel {
            // SAFETY: `detect` found the features; both sides have one length, a multiple of 64.
            #[cfg(target_arch = "x86_64")]
            Dot::Vnni => unsafe { x86::vnni(codes, &self.narrow) },
            // SAFETY: as above; `wide` is as long as `narrow`.
            #[cfg(target_arch = "x86_64")]
            Dot::Avx512 => unsafe { x86::avx512(codes, &self.wide) },
            // SAFETY: as above; `wide` is as long as `narrow`.
            #[cfg(target_arch = "x86_64")]
            Dot::Avx2 => unsafe { x86::avx2(codes, &self.wide) },
            Dot::Plain => codes
                .iter()
                .zip(&self.wide)
                .map(|(&c, &q)| i32::from(c) * i32::from(q))
                .sum(),
        };
        sum - self.bias
    }
}

/// Sums stay below `255 * 127 * 32_768`, which fits an i32.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_shuffle_epi32, _mm256_add_epi32,
        _mm256_castsi256_si128, _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_setzero_si256, _mm512_add_epi32, _mm512_cvtepu8_epi16,
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_reduce_add_epi32,
        _mm512_setzero_si512,
    };

    /// # Safety
    /// AVX-512F and VNNI are present; both slices have one length, a multiple of 64.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn vnni(codes: &[u8], query: &[i8]) -> i32 {
        let mut sum = _mm512_setzero_si512();
        for at in (0..codes.len()).step_by(64) {
            // SAFETY: `at + 64` is at most the length of both.
            unsafe {
                let c = _mm512_loadu_si512(codes.as_ptr().add(at).cast());
                let q = _mm512_loadu_si512(query.as_ptr().add(at).cast());
                sum = _mm512_dpbusd_epi32(sum, c, q);
            }
        }
        _mm512_reduce_add_epi32(sum)
    }

    /// # Safety
    /// AVX-512F and BW are present; both slices have one length, a multiple of 64.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) unsafe fn avx512(codes: &[u8], query: &[i16]) -> i32 {
        let (mut a, mut b) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for at in (0..codes.len()).step_by(64) {
            // SAFETY: `at + 64` is at most the length of both.
            unsafe {
                let c = _mm512_cvtepu8_epi16(_mm256_loadu_si256(codes.as_ptr().add(at).cast()));
                let q = _mm512_loadu_si512(query.as_ptr().add(at).cast());
                a = _mm512_add_epi32(a, _mm512_madd_epi16(c, q));
                let c =
                    _mm512_cvtepu8_epi16(_mm256_loadu_si256(codes.as_ptr().add(at + 32).cast()));
                let q = _mm512_loadu_si512(query.as_ptr().add(at + 32).cast());
                b = _mm512_add_epi32(b, _mm512_madd_epi16(c, q));
            }
        }
        _mm512_reduce_add_epi32(_mm512_add_epi32(a, b))
    }

    /// # Safety
    /// AVX2 is present; both slices have one length, a multiple of 64.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2(codes: &[u8], query: &[i16]) -> i32 {
        let (mut a, mut b) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for at in (0..codes.len()).step_by(32) {
            // SAFETY: `at + 32` is at most the length of both.
            unsafe {
                let c = _mm256_cvtepu8_epi16(_mm_loadu_si128(codes.as_ptr().add(at).cast()));
                let q = _mm256_loadu_si256(query.as_ptr().add(at).cast());
                a = _mm256_add_epi32(a, _mm256_madd_epi16(c, q));
                let c = _mm256_cvtepu8_epi16(_mm_loadu_si128(codes.as_ptr().add(at + 16).cast()));
                let q = _mm256_loadu_si256(query.as_ptr().add(at + 16).cast());
                b = _mm256_add_epi32(b, _mm256_madd_epi16(c, q));
            }
        }
        let sum = _mm256_add_epi32(a, b);
        let sum = _mm_add_epi32(
            _mm256_castsi256_si128(sum),
            _mm256_extracti128_si256::<1>(sum),
        );
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
        _mm_cvtsi128_si32(sum)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn every_kernel_of_this_processor_is_exact() {
        let mut rng = StdRng::seed_from_u64(3);
        for dim in [1, 2, 31, 63, 64, 65, 100, 384, 1000] {
            let query: Vec<f32> = (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
            let row: Vec<i8> = (0..dim).map(|_| rng.random_range(-127..=127)).collect();
            let mut stored = Vec::new();
            Codebook::store(&row, &mut stored);
            let mut q = CodeQuery::new(&query, Metric::Ip, 1.0, &vec![0.0; dim]);
            let exact: i32 = q
                .narrow
                .iter()
                .zip(&row)
                .map(|(&a, &b)| i32::from(a) * i32::from(b))
                .sum();
            let mut kernels = vec![Dot::detect(), Dot::Plain];
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx2") {
                    kernels.push(Dot::Avx2);
                }
                if is_x86_feature_detected!("avx512bw") {
                    kernels.push(Dot::Avx512);
                }
            }
            for kernel in kernels {
                q.kernel = kernel;
                assert_eq!(q.dot(&stored), exact, "{kernel:?} {dim}");
            }
        }
    }

    #[test]
    fn code_distances_are_near_the_exact_ones() {
        let mut rng = StdRng::seed_from_u64(4);
        let dim = 96;
        let data: Vec<f32> = (0..50 * dim).map(|_| rng.random_range(-1.0..3.0)).collect();
        let query: Vec<f32> = (0..dim).map(|_| rng.random_range(-1.0..3.0)).collect();
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let vectors = crate::VectorData::F32 { dim, data: &data };
            let rows = FloatRows::new(vectors, metric).unwrap();
            let book = Codebook::fit(&rows);
            let query = crate::QueryVector::F32(query.clone());
            let wide = super::super::rows::float_query(&query, metric);
            let coded = CodeQuery::new(&wide, metric, book.scale, &book.mean);
            let exact = crate::flat_search(
                &vectors,
                &query,
                metric,
                crate::Allow::All,
                50,
                &crate::Within::ALL,
                &crate::Cancel::new(),
            )
            .unwrap();
            let spread = exact[49].distance - exact[0].distance;
            for hit in exact {
                let codes = book.encode(&rows.to_vec(hit.row as usize));
                let mut stored = Vec::new();
                Codebook::store(&codes, &mut stored);
                let addend = if metric == Metric::L2 {
                    book.addend(&codes)
                } else {
                    0.0
                };
                let near = coded.distance(&stored, addend);
                assert!(
                    (near - hit.distance).abs() < spread * 0.05,
                    "{metric}: {near} {}",
                    hit.distance
                );
            }
        }
    }
}
