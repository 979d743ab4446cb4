//! What a segment can be asked, growing or sealed.

use arrow_array::RecordBatch;
use holdfast_index::Cancel;
use holdfast_segment::{GrowingSegment, Hit, QuerySpec, Rows, SealedSegment, SearchSpec};
use holdfast_types::{Failure, FieldId, RowIdx};

/// A segment, growing or sealed.
pub trait Readable: Send + Sync + 'static {
    /// The best hits of each query vector.
    ///
    /// # Errors
    /// `DeadlineExceeded` when cancelled; what the segment refuses.
    fn search(&self, spec: &SearchSpec, cancel: &Cancel) -> Result<Vec<Vec<Hit>>, Failure>;
    /// Matching rows in key order.
    ///
    /// # Errors
    /// As [`Self::search`].
    fn query(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<Rows, Failure>;
    /// Number of matching rows.
    ///
    /// # Errors
    /// As [`Self::search`].
    fn count(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<u64, Failure>;
    /// Fields of rows, in the order asked.
    ///
    /// # Errors
    /// A row or field that the segment does not have.
    fn fetch(&self, rows: &[RowIdx], fields: &[FieldId]) -> Result<RecordBatch, Failure>;
}

macro_rules! readable {
    ($segment:ty) => {
        impl Readable for $segment {
            fn search(&self, spec: &SearchSpec, cancel: &Cancel) -> Result<Vec<Vec<Hit>>, Failure> {
                <$segment>::search(self, spec, cancel).map_err(Failure::from)
            }

            fn query(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<Rows, Failure> {
                <$segment>::query(self, spec, cancel).map_err(Failure::from)
            }

            fn count(&self, spec: &QuerySpec, cancel: &Cancel) -> Result<u64, Failure> {
                <$segment>::count(self, spec, cancel).map_err(Failure::from)
            }

            fn fetch(&self, rows: &[RowIdx], fields: &[FieldId]) -> Result<RecordBatch, Failure> {
                <$segment>::fetch(self, rows, fields).map_err(Failure::from)
            }
        }
    };
}

readable!(GrowingSegment);
readable!(SealedSegment);
