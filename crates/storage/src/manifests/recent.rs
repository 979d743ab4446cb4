//! Manifests read or written lately, within a byte budget.

use std::{collections::HashMap, sync::Arc};

use holdfast_types::{CollectionId, ManifestVersion, ShardId};

use crate::{Manifest, ObjectPath};

/// Encoded bytes of all manifests kept; decoded they take a small multiple.
const BYTES_MAX: u64 = 32 << 20;

/// Manifests never change and paths are never used twice, so nothing here is ever out of date.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: HashMap<ObjectPath, Entry>,
    committed: HashMap<(ShardId, ManifestVersion), ObjectPath>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    manifest: Arc<Manifest>,
    bytes: u64,
    last_use: u64,
}

impl Recent {
    pub(super) fn get(&mut self, path: &ObjectPath) -> Option<Arc<Manifest>> {
        self.uses += 1;
        let entry = self.entries.get_mut(path)?;
        entry.last_use = self.uses;
        Some(Arc::clone(&entry.manifest))
    }

    /// A version, if it is known. Only manifests that a pointer or a later manifest named get here, so
    /// there is one of each version.
    pub(super) fn version(
        &mut self,
        shard: ShardId,
        version: ManifestVersion,
    ) -> Option<Arc<Manifest>> {
        let path = self.committed.get(&(shard, version))?.clone();
        self.get(&path)
    }

    pub(super) fn insert(&mut self, path: ObjectPath, bytes: u64, manifest: Arc<Manifest>) {
        self.remove(&path);
        self.uses += 1;
        self.bytes += bytes;
        self.committed
            .insert((manifest.shard, manifest.version), path.clone());
        self.entries.insert(
            path,
            Entry {
                manifest,
                bytes,
                last_use: self.uses,
            },
        );
        // The newest stays even when it alone is over the budget: it is in use.
        while self.bytes > BYTES_MAX && self.entries.len() > 1 {
            let oldest = self.entries.iter().min_by_key(|(_, e)| e.last_use);
            let Some(path) = oldest.map(|(path, _)| path.clone()) else {
                break;
            };
            self.remove(&path);
        }
    }

    pub(super) fn forget_all(&mut self, collection: CollectionId) {
        let of = |p: &&ObjectPath| p.name().collection() == collection;
        let paths: Vec<_> = self.entries.keys().filter(of).cloned().collect();
        for path in paths {
            self.remove(&path);
        }
    }

    pub(super) fn remove(&mut self, path: &ObjectPath) {
        if let Some(Entry {
            manifest, bytes, ..
        }) = self.entries.remove(path)
        {
            self.bytes -= bytes;
            self.committed.remove(&(manifest.shard, manifest.version));
        }
    }
}
