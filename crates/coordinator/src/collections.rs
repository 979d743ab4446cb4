//! DDL of databases and collections, and the two phases of a drop.

use std::sync::Arc;

use holdfast_meta::{CollectionMeta, NewCollection};
use holdfast_node_api::coordinator::{AlterParams, CollectionName, CreateCollection, Params};
use holdfast_types::{
    ChannelId, Code, Failure,
    limits::{MAX_PARTITIONS, MAX_SHARDS},
};

use crate::{CoordinatorService, properties};

/// Partitions of a collection with a partition key when the client names no number.
const KEY_PARTITIONS_DEFAULT: u32 = 16;
/// The partition of rows that name none.
pub(crate) const DEFAULT_PARTITION: &str = "_default";

impl CoordinatorService {
    pub(crate) async fn add_database(&self, name: &str, settings: Params) -> Result<(), Failure> {
        let now = self.hlc.next();
        let created = self.parts.catalog.create_database(name, settings, now);
        created.await.map(drop)
    }

    pub(crate) async fn change_database(
        &self,
        name: &str,
        change: &AlterParams,
    ) -> Result<(), Failure> {
        let changed = self.parts.catalog.alter_database(name, |old| {
            let mut new = old.to_vec();
            alter(&mut new, change);
            Ok(new)
        });
        changed.await.map(drop)
    }

    pub(crate) async fn add_collection(&self, create: CreateCollection) -> Result<(), Failure> {
        let CreateCollection {
            name:
                CollectionName {
                    database,
                    collection,
                },
            schema,
            shards,
            consistency,
            properties,
            key_partitions,
        } = create;
        if shards > MAX_SHARDS {
            return Err(Failure::invalid(format!(
                "maximum shards's number should be limited to {MAX_SHARDS}"
            )));
        }
        for (key, value) in &properties {
            properties::check(key, value)?;
        }
        let (num_partitions, partitions) = match (schema.partition_key(), key_partitions) {
            (None, None | Some(0)) => (0, vec![DEFAULT_PARTITION.to_owned()]),
            (None, Some(_)) => {
                return Err(Failure::invalid(
                    "num_partitions should only be specified with partition key field enabled",
                ));
            }
            (Some(_), asked) => {
                let count = asked.filter(|&n| n > 0).unwrap_or(KEY_PARTITIONS_DEFAULT);
                if count as usize > MAX_PARTITIONS {
                    return Err(Failure::invalid(format!(
                        "partition number ({count}) exceeds max configuration ({MAX_PARTITIONS})"
                    )));
                }
                let names = (0..count).map(|i| format!("{DEFAULT_PARTITION}_{i}"));
                (count, names.collect())
            }
        };
        let new = NewCollection {
            shards: self.spread(shards.max(1)),
            name: collection,
            schema: Arc::new(schema),
            consistency,
            properties: properties.into_iter().collect(),
            num_partitions,
            partitions,
        };
        let now = self.hlc.next();
        let created = self.parts.catalog.create_collection(&database, &new, now);
        let meta = created.await?;
        tracing::info!(collection = %meta.id, name = meta.name, shards = meta.shards.len(), "collection created");
        Ok(())
    }

    /// Channels for a new collection's shards: those with the fewest shards first.
    fn spread(&self, shards: u32) -> Vec<ChannelId> {
        let snapshot = self.parts.catalog.snapshot();
        let mut load: Vec<(usize, ChannelId)> = self
            .parts
            .channels
            .iter()
            .map(|&channel| (0, channel))
            .collect();
        for used in snapshot.collections().flat_map(|c| &c.shards) {
            if let Some((count, _)) = load.iter_mut().find(|(_, channel)| channel == used) {
                *count += 1;
            }
        }
        load.sort_unstable();
        let channels = load.iter().map(|(_, channel)| *channel).cycle();
        channels.take(shards as usize).collect()
    }

    pub(crate) async fn change_collection(
        &self,
        name: &CollectionName,
        change: &AlterParams,
    ) -> Result<(), Failure> {
        let mut consistency = None;
        let mut description = None;
        let mut kept = AlterParams {
            set: Vec::new(),
            remove: change.remove.clone(),
        };
        for (key, value) in &change.set {
            match key.as_str() {
                properties::CONSISTENCY => consistency = Some(properties::consistency(value)?),
                properties::DESCRIPTION => description = Some(value.clone()),
                _ => {
                    properties::check(key, value)?;
                    kept.set.push((key.clone(), value.clone()));
                }
            }
        }
        let id = self.resolve(name)?.id;
        let stamp = Some(self.hlc.next());
        let changed = self.parts.catalog.update_collection(id, stamp, |old| {
            let mut new = old.clone();
            for key in &kept.remove {
                new.properties.remove(key);
            }
            new.properties.extend(kept.set.iter().cloned());
            new.consistency = consistency.unwrap_or(old.consistency);
            if let Some(description) = &description {
                let schema = Arc::make_mut(&mut new.schema);
                schema.description.clone_from(description);
            }
            Ok(new)
        });
        changed.await.map_err(|e| named(e, name))?;
        // A shorter time to live makes work.
        self.merge_work.notify_one();
        Ok(())
    }

    pub(crate) async fn remove_collection(&self, name: &CollectionName) -> Result<(), Failure> {
        let now = self.hlc.next();
        let catalog = &self.parts.catalog;
        let begun = catalog
            .begin_drop_collection(&name.database, &name.collection, now)
            .await?;
        if let Some(meta) = begun {
            tracing::info!(collection = %meta.id, name = meta.name, "collection dropped");
            if let Err(failure) = self.clean_up(&meta).await {
                // For its users it is gone; the rest is done again until it succeeds.
                tracing::warn!(collection = %meta.id, error = %failure, "a dropped collection is not cleaned up yet");
                self.left_over.notify_one();
            }
        }
        Ok(())
    }

    /// The second phase of a drop. Every step may be done again.
    pub(crate) async fn clean_up(&self, meta: &CollectionMeta) -> Result<(), Failure> {
        let _one = self.cleaning.lock().await;
        {
            let _loads = self.loads.lock().await;
            self.parts.queries.release(meta.id).await?;
        }
        self.parts.streams.drop_collection(meta.id).await?;
        let manifests = &self.parts.manifests;
        let deleted = manifests.delete_all(meta.id).await;
        deleted?;
        self.parts.catalog.finish_drop_collection(meta.id).await
    }

    pub(crate) async fn empty_collection(&self, name: &CollectionName) -> Result<(), Failure> {
        let id = self.resolve(name)?.id;
        let truncated = self.parts.streams.truncate(id).await?;
        self.hlc.observe(truncated);
        let changed = self.parts.catalog.update_collection(id, None, |old| {
            let mut new = old.clone();
            new.truncated = old.truncated.max(truncated);
            Ok(new)
        });
        changed.await.map_err(|e| named(e, name))?;
        self.announce_segments();
        Ok(())
    }
}

/// Sets and removes keys, in place where they are.
pub(crate) fn alter(params: &mut Params, change: &AlterParams) {
    params.retain(|(key, _)| !change.remove.contains(key));
    for (key, value) in &change.set {
        match params.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => old.clone_from(value),
            None => params.push((key.clone(), value.clone())),
        }
    }
}

/// A collection that went away under a call, in the words the client used.
pub(crate) fn named(failure: Failure, name: &CollectionName) -> Failure {
    if failure.code != Code::CollectionNotFound {
        return failure;
    }
    Failure::new(
        Code::CollectionNotFound,
        format!(
            "collection not found[database={}][collection={}]",
            name.database, name.collection
        ),
    )
}
