//! Segments of the quorum log that ended, in object storage: written once under names that no two attempts share, and read
//! back with every byte checked, from the metadata's checksum of the manifest down to each entry.
//!
//! | module      | what it knows                                                        |
//! |-------------|----------------------------------------------------------------------|
//! | [`options`] | settings                                                             |
//! | [`names`]   | what objects are called, and whose they are                           |
//! | [`store`]   | [`LogStore`]: durable puts, lists and deletes                         |
//! | [`upload`]  | [`Upload`]: one attempt to store a segment                            |
//! | [`stored`]  | [`StoredSegment`]: reading one                                        |
//! | [`lists`]   | segments that have no keys of their own                               |
//! | [`error`]   | what went wrong with which object                                     |
//!
//! Nothing here is locked, and a name decides nothing: an upload counts when the metadata names its manifest.

pub mod error;
pub mod lists;
pub mod names;
pub mod options;
pub mod store;
pub mod stored;
pub mod upload;

pub use error::LogStoreError;
pub use names::{Attempt, Folder, ListName};
pub use options::Options;
pub use store::{Listed, LogStore};
pub use stored::StoredSegment;
pub use upload::Upload;

#[cfg(test)]
mod tests;
