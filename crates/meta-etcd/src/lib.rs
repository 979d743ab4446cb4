//! The metadata store over etcd, 3.4 and later.
//!
//! | module      | what it knows                                                            |
//! |-------------|--------------------------------------------------------------------------|
//! | [`options`] | where etcd is, how to log in, how long to wait                           |
//! | `members`   | one connection a member, and which member is asked next                  |
//! | `fault`     | what an error of etcd says about the request: not sent, unknown, refused |
//! | `keyspace`  | our keys and transactions as etcd's, and back                            |
//! | `batches`   | watch responses put together to whole transactions; pure                 |
//! | `watcher`   | one watch that outlives its streams                                      |
//! | [`store`]   | the [`EtcdStore`]                                                        |
//! | `session`   | sessions as leases                                                       |
//! | `testing`   | real members on this machine (feature `testing`)                         |

mod batches;
mod fault;
mod keyspace;
mod members;
mod metrics;
pub mod options;
mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod watcher;

pub use options::{Options, Secret, Tls};
pub use store::EtcdStore;
