//! The public gRPC API: validation, routing, merging of results.
//!
//! Every call is one function from a checked request to an answer; what a call needs to know of
//! collections it reads from the catalog's snapshot, and what it changes it asks of the coordinator or of
//! the owner of a channel. A proxy keeps nothing that it could not lose.
//!
//! | module      | what it knows                                                                  |
//! |-------------|--------------------------------------------------------------------------------|
//! | [`options`] | settings                                                                       |
//! | [`service`] | the proxy and what it is made of                                               |
//! | [`metered`] | memory of requests and answers                                                 |
//! | [`grpc`]    | the public service, call by call                                               |
//! | [`answer`]  | how each answer carries a failure                                              |
//! | [`session`] | who calls, and the calls that open a connection                                |
//! | [`resolve`] | names to collections, partitions and fields; checks that calls share           |
//! | [`ddl`]     | collections, fields, partitions, aliases, databases, indexes, load and release |
//! | [`write`]   | insert, upsert, delete                                                         |
//! | [`read`]    | search, hybrid search, query, iterators                                        |
//! | [`info`]    | flush, compaction, statistics, segments                                        |
//! | [`metrics`] | what is measured                                                               |

mod answer;
mod ddl;
#[cfg(test)]
mod fakes;
mod grpc;
mod info;
mod metered;
mod metrics;
mod options;
mod read;
mod resolve;
mod service;
mod session;
mod write;

pub use metered::Metered;
pub use options::Options;
pub use service::{Components, Proxy, PublicServer};
pub use session::SERVER_VERSION;
