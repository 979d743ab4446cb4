//! Flush, compaction, statistics, segments.

pub(crate) mod compaction;
pub(crate) mod flush;
pub(crate) mod segments;
pub(crate) mod statistics;
