//! Growing and sealed segments of rows: visibility, filters, search, files and merge.
//!
//! Nothing here does I/O, knows tokio or looks at a clock: callers hand in bytes and stamps.
//! A row is visible at stamp T iff it was stamped at or before T and no delete of its key has a stamp
//! after the row's and at or before T ([`holdfast_types::time::visible`]).
//!
//! | module      | what it knows                                                        |
//! |-------------|----------------------------------------------------------------------|
//! | [`spec`]    | what is asked of a segment, and what it answers                      |
//! | [`error`]   | what can go wrong                                                    |
//! | [`growing`] | a segment in memory that rows are appended to                        |
//! | [`sealed`]  | a segment that is read from its files                                |
//! | [`filter`]  | which rows of a batch satisfy a predicate                            |
//! | [`merge`]   | several sealed segments into one                                     |
//! | [`build`]   | index files of a sealed segment                                      |
//! | [`combine`] | the answers of several segments as one                               |
//! | [`gather`]  | rows of several segments as one batch                                |
//! | [`key_set`] | the keys of a stored segment without its rows                        |
//! | [`query_vector`] | a stored vector as something to search for                      |
//! | `file`      | the file formats, verified before they are read                      |
//! | `write`     | rows into files                                                      |
//! | `answer`, `rows` | hits, groups and ordered rows from row numbers                  |
//! | `table`, `fields`, `vectors` | columns by row number and field                     |

mod answer;
pub mod build;
pub mod combine;
pub mod error;
mod fields;
mod file;
pub mod filter;
#[cfg(test)]
mod fixture;
pub mod gather;
pub mod growing;
pub mod key_set;
pub mod merge;
#[cfg(test)]
mod model_tests;
pub mod query_vector;
mod rows;
pub mod sealed;
pub mod spec;
mod table;
mod vectors;
mod write;

pub use build::build_index;
pub use combine::{merge_hits, merge_rows};
pub use error::{DamagedSegment, SegmentError};
pub use filter::eval;
pub use gather::gather;
pub use growing::GrowingSegment;
pub use key_set::KeySet;
pub use merge::merge;
pub use query_vector::query_vector;
pub use sealed::SealedSegment;
pub use spec::{
    GroupBy, GroupValue, Hit, IndexBuild, IndexFile, JsonCast, QuerySpec, RowRef, Rows,
    SearchParams, SearchSpec, SegmentFile, SegmentFiles, SegmentStats,
};
