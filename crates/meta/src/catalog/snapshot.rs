//! The catalog at one revision: lookups by name, alias and id.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use holdfast_types::{CollectionId, DatabaseId, Failure};

use super::{alias_not_found, buckets::Buckets, collection_not_found, database_not_found};
use crate::{
    AliasMeta, Changes, CollectionMeta, CollectionState, DatabaseMeta, MetaError, Range, codec,
    keys,
};

/// Everything the catalog knew at one revision of the store. Never changes.
#[derive(Clone, Debug)]
pub struct CatalogSnapshot {
    revision: u64,
    databases: Arc<BTreeMap<String, Arc<DatabaseMeta>>>,
    collections: Buckets<CollectionId, Arc<CollectionMeta>>,
    /// Names and aliases of active collections.
    names: HashMap<DatabaseId, Arc<Buckets<String, Named>>>,
}

#[derive(Clone, Copy, Debug)]
struct Named {
    collection: CollectionId,
    is_alias: bool,
}

impl CatalogSnapshot {
    /// The store's revision of the last catalog change that is in here.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// All databases, ascending by name.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<DatabaseMeta>> {
        self.databases.values()
    }

    /// The database of this name.
    ///
    /// # Errors
    /// `DatabaseNotFound`.
    pub fn database(&self, name: &str) -> Result<&Arc<DatabaseMeta>, Failure> {
        self.databases
            .get(name)
            .ok_or_else(|| database_not_found(name))
    }

    /// The database of this id. Looks at all databases.
    #[must_use]
    pub fn database_by_id(&self, id: DatabaseId) -> Option<&Arc<DatabaseMeta>> {
        self.databases.values().find(|d| d.id == id)
    }

    /// The active collection of this name or alias.
    ///
    /// # Errors
    /// `DatabaseNotFound`, `CollectionNotFound`.
    pub fn resolve(&self, database: &str, name: &str) -> Result<&Arc<CollectionMeta>, Failure> {
        let id = self.database(database)?.id;
        self.find(id, name)
            .ok_or_else(|| collection_not_found(database, name))
    }

    /// The active collection of this name or alias in a database known by id.
    #[must_use]
    pub fn find(&self, database: DatabaseId, name: &str) -> Option<&Arc<CollectionMeta>> {
        self.collection(self.named(database, name)?.collection)
    }

    /// The active collection of this id.
    #[must_use]
    pub fn collection(&self, id: CollectionId) -> Option<&Arc<CollectionMeta>> {
        self.collections
            .get(&id)
            .filter(|c| c.state == CollectionState::Active)
    }

    /// The collection of this id, one that is being dropped included.
    #[must_use]
    pub fn collection_in_any_state(&self, id: CollectionId) -> Option<&Arc<CollectionMeta>> {
        self.collections.get(&id)
    }

    /// All active collections of all databases, in no order.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<CollectionMeta>> {
        self.in_state(CollectionState::Active)
    }

    /// The active collections of a database, ascending by name.
    ///
    /// # Errors
    /// `DatabaseNotFound`.
    pub fn collections_of(&self, database: &str) -> Result<Vec<Arc<CollectionMeta>>, Failure> {
        let mut found: Vec<Arc<CollectionMeta>> = self
            .names_of(database)?
            .filter(|(_, named)| !named.is_alias)
            .filter_map(|(_, named)| self.collection(named.collection))
            .cloned()
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Collections whose drop has begun and whose data is still to be removed, ascending by id.
    #[must_use]
    pub fn list_dropping(&self) -> Vec<Arc<CollectionMeta>> {
        let mut found: Vec<_> = self.in_state(CollectionState::Dropping).cloned().collect();
        found.sort_by_key(|c| c.id);
        found
    }

    /// What an alias stands for.
    ///
    /// # Errors
    /// `DatabaseNotFound`; `AliasNotFound`, also for the name of a collection.
    pub fn alias(&self, database: &str, alias: &str) -> Result<AliasMeta, Failure> {
        let id = self.database(database)?.id;
        self.named(id, alias)
            .filter(|named| named.is_alias)
            .and_then(|named| self.alias_of(id, alias, named))
            .ok_or_else(|| alias_not_found(database, alias))
    }

    /// All aliases of a database, ascending. Those of one collection are in [`CollectionMeta::aliases`].
    ///
    /// # Errors
    /// `DatabaseNotFound`.
    pub fn aliases_of(&self, database: &str) -> Result<Vec<AliasMeta>, Failure> {
        let id = self.database(database)?.id;
        let mut found: Vec<AliasMeta> = self
            .names_of(database)?
            .filter(|(_, named)| named.is_alias)
            .filter_map(|(alias, named)| self.alias_of(id, alias, named))
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Number of collections in any state.
    #[must_use]
    pub fn collections_count(&self) -> usize {
        self.collections.len()
    }

    /// The snapshot of a listing of [`keys::CATALOG`].
    pub(super) fn load(range: &Range) -> Result<Self, MetaError> {
        let mut snapshot = Self {
            revision: range.revision,
            databases: Arc::default(),
            collections: Buckets::new(),
            names: HashMap::new(),
        };
        let entries = range.items.iter().map(|v| (&*v.key, Some(&v.value)));
        snapshot.change(entries)?;
        Ok(snapshot)
    }

    /// The snapshot after one more transaction.
    pub(super) fn after(&self, changes: &Changes) -> Result<Self, MetaError> {
        let mut next = self.clone();
        next.revision = changes.revision;
        next.change(changes.events.iter().map(|e| (&*e.key, e.value.as_ref())))?;
        Ok(next)
    }

    fn change<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a str, Option<&'a bytes::Bytes>)>,
    ) -> Result<(), MetaError> {
        let mut arrived = Vec::new();
        for (key, value) in entries {
            if let Some(name) = key.strip_prefix(keys::DATABASES) {
                let databases = Arc::make_mut(&mut self.databases);
                match value {
                    Some(value) => {
                        databases.insert(name.to_owned(), Arc::new(codec::decode(key, value)?));
                    }
                    None => {
                        databases.remove(name);
                    }
                }
            } else if let Some(id) = keys::collection_id(key) {
                self.forget(id);
                if let Some(value) = value {
                    let meta: CollectionMeta = codec::decode(key, value)?;
                    if meta.id != id {
                        return Err(MetaError::damaged(key, format!("holds id {}", meta.id)));
                    }
                    arrived.push(Arc::new(meta));
                }
            } else {
                return Err(MetaError::damaged(key, "not a key of the catalog"));
            }
        }
        // Names are given after all have been taken away: one transaction may hand a name from one
        // collection to another.
        for meta in arrived {
            self.learn(&meta);
        }
        Ok(())
    }

    fn forget(&mut self, id: CollectionId) {
        let Some(old) = self.collections.get(&id).cloned() else {
            return;
        };
        self.collections.remove(&id);
        if old.state == CollectionState::Dropping {
            return;
        }
        if let Some(names) = self.names.get_mut(&old.database) {
            let names = Arc::make_mut(names);
            for name in old.aliases.iter().chain([&old.name]) {
                names.remove(name);
            }
            if names.len() == 0 {
                self.names.remove(&old.database);
            }
        }
    }

    fn learn(&mut self, meta: &Arc<CollectionMeta>) {
        self.collections.insert(meta.id, Arc::clone(meta));
        if meta.state == CollectionState::Dropping {
            return;
        }
        let names = self
            .names
            .entry(meta.database)
            .or_insert_with(|| Arc::new(Buckets::new()));
        let names = Arc::make_mut(names);
        let named = |is_alias| Named {
            collection: meta.id,
            is_alias,
        };
        names.insert(meta.name.clone(), named(false));
        for alias in &meta.aliases {
            names.insert(alias.clone(), named(true));
        }
    }

    fn named(&self, database: DatabaseId, name: &str) -> Option<Named> {
        self.names.get(&database)?.get(name).copied()
    }

    fn names_of(&self, database: &str) -> Result<impl Iterator<Item = (&String, Named)>, Failure> {
        let names = self.names.get(&self.database(database)?.id);
        Ok(names
            .into_iter()
            .flat_map(|names| names.iter())
            .map(|(name, named)| (name, *named)))
    }

    fn in_state(&self, state: CollectionState) -> impl Iterator<Item = &Arc<CollectionMeta>> {
        self.collections
            .iter()
            .map(|(_, meta)| meta)
            .filter(move |meta| meta.state == state)
    }

    fn alias_of(&self, database: DatabaseId, alias: &str, named: Named) -> Option<AliasMeta> {
        let collection = self.collection(named.collection)?;
        Some(AliasMeta {
            database,
            name: alias.to_owned(),
            collection: collection.id,
            collection_name: collection.name.clone(),
        })
    }
}
