//! The shard and partition of each row.
//!
//! Both are chosen by hashes that never change: rows already stored were placed by them.

use std::collections::{BTreeMap, HashSet};

use arrow_array::{Array, RecordBatch, UInt32Array, cast::AsArray, types::Int64Type};
use arrow_select::take::take_record_batch;
use holdfast_meta::CollectionMeta;
use holdfast_node_api::write::WritePart;
use holdfast_types::{ChannelId, Failure, FieldId, PartitionId, Pk, PkList, columns};

use crate::{
    resolve::{self, DEFAULT_PARTITION},
    write::rows::keys_of,
};

/// The partitions that rows go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placing {
    /// All to one.
    One(PartitionId),
    /// By the hash of the partition key.
    ByKey {
        /// The partition key.
        field: FieldId,
        /// By number, from `_default_0`.
        partitions: Vec<PartitionId>,
    },
    /// Each to its own: one entry a row.
    Rows(Vec<PartitionId>),
}

impl Placing {
    /// Where rows go when a request names `partition`; empty names none.
    pub(crate) fn of(meta: &CollectionMeta, partition: &str) -> Result<Self, Failure> {
        let Some(key) = meta.schema.partition_key() else {
            let name = if partition.is_empty() {
                DEFAULT_PARTITION
            } else {
                partition
            };
            return Ok(Self::One(resolve::partition(meta, name)?));
        };
        if !partition.is_empty() {
            return Err(Failure::invalid(
                "partition_name: not supported to manually specify the partition names if partition key mode is used",
            ));
        }
        Ok(Self::ByKey {
            field: key.id,
            partitions: key_partitions(meta)?,
        })
    }

    /// The changes that store `rows`, each shard's and partition's part of it.
    ///
    /// Of rows with one key, only the last is stored when they would go to different partitions.
    pub(crate) fn parts(
        &self,
        meta: &CollectionMeta,
        rows: RecordBatch,
    ) -> Result<Vec<WritePart>, Failure> {
        let primary = meta.schema.primary();
        if let (Self::One(partition), 1) = (self, meta.shards.len()) {
            return Ok(vec![WritePart {
                shard: 0,
                partition: *partition,
                rows: Some(rows),
                deletes: None,
            }]);
        }
        let keys = keys_of(column(&rows, primary.id)?, primary)?;
        let mut parts: BTreeMap<(u32, PartitionId), Vec<u32>> = BTreeMap::new();
        match self {
            Self::One(partition) => {
                for (row, key) in (0u32..).zip(keys.iter()) {
                    parts
                        .entry((shard(meta, &key), *partition))
                        .or_default()
                        .push(row);
                }
            }
            Self::Rows(partitions) => {
                for ((row, key), partition) in (0u32..).zip(keys.iter()).zip(partitions) {
                    parts
                        .entry((shard(meta, &key), *partition))
                        .or_default()
                        .push(row);
                }
            }
            Self::ByKey { field, partitions } => {
                let values = column(&rows, *field)?.as_ref();
                let homes = (0..rows.num_rows())
                    .map(|row| key_partition(values, row, partitions))
                    .collect::<Result<Vec<_>, _>>()?;
                let mut seen = HashSet::new();
                for (row, partition) in homes.into_iter().enumerate().rev() {
                    let key = keys.get(row);
                    let shard = shard(meta, &key);
                    if seen.insert(key) {
                        let row = u32::try_from(row)
                            .map_err(|_| Failure::invalid("num_rows: too many rows at once"))?;
                        parts.entry((shard, partition)).or_default().push(row);
                    }
                }
                parts.values_mut().for_each(|rows| rows.reverse());
            }
        }
        parts
            .into_iter()
            .map(|((shard, partition), indices)| {
                let part = take_record_batch(&rows, &UInt32Array::from(indices)).map_err(|e| {
                    Failure::internal(format!("rows of a shard can't be taken: {e}"))
                })?;
                Ok(WritePart {
                    shard,
                    partition,
                    rows: Some(part),
                    deletes: None,
                })
            })
            .collect()
    }
}

/// The changes that delete the rows of `keys`, a part for each shard.
pub(crate) fn delete_parts(
    meta: &CollectionMeta,
    keys: &PkList,
) -> Result<Vec<WritePart>, Failure> {
    // Deletes of a part are those of its whole shard, so any partition does.
    let partition =
        meta.partitions.first().map(|p| p.id).ok_or_else(|| {
            Failure::internal(format!("collection {} has no partition", meta.name))
        })?;
    let mut parts: BTreeMap<u32, Vec<Pk>> = BTreeMap::new();
    for key in keys.iter() {
        parts.entry(shard(meta, &key)).or_default().push(key);
    }
    let part = |(shard, keys): (u32, Vec<Pk>)| WritePart {
        shard,
        partition,
        rows: None,
        deletes: Some(keys.into_iter().collect()),
    };
    Ok(parts.into_iter().map(part).collect())
}

/// The keys apart by the channels that their shards are on.
pub(crate) fn by_channel(meta: &CollectionMeta, keys: PkList) -> Vec<PkList> {
    if channels(meta) <= 1 {
        return vec![keys];
    }
    let mut all: BTreeMap<Option<ChannelId>, Vec<Pk>> = BTreeMap::new();
    for key in keys.iter() {
        all.entry(meta.shards.get(shard(meta, &key) as usize).copied())
            .or_default()
            .push(key);
    }
    all.into_values().map(PkList::from_iter).collect()
}

/// Number of channels that the shards of a collection are on.
pub(crate) fn channels(meta: &CollectionMeta) -> usize {
    meta.shards.iter().collect::<HashSet<_>>().len()
}

/// The shard of a key.
pub(crate) fn shard(meta: &CollectionMeta, key: &Pk) -> u32 {
    let shards = meta.shards.len().max(1) as u64;
    u32::try_from(key.stable_hash() % shards).expect("a collection has at most MAX_SHARDS shards")
}

/// The partition of the rows whose partition key has the value in `values` at `row`.
fn key_partition(
    values: &dyn Array,
    row: usize,
    partitions: &[PartitionId],
) -> Result<PartitionId, Failure> {
    if values.is_null(row) {
        return Err(Failure::invalid(format!(
            "the partition key must not be null[row number={row}]"
        )));
    }
    let value = if let Some(ints) = values.as_primitive_opt::<Int64Type>() {
        Pk::Int(ints.value(row))
    } else if let Some(texts) = values.as_string_opt::<i32>() {
        Pk::Str(texts.value(row).into())
    } else {
        return Err(Failure::internal(format!(
            "a partition key of {}",
            values.data_type()
        )));
    };
    let slot = value.stable_hash() % partitions.len().max(1) as u64;
    usize::try_from(slot)
        .ok()
        .and_then(|slot| partitions.get(slot).copied())
        .ok_or_else(|| Failure::internal("a partition key, but no partition"))
}

/// The partitions that the partition key spreads rows over, by number.
fn key_partitions(meta: &CollectionMeta) -> Result<Vec<PartitionId>, Failure> {
    let number = |name: &str| -> Option<u32> {
        name.strip_prefix(DEFAULT_PARTITION)?
            .strip_prefix('_')?
            .parse()
            .ok()
    };
    let mut numbered: Vec<(u32, PartitionId)> = meta
        .partitions
        .iter()
        .filter_map(|p| Some((number(&p.name)?, p.id)))
        .collect();
    numbered.sort_unstable();
    let dense = (0u32..)
        .zip(&numbered)
        .all(|(expect, (number, _))| expect == *number);
    // With one missing the same key would go elsewhere than before.
    if numbered.is_empty() || !dense {
        return Err(Failure::internal(format!(
            "collection {}: its partitions are not numbered from {DEFAULT_PARTITION}_0 on",
            meta.name
        )));
    }
    Ok(numbered.into_iter().map(|(_, id)| id).collect())
}

fn column(rows: &RecordBatch, field: FieldId) -> Result<&arrow_array::ArrayRef, Failure> {
    columns::column(rows, field)
        .ok_or_else(|| Failure::internal(format!("rows without a column of field {field}")))
}
