//! Distances between one query and many rows.
//!
//! [`with_distance`] chooses the kernel once and hands the scan a closure; the scan is compiled for each
//! kernel. Every distance is finite or infinite, never NaN (a NaN counts as infinitely far), never -0.
//!
//! | module     | what it knows                                                               |
//! |------------|-----------------------------------------------------------------------------|
//! | [`dense`]  | f32 and i8 by simsimd, bits by popcount                                      |
//! | [`half16`] | binary16 and bfloat16 rows against an f32 query, accumulated in f32          |
//! | [`scalar`] | the oracle: plain loops in f64 and i64                                       |
//! | [`sparse`] | inner product of sparse rows                                                 |

pub(crate) mod dense;
mod half16;
pub(crate) mod scalar;
pub(crate) mod sparse;

use holdfast_types::Metric;

use self::half16::{Half16, Narrow};
use crate::vectors::{QueryVector, VectorData};

/// Work over the distances from one query to the rows of a [`VectorData`].
pub(crate) trait Scan {
    /// What the scan yields.
    type Out;
    /// `distance(row)` is the distance of `row`; it panics when `row` is not below the number of rows.
    fn run(self, distance: impl Fn(usize) -> f32) -> Self::Out;
}

/// NaN is infinitely far and -0 is 0, so that distances have one order.
#[inline(always)]
pub(crate) fn ordered(distance: f32) -> f32 {
    if distance.is_nan() {
        f32::INFINITY
    } else {
        distance + 0.0
    }
}

#[inline(always)]
fn row<T>(data: &[T], dim: usize, i: usize) -> &[T] {
    &data[i * dim..(i + 1) * dim]
}

/// Runs `scan` over the distances between `query` and the rows of `data`.
///
/// # Panics
/// If the query does not fit the rows: callers check with [`VectorData::check_query`].
pub(crate) fn with_distance<S: Scan>(
    data: &VectorData<'_>,
    query: &QueryVector,
    metric: Metric,
    scan: S,
) -> S::Out {
    if let Err(mismatch) = data.check_query(query, metric) {
        panic!("a search was not checked: {mismatch}");
    }
    match (*data, query) {
        (VectorData::F32 { dim, data }, QueryVector::F32(q)) => match metric {
            Metric::L2 => scan.run(|i| ordered(dense::l2_f32(q, row(data, dim, i)))),
            Metric::Cosine => {
                let query = dense::CosineQuery::new(q);
                scan.run(|i| ordered(query.f32(row(data, dim, i))))
            }
            _ => scan.run(|i| ordered(-dense::dot_f32(q, row(data, dim, i)))),
        },
        (VectorData::F16 { dim, data }, QueryVector::F16(q)) => {
            let wide: Vec<f32> = q.iter().map(|x| x.to_f32()).collect();
            with_half16(data, dim, &wide, metric, scan)
        }
        (VectorData::Bf16 { dim, data }, QueryVector::Bf16(q)) => {
            let wide: Vec<f32> = q.iter().map(|x| x.to_f32()).collect();
            with_half16(data, dim, &wide, metric, scan)
        }
        (VectorData::I8 { dim, data }, QueryVector::I8(q)) => match metric {
            Metric::L2 => scan.run(|i| dense::l2_i8(q, row(data, dim, i)) as f32),
            Metric::Cosine => {
                let norm = dense::dot_i8(q, q);
                scan.run(|i| ordered(-dense::cosine_i8(q, norm, row(data, dim, i))))
            }
            _ => scan.run(|i| ordered(-(dense::dot_i8(q, row(data, dim, i)) as f32))),
        },
        (VectorData::Binary { dim, data }, QueryVector::Binary(q)) => {
            let bytes = dim / 8;
            match metric {
                Metric::Jaccard => {
                    let kernel = dense::Bits::detect();
                    scan.run(|i| ordered(kernel.jaccard(q, row(data, bytes, i))))
                }
                _ => {
                    let kernel = dense::Bits::detect();
                    scan.run(|i| kernel.hamming(q, row(data, bytes, i)) as f32)
                }
            }
        }
        (VectorData::Sparse(rows), QueryVector::Sparse(q)) => {
            scan.run(|i| ordered(-sparse::dot(q, rows.row(i))))
        }
        _ => unreachable!("check_query compared the types"),
    }
}

fn with_half16<T: Narrow, S: Scan>(
    data: &[T],
    dim: usize,
    query: &[f32],
    metric: Metric,
    scan: S,
) -> S::Out {
    let kernel = Half16::detect();
    match metric {
        Metric::L2 => scan.run(|i| ordered(kernel.l2(query, row(data, dim, i)))),
        Metric::Cosine => {
            let query = dense::CosineQuery::new(query);
            scan.run(|i| ordered(query.half16(kernel, row(data, dim, i))))
        }
        _ => scan.run(|i| ordered(-kernel.dot(query, row(data, dim, i)))),
    }
}

#[cfg(test)]
mod tests;
