//! The calls that one role makes of another, in domain types.
//!
//! Services never depend on each other: they hold these traits. In one process the trait object is the
//! service itself; between processes it is a client of the same calls.
//!
//! | module          | calls                                                            |
//! |-----------------|------------------------------------------------------------------|
//! | [`write`]       | what a proxy asks of the owner of a channel, to change rows      |
//! | [`read`]        | the point in time of a read, and its parts on each node          |
//! | [`stream_node`] | the owner of a channel: writes, fresh rows, flush                |
//! | [`query_node`]  | the server of flushed segments                                   |
//! | [`worker`]      | index builds and compaction                                      |
//! | [`coordinator`] | DDL, load and release, flush, compaction, progress               |

pub mod coordinator;
pub mod query_node;
pub mod read;
pub mod stream_node;
pub mod worker;
pub mod write;

pub use coordinator::Coordinator;
pub use query_node::QueryNode;
pub use stream_node::StreamNode;
pub use worker::Worker;
