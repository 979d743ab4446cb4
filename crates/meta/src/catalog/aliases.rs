//! DDL of aliases. An alias is a key in the name space of its database and an entry in its collection,
//! both changed in one transaction: so names are unique, and a drop of the collection sees its aliases.

use holdfast_types::{Code, CollectionId, Failure};

use super::{ATTEMPTS_MAX, Catalog, alias_not_found, collection_not_found, contended, put};
use crate::{
    CollectionMeta, DatabaseMeta, NameOf, Txn, Versioned, check_name, codec::NameEntry, keys,
};

impl Catalog {
    /// Gives a collection one more name. Doing so again is success.
    ///
    /// # Errors
    /// `DatabaseNotFound`, `CollectionNotFound`; `AliasNameConflict` when a collection has that name;
    /// `AliasExists` when it belongs to another collection; `InvalidArgument` for a bad name; the store's.
    pub async fn create_alias(
        &self,
        database: &str,
        alias: &str,
        collection: &str,
    ) -> Result<(), Failure> {
        check_name(NameOf::Alias, alias)?;
        let _ddl = self.ddl.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let (db, _) = self.read_database(database).await?;
            let (target, name) = self.alias_target(&db, collection).await?;
            let Some((mut meta, version)) = self.read_aliased(target).await? else {
                continue;
            };
            match self.read_name(&db, alias).await? {
                Some((entry, _)) if !entry.is_alias => {
                    return Err(alias_name_conflict(database, alias));
                }
                Some((entry, _)) if entry.collection == target => return Ok(()),
                Some((entry, _)) => {
                    let Some((other, _)) = self.read_aliased(entry.collection).await? else {
                        continue;
                    };
                    return Err(Failure::new(
                        Code::AliasExists,
                        format!(
                            "{alias} is alias to another collection: {}: alias already exist[database={database}][alias={alias}]",
                            other.name
                        ),
                    ));
                }
                None => {}
            }
            let key = keys::name(db.id, alias);
            add(&mut meta, alias);
            let txn = Txn::new()
                .expect_read(&key, None)
                .expect_read(&name.key, Some(&name))
                .expect_read(&version.key, Some(&version));
            let txn = put(txn, &key, &alias_of(target))?;
            if self.commit(put(txn, &version.key, &meta)?).await? {
                return Ok(());
            }
        }
        Err(contended(&format!("alias {alias}")))
    }

    /// Moves an alias to another collection.
    ///
    /// # Errors
    /// `DatabaseNotFound`, `CollectionNotFound`, `AliasNotFound`; `AliasNameConflict` when it is the name
    /// of a collection; the store's.
    pub async fn alter_alias(
        &self,
        database: &str,
        alias: &str,
        collection: &str,
    ) -> Result<(), Failure> {
        check_name(NameOf::Alias, alias)?;
        let _ddl = self.ddl.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let (db, _) = self.read_database(database).await?;
            let (target, name) = self.alias_target(&db, collection).await?;
            let (entry, alias_version) = match self.read_name(&db, alias).await? {
                None => return Err(alias_not_found(database, alias)),
                Some((entry, _)) if !entry.is_alias => {
                    return Err(alias_name_conflict(database, alias));
                }
                Some((entry, _)) if entry.collection == target => return Ok(()),
                Some(found) => found,
            };
            let (Some((mut from, from_version)), Some((mut to, to_version))) = (
                self.read_aliased(entry.collection).await?,
                self.read_aliased(target).await?,
            ) else {
                continue;
            };
            from.aliases.retain(|a| a != alias);
            add(&mut to, alias);
            let key = keys::name(db.id, alias);
            let txn = Txn::new()
                .expect_read(&key, Some(&alias_version))
                .expect_read(&name.key, Some(&name))
                .expect_read(&from_version.key, Some(&from_version))
                .expect_read(&to_version.key, Some(&to_version));
            let txn = put(txn, &key, &alias_of(target))?;
            let txn = put(txn, &from_version.key, &from)?;
            if self.commit(put(txn, &to_version.key, &to)?).await? {
                return Ok(());
            }
        }
        Err(contended(&format!("alias {alias}")))
    }

    /// Drops an alias. One that does not exist is dropped already.
    ///
    /// # Errors
    /// `DatabaseNotFound`; `AliasNotFound` when it is the name of a collection; the store's.
    pub async fn drop_alias(&self, database: &str, alias: &str) -> Result<(), Failure> {
        let _ddl = self.ddl.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let (db, _) = self.read_database(database).await?;
            let Some((entry, alias_version)) = self.read_name(&db, alias).await? else {
                return Ok(());
            };
            if !entry.is_alias {
                return Err(alias_not_found(database, alias));
            }
            let Some((mut meta, version)) = self.read_aliased(entry.collection).await? else {
                continue;
            };
            meta.aliases.retain(|a| a != alias);
            let txn = Txn::new()
                .expect_read(&alias_version.key, Some(&alias_version))
                .expect_read(&version.key, Some(&version))
                .delete(&alias_version.key);
            if self.commit(put(txn, &version.key, &meta)?).await? {
                return Ok(());
            }
        }
        Err(contended(&format!("alias {alias}")))
    }

    /// The collection that an alias is to stand for; an alias of an alias is not made.
    async fn alias_target(
        &self,
        database: &DatabaseMeta,
        collection: &str,
    ) -> Result<(CollectionId, Versioned), Failure> {
        match self.read_name(database, collection).await? {
            Some((entry, version)) if !entry.is_alias => Ok((entry.collection, version)),
            Some(_) | None => Err(collection_not_found(&database.name, collection)),
        }
    }

    async fn read_aliased(
        &self,
        id: CollectionId,
    ) -> Result<Option<(CollectionMeta, Versioned)>, Failure> {
        Ok(self.read(&keys::collection(id)).await?)
    }
}

fn add(meta: &mut CollectionMeta, alias: &str) {
    meta.aliases.push(alias.to_owned());
    meta.aliases.sort();
}

fn alias_of(collection: CollectionId) -> NameEntry {
    NameEntry {
        collection,
        is_alias: true,
    }
}

fn alias_name_conflict(database: &str, alias: &str) -> Failure {
    Failure::new(
        Code::AliasNameConflict,
        format!("alias and collection name conflict[database={database}][alias={alias}]"),
    )
}
