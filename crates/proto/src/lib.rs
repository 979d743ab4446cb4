//! Generated messages, and the only conversions between them and domain types.
//!
//! | module          | what it knows                                             |
//! |-----------------|-----------------------------------------------------------|
//! | [`milvus`]      | generated: the public wire                                |
//! | [`persisted`]   | generated: bytes in the log, the catalog, manifests       |
//! | [`internal`]    | generated: the talk between nodes                         |
//! | [`descriptor`]  | the public wire described: reflection, names of calls     |
//! | [`status`]      | failures as clients see them                              |
//! | [`schema`]      | collection schemas, checked                               |
//! | [`field_data`]  | columns of rows between the wire and Arrow                |
//! | [`ids`]         | primary keys                                              |
//! | [`placeholder`] | query vectors of a search                                 |
//! | [`template`]    | values for the places of a filter                         |
//! | [`kv`]          | settings that travel as pairs of text                     |
//! | [`log_node`]    | the talk with log-nodes, checked                          |
//! | `elements`      | the elements of vectors as bytes                          |

pub mod descriptor;
pub mod internal;
pub mod milvus;
pub mod persisted;

pub mod field_data;
pub mod ids;
pub mod kv;
pub mod log_node;
pub mod placeholder;
pub mod schema;
pub mod status;
pub mod template;

mod elements;
#[cfg(test)]
mod testing;

pub use descriptor::{FILE_DESCRIPTOR_SET, rpc_names};
pub use milvus as pb;
