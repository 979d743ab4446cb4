//! DDL of databases.

use std::sync::Arc;

use holdfast_types::{DatabaseId, Failure, Timestamp};

use super::{ATTEMPTS_MAX, Catalog, contended, put};
use crate::{
    DEFAULT_DATABASE, DEFAULT_DATABASE_ID, DatabaseMeta, Expect, MetaError, MetaStore, NameOf, Txn,
    check_name, keys,
};

/// Makes the default database unless it exists.
pub(super) async fn ensure_default(store: &dyn MetaStore, now: Timestamp) -> Result<(), MetaError> {
    let key = keys::database(DEFAULT_DATABASE);
    let default = DatabaseMeta {
        id: DEFAULT_DATABASE_ID,
        name: DEFAULT_DATABASE.to_owned(),
        properties: Vec::new(),
        created: now,
    };
    let txn = put(Txn::new().expect(&key, Expect::Absent), &key, &default)?;
    // Failed means that it exists: that is what was wanted.
    store.txn(txn).await.map(drop)
}

impl Catalog {
    /// Creates a database.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad or taken name; the store's.
    pub async fn create_database(
        &self,
        name: &str,
        properties: Vec<(String, String)>,
        now: Timestamp,
    ) -> Result<Arc<DatabaseMeta>, Failure> {
        check_name(NameOf::Database, name)?;
        let _ddl = self.ddl.lock().await;
        let key = keys::database(name);
        if self.read::<DatabaseMeta>(&key).await?.is_none() {
            let database = DatabaseMeta {
                id: DatabaseId(self.allocate_ids(1).await?),
                name: name.to_owned(),
                properties,
                created: now,
            };
            let txn = put(Txn::new().expect(&key, Expect::Absent), &key, &database)?;
            if self.commit(txn).await? {
                return Ok(Arc::new(database));
            }
        }
        Err(Failure::invalid(format!("database already exist: {name}")))
    }

    /// Replaces a database's properties by what `f` makes of them.
    ///
    /// # Errors
    /// `DatabaseNotFound`; what `f` returns; the store's.
    pub async fn alter_database(
        &self,
        name: &str,
        f: impl Fn(&[(String, String)]) -> Result<Vec<(String, String)>, Failure> + Send + Sync,
    ) -> Result<Arc<DatabaseMeta>, Failure> {
        let _ddl = self.ddl.lock().await;
        let key = keys::database(name);
        for _ in 0..ATTEMPTS_MAX {
            let (mut database, version) = self.read_database(name).await?;
            database.properties = f(&database.properties)?;
            let txn = Txn::new().expect_read(&key, Some(&version));
            if self.commit(put(txn, &key, &database)?).await? {
                return Ok(Arc::new(database));
            }
        }
        Err(contended(&format!("database {name}")))
    }

    /// Drops a database that holds no collection; false when there was none.
    ///
    /// # Errors
    /// `InvalidArgument` for the default database and for one that is not empty; the store's.
    pub async fn drop_database(&self, name: &str) -> Result<bool, Failure> {
        if name == DEFAULT_DATABASE {
            return Err(Failure::invalid("can not drop default database"));
        }
        let _ddl = self.ddl.lock().await;
        let key = keys::database(name);
        for _ in 0..ATTEMPTS_MAX {
            let Some((database, version)) = self.read::<DatabaseMeta>(&key).await? else {
                return Ok(false);
            };
            // A collection that appears meanwhile makes the compare fail, and is seen in the next round.
            let names = keys::names(database.id);
            if !self.store.range(&names).await?.items.is_empty() {
                return Err(Failure::invalid(format!(
                    "database:{name} not empty, must drop all collections before drop database"
                )));
            }
            let txn = Txn::new()
                .expect_read(&key, Some(&version))
                .expect(names, Expect::PrefixAbsent)
                .delete(&key);
            if self.commit(txn).await? {
                return Ok(true);
            }
        }
        Err(contended(&format!("database {name}")))
    }
}
