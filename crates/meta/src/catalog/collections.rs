//! DDL of collections: create, update, rename, and the two phases of a drop.

use std::sync::Arc;

use holdfast_types::{
    Code, CollectionId, Failure, FieldId, PartitionId, Timestamp, schema::FIRST_USER_FIELD,
};

use super::{ATTEMPTS_MAX, Catalog, collection_not_found, contended, put};
use crate::{
    CollectionMeta, CollectionState, DatabaseMeta, Expect, NameOf, NewCollection, PartitionMeta,
    Txn, Versioned, check_name, codec::NameEntry, keys,
};

/// A collection as it was found by its name, with the versions of both keys.
struct Found {
    database: DatabaseMeta,
    name: Versioned,
    meta: CollectionMeta,
    version: Versioned,
}

/// What a name turned out to be.
enum Lookup {
    Absent,
    Alias,
    Collection(Box<Found>),
    /// The keys were changed between two reads: look again.
    Moved,
}

impl Catalog {
    /// Creates a collection; one that exists already with the same parameters is returned as it is.
    ///
    /// # Errors
    /// `DatabaseNotFound`; `AliasNameConflict` when the name is an alias; `InvalidArgument` for bad names
    /// and for a collection of this name with different parameters; the store's.
    pub async fn create_collection(
        &self,
        database: &str,
        new: &NewCollection,
        now: Timestamp,
    ) -> Result<Arc<CollectionMeta>, Failure> {
        check_name(NameOf::Collection, &new.name)?;
        for partition in &new.partitions {
            check_name(NameOf::Partition, partition)?;
        }
        let _ddl = self.ddl.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            match self.look_up(database, &new.name).await? {
                Lookup::Moved => {}
                Lookup::Alias => {
                    return Err(Failure::new(
                        Code::AliasNameConflict,
                        format!(
                            "collection name [{}] conflicts with an existing alias, please choose a unique name",
                            new.name
                        ),
                    ));
                }
                Lookup::Collection(found) if is_same(&found.meta, new) => {
                    return Ok(Arc::new(found.meta));
                }
                Lookup::Collection(_) => {
                    return Err(Failure::invalid(format!(
                        "create duplicate collection with different parameters, collection: {}",
                        new.name
                    )));
                }
                Lookup::Absent => {
                    if let Some(meta) = self.try_create(database, new, now).await? {
                        return Ok(Arc::new(meta));
                    }
                }
            }
        }
        Err(contended(&format!("collection {}", new.name)))
    }

    async fn try_create(
        &self,
        database: &str,
        new: &NewCollection,
        now: Timestamp,
    ) -> Result<Option<CollectionMeta>, Failure> {
        let (database, database_version) = self.read_database(database).await?;
        let partitions = u32::try_from(new.partitions.len())
            .map_err(|_| Failure::invalid("too many partitions"))?;
        let first = self.allocate_ids(partitions.saturating_add(1)).await?;
        let NewCollection {
            name,
            schema,
            shards,
            consistency,
            properties,
            num_partitions,
            partitions,
        } = new.clone();
        let partition = |(id, name)| PartitionMeta {
            id: PartitionId(id),
            name,
            created: now,
        };
        let last_field = schema.fields.iter().map(|f| f.id.0).max();
        let meta = CollectionMeta {
            id: CollectionId(first),
            database: database.id,
            aliases: Vec::new(),
            shards,
            consistency,
            properties,
            num_partitions,
            partitions: (first + 1..).zip(partitions).map(partition).collect(),
            indexes: Vec::new(),
            load: None,
            created: now,
            updated: now,
            next_field_id: last_field
                .map_or(FIRST_USER_FIELD, |last| FieldId(last.saturating_add(1)))
                .max(FIRST_USER_FIELD),
            state: CollectionState::Active,
            truncated: Timestamp::ZERO,
            name,
            schema,
        };
        let name_key = keys::name(database.id, &meta.name);
        let key = keys::collection(meta.id);
        let txn = Txn::new()
            .expect_read(keys::database(&database.name), Some(&database_version))
            .expect(&name_key, Expect::Absent)
            .expect(&key, Expect::Absent);
        let txn = put(txn, &name_key, &own_name(meta.id))?;
        let txn = put(txn, &key, &meta)?;
        Ok(self.commit(txn).await?.then_some(meta))
    }

    /// Replaces a collection by what `f` makes of it, as read from the store; `f` is called again when
    /// somebody else was faster. With `stamp` the `updated` stamp rises (to `stamp`, or past its old value
    /// if that is later): clients then read the schema anew. Returning the collection unchanged writes
    /// nothing.
    ///
    /// # Errors
    /// `CollectionNotFound`, also while it is being dropped; what `f` returns; the store's.
    ///
    /// # Panics
    /// If `f` changes the id, database, name, aliases or state: those have calls of their own.
    pub async fn update_collection(
        &self,
        id: CollectionId,
        stamp: Option<Timestamp>,
        f: impl Fn(&CollectionMeta) -> Result<CollectionMeta, Failure> + Send + Sync,
    ) -> Result<Arc<CollectionMeta>, Failure> {
        let key = keys::collection(id);
        let _ddl = self.ddl.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let found = self.read::<CollectionMeta>(&key).await?;
            let Some((old, version)) =
                found.filter(|(meta, _)| meta.state == CollectionState::Active)
            else {
                return Err(Failure::new(
                    Code::CollectionNotFound,
                    format!("collection not found[collection={id}]"),
                ));
            };
            let mut new = f(&old)?;
            assert!(
                identity(&new) == identity(&old),
                "an update changed the identity of collection {id}"
            );
            if new == old {
                return Ok(Arc::new(old));
            }
            new.updated = bumped(old.updated, stamp);
            let txn = Txn::new().expect_read(&key, Some(&version));
            if self.commit(put(txn, &key, &new)?).await? {
                return Ok(Arc::new(new));
            }
        }
        Err(contended(&format!("collection {id}")))
    }

    /// Gives a collection another name, and with it another database if `to_database` says so.
    ///
    /// # Errors
    /// `DatabaseNotFound`, `CollectionNotFound`; `InvalidArgument` for a bad or taken new name, for an
    /// alias as old name, and for a change of database while the collection has aliases; the store's.
    pub async fn rename_collection(
        &self,
        database: &str,
        name: &str,
        to_database: &str,
        to_name: &str,
        now: Timestamp,
    ) -> Result<Arc<CollectionMeta>, Failure> {
        check_name(NameOf::Collection, to_name)?;
        if (database, name) == (to_database, to_name) {
            return Err(Failure::invalid(
                "collection name or database name should be different",
            ));
        }
        let _ddl = self.ddl.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let found = match self.look_up(database, name).await? {
                Lookup::Moved => continue,
                Lookup::Absent => return Err(collection_not_found(database, name)),
                Lookup::Alias => {
                    return Err(Failure::invalid(format!(
                        "unsupported use an alias to rename collection, alias:{name}"
                    )));
                }
                Lookup::Collection(found) => *found,
            };
            let (target, target_version) = self.read_database(to_database).await?;
            if target.id != found.database.id && !found.meta.aliases.is_empty() {
                return Err(Failure::invalid(format!(
                    "fail to rename collection to different database, must drop all aliases of collection {name} before rename"
                )));
            }
            if self.read_name(&target, to_name).await?.is_some() {
                return Err(Failure::invalid(format!(
                    "duplicated new collection name {to_name} in database {to_database} with other collection name or alias"
                )));
            }
            let mut meta = found.meta;
            meta.database = target.id;
            to_name.clone_into(&mut meta.name);
            meta.updated = bumped(meta.updated, Some(now));
            let new_name = keys::name(target.id, to_name);
            let key = keys::collection(meta.id);
            let txn = Txn::new()
                .expect_read(keys::database(to_database), Some(&target_version))
                .expect_read(&found.name.key, Some(&found.name))
                .expect_read(&key, Some(&found.version))
                .expect(&new_name, Expect::Absent)
                .delete(&found.name.key);
            let txn = put(txn, &new_name, &own_name(meta.id))?;
            if self.commit(put(txn, &key, &meta)?).await? {
                return Ok(Arc::new(meta));
            }
        }
        Err(contended(&format!("collection {name}")))
    }

    /// The first phase of a drop: the collection loses its name and is gone for its users; what must be
    /// cleaned up is returned. `None` when there is no such collection.
    ///
    /// It stays in [`crate::CatalogSnapshot::list_dropping`], through restarts, until
    /// [`Self::finish_drop_collection`].
    ///
    /// # Errors
    /// `DatabaseNotFound`; `InvalidArgument` for an alias, and while the collection has aliases; the
    /// store's.
    pub async fn begin_drop_collection(
        &self,
        database: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<CollectionMeta>>, Failure> {
        let _ddl = self.ddl.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let found = match self.look_up(database, name).await? {
                Lookup::Moved => continue,
                Lookup::Absent => return Ok(None),
                Lookup::Alias => {
                    return Err(Failure::invalid(format!(
                        "cannot drop the collection via alias = {name}"
                    )));
                }
                Lookup::Collection(found) => *found,
            };
            let mut meta = found.meta;
            if !meta.aliases.is_empty() {
                return Err(Failure::invalid(format!(
                    "unable to drop the collection [{name}] because it has associated aliases [{}], please remove all aliases before dropping the collection",
                    meta.aliases.join(" ")
                )));
            }
            meta.state = CollectionState::Dropping;
            meta.load = None;
            meta.updated = bumped(meta.updated, Some(now));
            let key = keys::collection(meta.id);
            let txn = Txn::new()
                .expect_read(&found.name.key, Some(&found.name))
                .expect_read(&key, Some(&found.version))
                .delete(&found.name.key);
            if self.commit(put(txn, &key, &meta)?).await? {
                return Ok(Some(Arc::new(meta)));
            }
        }
        Err(contended(&format!("collection {name}")))
    }

    /// The second phase of a drop, once the data is gone: forgets the collection. Forgetting it again is
    /// success.
    ///
    /// # Errors
    /// `Internal` when the first phase was skipped; the store's.
    pub async fn finish_drop_collection(&self, id: CollectionId) -> Result<(), Failure> {
        let key = keys::collection(id);
        let _ddl = self.ddl.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let Some((meta, version)) = self.read::<CollectionMeta>(&key).await? else {
                return Ok(());
            };
            if meta.state != CollectionState::Dropping {
                return Err(Failure::internal(format!(
                    "collection {id} is in use, its drop has not begun"
                )));
            }
            let txn = Txn::new().expect_read(&key, Some(&version)).delete(&key);
            if self.commit(txn).await? {
                return Ok(());
            }
        }
        Err(contended(&format!("collection {id}")))
    }

    /// What a name is now, in the store.
    async fn look_up(&self, database: &str, name: &str) -> Result<Lookup, Failure> {
        let (database, _) = self.read_database(database).await?;
        let Some((entry, name)) = self.read_name(&database, name).await? else {
            return Ok(Lookup::Absent);
        };
        if entry.is_alias {
            return Ok(Lookup::Alias);
        }
        let key = keys::collection(entry.collection);
        Ok(match self.read(&key).await? {
            Some((meta, version)) => Lookup::Collection(Box::new(Found {
                database,
                name,
                meta,
                version,
            })),
            None => Lookup::Moved,
        })
    }
}

/// The entry of a collection's own name.
fn own_name(collection: CollectionId) -> NameEntry {
    NameEntry {
        collection,
        is_alias: false,
    }
}

/// What an update may not touch.
fn identity(
    meta: &CollectionMeta,
) -> (
    CollectionId,
    holdfast_types::DatabaseId,
    &str,
    &[String],
    CollectionState,
) {
    (
        meta.id,
        meta.database,
        &meta.name,
        &meta.aliases,
        meta.state,
    )
}

fn bumped(old: Timestamp, stamp: Option<Timestamp>) -> Timestamp {
    stamp.map_or(old, |stamp| stamp.max(old.next()))
}

/// Whether creating `new` would make what exists.
fn is_same(existing: &CollectionMeta, new: &NewCollection) -> bool {
    let NewCollection {
        name,
        schema,
        shards,
        consistency,
        properties,
        num_partitions,
        // Partitions come and go.
        partitions: _,
    } = new;
    existing.name == *name
        && existing.schema == *schema
        && existing.shards.len() == shards.len()
        && existing.consistency == *consistency
        && existing.properties == *properties
        && existing.num_partitions == *num_partitions
}
