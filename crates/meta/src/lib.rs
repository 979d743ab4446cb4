//! The metadata store and the typed catalog over it.
//!
//! | module       | what it knows                                                       |
//! |--------------|---------------------------------------------------------------------|
//! | [`store`]    | the [`MetaStore`] contract, and the stores that keep it             |
//! | [`keys`]     | the keys of the store                                               |
//! | [`envelope`] | version and checksum of stored values                               |
//! | [`model`]    | databases, collections, partitions, indexes, aliases                |

pub mod envelope;
pub mod keys;
pub mod model;
pub mod store;

pub use model::{
    AliasMeta, CollectionMeta, CollectionState, DEFAULT_DATABASE, DEFAULT_DATABASE_ID,
    DatabaseMeta, IndexKind, IndexMeta, JsonPathMeta, LoadSpec, NewCollection, PartitionMeta,
};
pub use store::{
    Changes, Compare, Event, Expect, MetaError, MetaStore, Range, Txn, TxnOutcome, Versioned,
    WatchStream, memory::MemoryStore,
};
