//! Exact search: every allowed row is compared.

use holdfast_types::Metric;

use crate::{
    allow::Allow,
    kernel::{Scan, with_distance},
    search::{Cancel, Cancelled, Neighbor, TopK, Within},
    vectors::{QueryVector, VectorData},
};

/// Rows compared between two looks at the cancel flag, a few hundred microseconds at most.
const ROWS_PER_POLL: usize = 1024;

/// The exact `k` nearest allowed rows inside the window: ascending distance, then row.
///
/// A sparse row whose inner product with the query is 0 shares nothing with it and is no hit.
///
/// # Errors
/// [`Cancelled`] soon after the flag is raised.
///
/// # Panics
/// If the query does not fit the rows; [`VectorData::check_query`] tells beforehand.
pub fn flat_search(
    data: &VectorData<'_>,
    query: &QueryVector,
    metric: Metric,
    allow: Allow<'_>,
    k: usize,
    within: &Within,
    cancel: &Cancel,
) -> Result<Vec<Neighbor>, Cancelled> {
    let scan = Flat {
        rows: data.len(),
        sparse: matches!(data, VectorData::Sparse(_)),
        allow,
        k,
        within,
        cancel,
    };
    with_distance(data, query, metric, scan)
}

struct Flat<'a> {
    rows: usize,
    sparse: bool,
    allow: Allow<'a>,
    k: usize,
    within: &'a Within,
    cancel: &'a Cancel,
}

impl Scan for Flat<'_> {
    type Out = Result<Vec<Neighbor>, Cancelled>;

    fn run(self, distance: impl Fn(usize) -> f32) -> Self::Out {
        self.cancel.check()?;
        if self.k == 0 {
            return Ok(Vec::new());
        }
        let mut top = TopK::new(self.k, self.rows);
        let mut compare = |row: usize| {
            let distance = distance(row);
            if self.within.contains(distance) && !(self.sparse && distance == 0.0) {
                top.offer(Neighbor {
                    row: row as u32,
                    distance,
                });
            }
        };
        match self.allow {
            Allow::All => {
                for row in 0..self.rows {
                    if row % ROWS_PER_POLL == 0 {
                        self.cancel.check()?;
                    }
                    compare(row);
                }
            }
            Allow::Bits(bits) => {
                for (seen, row) in bits.ones().take_while(|&row| row < self.rows).enumerate() {
                    if seen % ROWS_PER_POLL == 0 {
                        self.cancel.check()?;
                    }
                    compare(row);
                }
            }
        }
        Ok(top.into_sorted())
    }
}

#[cfg(test)]
mod tests;
