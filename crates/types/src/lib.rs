//! The nouns every other crate shares. No I/O, no async, no wire types, no serialization.
//!
//! | module        | what it knows                                                       |
//! |---------------|---------------------------------------------------------------------|
//! | [`ids`]       | identifiers and positions, each its own type                         |
//! | [`time`]      | the hybrid logical [`Timestamp`] and the rule that orders stamps     |
//! | [`data_type`] | the data types a field may have                                      |
//! | [`metric`]    | distance metrics and the sign convention of a distance               |
//! | [`value`]     | one scalar value, and primary keys                                   |
//! | [`schema`]    | collections and their fields                                         |
//! | [`columns`]   | how a field is laid out as an Arrow column                           |
//! | [`file_role`] | what each file of a sealed segment holds                             |
//! | [`limits`]    | the bounds every input is checked against                            |
//! | [`failure`]   | what went wrong, in terms of what the caller can do                  |

pub mod columns;
pub mod data_type;
pub mod failure;
pub mod file_role;
pub mod ids;
pub mod limits;
pub mod metric;
pub mod schema;
pub mod time;
pub mod value;

pub use data_type::DataType;
pub use failure::{Code, Coded, Failure};
pub use file_role::FileRole;
pub use ids::{
    ChannelId, CollectionId, DatabaseId, Epoch, FieldId, IndexId, LogSegment, Lsn, ManifestVersion,
    PartitionId, RowIdx, SegmentId, ShardId,
};
pub use metric::Metric;
pub use schema::{CollectionSchema, FieldSchema};
pub use time::Timestamp;
pub use value::{Pk, PkList, Value};
