//! Generated messages, and the only conversions between them and domain types.
//!
//! | module         | what it knows                                        |
//! |----------------|------------------------------------------------------|
//! | [`milvus`]     | generated: the public wire                           |
//! | [`persisted`]  | generated: bytes in the log, the catalog, manifests  |
//! | [`descriptor`] | the public wire described: reflection, names of calls |

pub mod descriptor;
pub mod milvus;
pub mod persisted;

pub use descriptor::{FILE_DESCRIPTOR_SET, rpc_names};
pub use milvus as pb;
