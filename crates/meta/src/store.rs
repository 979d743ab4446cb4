//! The [`MetaStore`] contract: a small, durable, ordered map with transactions and a change feed.
//!
//! One revision counter serves the whole store. Every transaction that changes something raises it, and
//! everything that transaction touched carries the new revision. The embedded stores count from 0 in steps
//! of one; a store that others use as well may begin higher and skip. The store holds metadata only,
//! O(collections + shards) keys; nothing in it grows with the rows of a collection.

mod error;
mod feed;
pub mod memory;
pub mod on_disk;
pub mod session;
mod table;
mod txn;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use error::MetaError;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1_024;
/// Largest value, in bytes: what fits one request of every store Holdfast knows.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// Most compares, puts and deletes of one transaction together.
pub const MAX_TXN_OPERATIONS: usize = 128;
/// Most bytes of keys and values of one transaction together, compared values included.
pub const MAX_TXN_BYTES: usize = (1 << 20) + (1 << 18);

/// A key's value and the revision of the transaction that put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The key.
    pub key: String,
    /// The bytes.
    pub value: Bytes,
    /// Revision of the last put of this key; never 0.
    pub mod_revision: u64,
}

/// All keys under a prefix at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Ascending by the bytes of the key.
    pub items: Vec<Versioned>,
    /// The revision the items were read at: pass it to [`MetaStore::watch`] to hear what came after.
    pub revision: u64,
}

/// What a [`Compare`] demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key is absent.
    Absent,
    /// The key is present and was last put at this revision.
    Revision(u64),
    /// The key is present and holds exactly these bytes.
    Value(Bytes),
    /// No key begins with the compare's key.
    PrefixAbsent,
}

/// One condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key looked at; a prefix for [`Expect::PrefixAbsent`].
    pub key: String,
    /// What must hold for it.
    pub expect: Expect,
}

/// Changes that happen all together, and only if all compares hold.
///
/// A key may be put or deleted at most once in a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Conditions; none means "always".
    pub compares: Vec<Compare>,
    /// Keys and their new values.
    pub puts: Vec<(String, Bytes)>,
    /// Keys to remove; removing an absent key is no change.
    pub deletes: Vec<String>,
}

impl Txn {
    /// A transaction without conditions or changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn expect(mut self, key: impl Into<String>, expect: Expect) -> Self {
        self.compares.push(Compare {
            key: key.into(),
            expect,
        });
        self
    }

    /// Adds the condition that a key is as it was read: absent (`None`) or of this revision.
    #[must_use]
    pub fn expect_read(self, key: impl Into<String>, read: Option<&Versioned>) -> Self {
        let expect = read.map_or(Expect::Absent, |v| Expect::Revision(v.mod_revision));
        self.expect(key, expect)
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: Bytes) -> Self {
        self.puts.push((key.into(), value));
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.deletes.push(key.into());
        self
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum TxnOutcome {
    /// Every compare held and every change is durable and visible.
    Done {
        /// The revision of the changes; the current revision when nothing changed.
        revision: u64,
    },
    /// A compare did not hold; nothing changed.
    Failed,
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: String,
    /// The new value; `None` when the key was deleted.
    pub value: Option<Bytes>,
}

/// What one transaction changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The transaction's revision.
    pub revision: u64,
    /// Its changes under the watched prefix, ascending by key; never empty.
    pub events: Vec<Event>,
}

/// Transactions in order of revision. It ends after an error, and soon after the store is dropped, once it has
/// told what this store had done.
pub type WatchStream = BoxStream<'static, Result<Changes, MetaError>>;

/// A small, durable, ordered map. Every implementation passes the contract suite.
#[async_trait]
pub trait MetaStore: Send + Sync {
    /// The value of one key, as of the last transaction that returned.
    ///
    /// # Errors
    /// The store is out of reach or damaged.
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError>;

    /// All keys that begin with `prefix` (all keys for an empty one), read at one revision.
    ///
    /// # Errors
    /// The store is out of reach or damaged.
    async fn range(&self, prefix: &str) -> Result<Range, MetaError>;

    /// Makes all changes of `txn` if all its compares hold. On `Done` they are durable, and every later
    /// read sees them.
    ///
    /// # Errors
    /// Nothing was written, except for [`MetaError::OutcomeUnknown`]: then look before trying again.
    ///
    /// # Cancel safety
    /// A dropped future leaves the outcome unknown, never half of it.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, MetaError>;

    /// Every later transaction that changes keys under `prefix`: those with a revision **greater than**
    /// `after_revision`, in order and without gaps, each exactly once. With the revision of a
    /// [`Self::range`] this continues exactly where that listing ended.
    ///
    /// # Errors
    /// [`MetaError::Compacted`], here or from the stream, when the changes are no longer remembered:
    /// list again and watch from there. Any other error is final: a store that can be out of reach for
    /// a while reconnects by itself.
    async fn watch(&self, prefix: &str, after_revision: u64) -> Result<WatchStream, MetaError>;
}
