//! The best hits so far, while segments answer one after the other.
//!
//! A search of many query vectors over many segments finds far more hits than it answers with. What a segment
//! found is merged with what others found as soon as it is there, on the thread that found it: so beside the
//! answer, memory holds one list a thread, not one a segment.

use holdfast_segment::{Hit, SearchSpec, merge_hits};
use parking_lot::Mutex;

/// One list of hits for each query vector.
#[derive(Debug)]
pub(crate) struct Best(Mutex<Vec<Vec<Hit>>>);

impl Best {
    /// None found yet.
    pub(crate) fn new(queries: usize) -> Self {
        Self(Mutex::new(vec![Vec::new(); queries]))
    }

    /// Takes in what one more segment found for each query vector of `spec`.
    pub(crate) fn merge(&self, found: Vec<Vec<Hit>>, spec: &SearchSpec) {
        for (best, found) in self.0.lock().iter_mut().zip(found) {
            let parts = vec![std::mem::take(best), found];
            *best = merge_hits(parts, spec.top_k, spec.group_by.as_ref());
        }
    }

    /// The lists, best hit first.
    pub(crate) fn take(&self) -> Vec<Vec<Hit>> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_index::{QueryVector, Within};
    use holdfast_segment::{RowRef, SearchParams};
    use holdfast_types::{FieldId, Metric, Pk, RowIdx, SegmentId, Timestamp};

    use super::*;

    fn spec(queries: usize, top_k: usize) -> SearchSpec {
        SearchSpec {
            field: FieldId(101),
            metric: Metric::L2,
            queries: vec![QueryVector::F32(vec![0.0]); queries].into(),
            top_k,
            params: SearchParams::default(),
            within: Within::ALL,
            filter: None,
            group_by: None,
            at: Timestamp(9),
            ttl_before: None,
        }
    }

    fn hit(key: i64, distance: f32) -> Hit {
        Hit {
            distance,
            pk: Pk::Int(key),
            ts: Timestamp(1),
            row: RowRef {
                segment: SegmentId(key % 40),
                row: RowIdx(0),
            },
            group: None,
        }
    }

    /// Neither the order in which segments answer nor their number is to be seen in the answer or in memory.
    #[test]
    fn segments_in_any_order_leave_the_same_hits_and_no_more_than_the_answer() {
        let spec = spec(2, 5);
        let of_segment = |segment: i64| {
            let list = |query: i64| {
                (0..5)
                    .map(|i| {
                        hit(
                            segment * 5 + i,
                            ((segment * 7 + i * 3 + query) % 101) as f32,
                        )
                    })
                    .collect::<Vec<_>>()
            };
            vec![list(0), list(1)]
        };
        let all: Vec<Vec<Vec<Hit>>> = (0..40).map(of_segment).collect();
        let expected: Vec<Vec<Hit>> = (0..2)
            .map(|q| merge_hits(all.iter().map(|s| s[q].clone()).collect(), 5, None))
            .collect();
        for step in [1, 3, 7, 39] {
            let best = Best::new(2);
            for i in 0..40 {
                best.merge(all[i * step % 40].clone(), &spec);
                assert!(best.0.lock().iter().all(|list| list.len() <= 5));
            }
            assert_eq!(best.take(), expected, "every {step}th");
        }
    }
}
