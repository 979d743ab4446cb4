//! DDL of partitions.

use holdfast_meta::{CollectionMeta, NameOf, PartitionMeta, check_name};
use holdfast_node_api::coordinator::CollectionName;
use holdfast_types::{Code, Failure, PartitionId, limits::MAX_PARTITIONS};

use crate::{
    CoordinatorService,
    collections::{DEFAULT_PARTITION, named},
};

impl CoordinatorService {
    pub(crate) async fn add_partition(
        &self,
        name: &CollectionName,
        partition: &str,
    ) -> Result<(), Failure> {
        check_name(NameOf::Partition, partition)?;
        let meta = self.resolve(name)?;
        refuse_key_mode(&meta, "create partition")?;
        if meta.partition(partition).is_some() {
            return Ok(());
        }
        let id = PartitionId(self.parts.catalog.allocate_ids(1).await?);
        let created = self.hlc.next();
        let changed = self.parts.catalog.update_collection(meta.id, None, |old| {
            let mut new = old.clone();
            if old.partition(partition).is_some() {
                return Ok(new);
            }
            let count = old.partitions.len();
            if count >= MAX_PARTITIONS {
                return Err(Failure::invalid(format!(
                    "partition number ({count}) exceeds max configuration ({MAX_PARTITIONS}), collection: {}",
                    old.name
                )));
            }
            new.partitions.push(PartitionMeta {
                id,
                name: partition.to_owned(),
                created,
            });
            Ok(new)
        });
        changed.await.map(drop).map_err(|e| named(e, name))
    }

    pub(crate) async fn remove_partition(
        &self,
        name: &CollectionName,
        partition: &str,
    ) -> Result<(), Failure> {
        check_name(NameOf::Partition, partition)?;
        let meta = self.resolve(name)?;
        refuse_key_mode(&meta, "drop partition")?;
        if partition == DEFAULT_PARTITION {
            return Err(Failure::invalid("default partition cannot be deleted"));
        }
        let Some(found) = meta.partition(partition) else {
            return Ok(());
        };
        let (collection, id) = (meta.id, found.id);
        let changed = self
            .parts
            .catalog
            .update_collection(collection, None, |old| {
                let is_loaded = old
                    .load
                    .as_ref()
                    .is_some_and(|l| l.partitions.is_empty() || l.partitions.contains(&id));
                if is_loaded && old.partition_by_id(id).is_some() {
                    return Err(Failure::invalid(
                        "partition cannot be dropped, partition is loaded, please release it first",
                    ));
                }
                let mut new = old.clone();
                new.partitions.retain(|p| p.id != id);
                Ok(new)
            });
        changed.await.map_err(|e| named(e, name))?;
        if let Err(failure) = self.parts.streams.drop_partition(collection, id).await {
            // It has no name any more; its rows go when the call succeeds.
            tracing::warn!(%collection, partition = %id, error = %failure, "the rows of a dropped partition are not removed yet");
            self.left_over.notify_one();
        }
        Ok(())
    }
}

/// Refuses what makes no sense where the partition key decides the partition.
pub(crate) fn refuse_key_mode(meta: &CollectionMeta, what: &str) -> Result<(), Failure> {
    if meta.schema.partition_key().is_none() {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "disable {what} if partition key mode is used"
    )))
}

/// The ids of partitions by name, each once.
pub(crate) fn ids_of(meta: &CollectionMeta, names: &[String]) -> Result<Vec<PartitionId>, Failure> {
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let found = meta.partition(name).ok_or_else(|| not_found(name))?;
        ids.push(found.id);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

pub(crate) fn not_found(name: &str) -> Failure {
    Failure::new(
        Code::PartitionNotFound,
        format!("partition not found[partition={name}]"),
    )
}
