//! The metadata store and the typed catalog over it.
//!
//! | module       | what it knows                                                       |
//! |--------------|---------------------------------------------------------------------|
//! | [`store`]    | the [`MetaStore`] contract, and the stores that keep it             |
//! | `contract`   | the suite every store passes (feature `testing`)                    |
//! | [`keys`]     | the keys of the store                                               |
//! | [`envelope`] | version and checksum of stored values                               |
//! | [`epoch`]    | who writes a channel                                                |
//! | [`model`]    | databases, collections, partitions, indexes, aliases                |
//! | [`names`]    | which names they may have                                           |
//! | `codec`      | stored values to domain types and back                              |
//! | [`catalog`]  | the [`Catalog`]: snapshots that follow the store, and DDL           |

pub mod catalog;
mod codec;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod envelope;
pub mod epoch;
pub mod keys;
pub mod model;
pub mod names;
pub mod store;

pub use catalog::{Catalog, snapshot::CatalogSnapshot};
pub use codec::EpochClaim;
pub use epoch::claim_epoch;
pub use model::{
    AliasMeta, CollectionMeta, CollectionState, DEFAULT_DATABASE, DEFAULT_DATABASE_ID,
    DatabaseMeta, IndexKind, IndexMeta, JsonPathMeta, LoadSpec, NewCollection, PartitionMeta,
};
pub use names::{NameOf, check_name};
pub use store::{
    Changes, Compare, Event, Expect, MetaError, MetaStore, Range, Txn, TxnOutcome, Versioned,
    WatchStream,
    memory::MemoryStore,
    on_disk::RedbStore,
    session::{Session, Sessions, elected},
};
