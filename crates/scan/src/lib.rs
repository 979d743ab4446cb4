//! One read over many segments: fanned out on the CPU pool, cancelled with its caller, merged.
//!
//! Stream-nodes read growing segments and query-nodes sealed ones in the same way, and services never
//! depend on each other; this is the part they share.
//!
//! | module       | what it knows                                                          |
//! |--------------|------------------------------------------------------------------------|
//! | [`readable`] | what a segment can be asked                                            |
//! | [`best`]     | the best hits so far                                                   |
//! | [`fan_out`]  | running and merging reads                                              |
//! | [`open`]     | from a manifest entry to an open segment with its deletes              |
//! | [`stored`]   | what the catalog and the manifest call a thing, and the segment room   |

mod best;
mod fan_out;
mod open;
mod readable;
mod stored;

pub use fan_out::{count, fetch, query, search};
pub use holdfast_index::Cancel;
pub use open::{IndexFiles, Mapped, apply_delete_logs, index_files, open_segment};
pub use readable::Readable;
pub use stored::{index_build, index_kind_name};
