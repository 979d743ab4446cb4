//! Growing and sealed segments of rows: visibility, filters, search, files and merge.
//!
//! Nothing here does I/O, knows tokio or looks at a clock: callers hand in bytes and stamps.
//!
//! | module      | what it knows                                                  |
//! |-------------|----------------------------------------------------------------|
//! | [`spec`]    | what is asked of a segment, and what it answers                |
//! | [`error`]   | what can go wrong                                              |

pub mod error;
pub mod spec;

pub use error::{DamagedSegment, SegmentError};
pub use spec::{
    FileRole, GroupBy, GroupValue, Hit, IndexBuild, IndexFile, JsonCast, QuerySpec, RowRef, Rows,
    SearchParams, SearchSpec, SegmentFile, SegmentFiles, SegmentStats,
};
