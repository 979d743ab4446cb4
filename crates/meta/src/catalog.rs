//! The typed view over a [`MetaStore`]: an in-memory snapshot that follows the store, and DDL as
//! compare-and-set transactions.
//!
//! Snapshots have one writer, the follower task: it applies the store's transactions whole and in order.
//! A DDL call reads what it needs from the store itself, makes one transaction, and returns once the
//! follower has passed it, so that the caller (and everybody it tells) sees it in [`Catalog::snapshot`].
//!
//! | module        | what it knows                                         |
//! |---------------|-------------------------------------------------------|
//! | [`snapshot`]  | lookups                                               |
//! | `buckets`     | a map that is cheap to copy                           |
//! | `follow`      | list, watch, list again when compacted                |
//! | `databases`, `collections`, `aliases` | DDL                           |
//! | `ids`         | ids in blocks                                         |

mod aliases;
mod buckets;
mod collections;
mod databases;
mod follow;
mod ids;
pub mod snapshot;

use std::sync::Arc;

use holdfast_types::{Code, Failure, Timestamp};
use tokio::sync::Mutex;

use crate::{
    CatalogSnapshot, DatabaseMeta, MetaError, MetaStore, Txn, TxnOutcome, Versioned,
    codec::{self, NameEntry, Stored},
    keys,
};
use follow::{Follower, View};
use ids::Block;

/// Most times a DDL call starts over because somebody else changed the same keys first. Calls through
/// one catalog never meet; only other processes can be in the way.
const ATTEMPTS_MAX: usize = 64;

/// Databases, collections and aliases.
pub struct Catalog {
    store: Arc<dyn MetaStore>,
    view: Arc<View>,
    /// Keeps the DDL of this process from failing each other's compares.
    ddl: Mutex<()>,
    ids: Mutex<Block>,
    /// Stops with the catalog.
    _follower: Follower,
}

impl Catalog {
    /// Reads the catalog, makes the default database (created at `now`) if there is none, and follows the
    /// store from then on.
    ///
    /// # Errors
    /// The store's, and [`MetaError::Damaged`] naming the key of a value that cannot be understood.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(store: Arc<dyn MetaStore>, now: Timestamp) -> Result<Arc<Self>, MetaError> {
        databases::ensure_default(store.as_ref(), now).await?;
        let (view, follower) = follow::start(Arc::clone(&store)).await?;
        Ok(Arc::new(Self {
            store,
            view,
            ddl: Mutex::new(()),
            ids: Mutex::new(Block::empty()),
            _follower: follower,
        }))
    }

    /// The catalog now: cheap, consistent, unchanging.
    #[must_use]
    pub fn snapshot(&self) -> Arc<CatalogSnapshot> {
        self.view.snapshot()
    }

    /// The next snapshot that differs from the one with this revision; at once if there is one already.
    ///
    /// # Errors
    /// The catalog follows the store no longer.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn newer_than(&self, revision: u64) -> Result<Arc<CatalogSnapshot>, Failure> {
        self.view.reached(revision.saturating_add(1)).await?;
        Ok(self.snapshot())
    }

    /// A value and the version it was read at.
    async fn read<T: Stored>(&self, key: &str) -> Result<Option<(T, Versioned)>, MetaError> {
        match self.store.get(key).await? {
            Some(found) => Ok(Some((codec::decode(key, &found.value)?, found))),
            None => Ok(None),
        }
    }

    /// The database of this name.
    async fn read_database(&self, name: &str) -> Result<(DatabaseMeta, Versioned), Failure> {
        self.read(&keys::database(name))
            .await?
            .ok_or_else(|| database_not_found(name))
    }

    /// What a name in a database stands for.
    async fn read_name(
        &self,
        database: &DatabaseMeta,
        name: &str,
    ) -> Result<Option<(NameEntry, Versioned)>, MetaError> {
        self.read(&keys::name(database.id, name)).await
    }

    /// Makes a transaction and waits until [`Self::snapshot`] shows it; false when a compare failed.
    ///
    /// The transaction has to change a key that the catalog follows: nothing else moves the follower.
    async fn commit(&self, txn: Txn) -> Result<bool, Failure> {
        debug_assert!(
            txn.puts
                .iter()
                .map(|(key, _)| key)
                .chain(&txn.deletes)
                .any(|key| key.starts_with(keys::CATALOG)),
            "{txn:?} changes nothing that is followed"
        );
        match self.store.txn(txn).await? {
            TxnOutcome::Failed => Ok(false),
            TxnOutcome::Done { revision } => {
                self.view.reached(revision).await?;
                Ok(true)
            }
        }
    }
}

/// Adds a put of an encoded value.
fn put<T: Stored>(txn: Txn, key: &str, value: &T) -> Result<Txn, MetaError> {
    Ok(txn.put(key, codec::encode(key, value)?))
}

fn contended(what: &str) -> Failure {
    Failure::new(
        Code::Conflict,
        format!("{what} was changed by others {ATTEMPTS_MAX} times in a row, retry later"),
    )
}

fn database_not_found(name: &str) -> Failure {
    Failure::new(
        Code::DatabaseNotFound,
        format!("database not found[database={name}]"),
    )
}

fn collection_not_found(database: &str, name: &str) -> Failure {
    Failure::new(
        Code::CollectionNotFound,
        format!("collection not found[database={database}][collection={name}]"),
    )
}

fn alias_not_found(database: &str, alias: &str) -> Failure {
    Failure::new(
        Code::AliasNotFound,
        format!("alias not found[database={database}][alias={alias}]"),
    )
}

#[cfg(test)]
mod tests;
