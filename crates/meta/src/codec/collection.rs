//! Collections with their partitions, indexes and load specifications.

use std::sync::Arc;

use holdfast_proto::persisted::catalog as pb;
use holdfast_types::{
    ChannelId, CollectionId, DatabaseId, FieldId, IndexId, Metric, PartitionId, Timestamp,
};

use super::{InvalidField, pairs_from_wire, pairs_to_wire, positive, schema};
use crate::{
    CollectionMeta, CollectionState, IndexKind, IndexMeta, JsonPathMeta, LoadSpec, PartitionMeta,
    model::CONSISTENCY_MAX,
};

pub(super) fn to_wire(meta: &CollectionMeta) -> pb::Collection {
    let CollectionMeta {
        id,
        database,
        name,
        aliases,
        schema,
        shards,
        consistency,
        properties,
        num_partitions,
        partitions,
        indexes,
        load,
        created,
        updated,
        next_field_id,
        state,
        truncated,
    } = meta;
    pb::Collection {
        id: id.0,
        database: database.0,
        name: name.clone(),
        aliases: aliases.clone(),
        schema: Some(schema::to_wire(schema)),
        shards: shards.iter().map(|channel| channel.0).collect(),
        consistency: *consistency,
        properties: pairs_to_wire(properties),
        num_partitions: *num_partitions,
        partitions: partitions.iter().map(partition_to_wire).collect(),
        indexes: indexes.iter().map(index_to_wire).collect(),
        load: load.as_ref().map(load_to_wire),
        created: created.0,
        updated: updated.0,
        next_field_id: next_field_id.0,
        state: match state {
            CollectionState::Active => pb::CollectionState::Active,
            CollectionState::Dropping => pb::CollectionState::Dropping,
        }
        .into(),
        truncated: truncated.0,
    }
}

pub(super) fn from_wire(wire: pb::Collection) -> Result<CollectionMeta, InvalidField> {
    let pb::Collection {
        id,
        database,
        name,
        aliases,
        schema,
        shards,
        consistency,
        properties,
        num_partitions,
        partitions,
        indexes,
        load,
        created,
        updated,
        next_field_id,
        state,
        truncated,
    } = wire;
    let schema = schema.ok_or_else(|| InvalidField::new("schema", "absent"))?;
    if shards.is_empty() {
        return Err(InvalidField::new("shards", "a collection has at least one"));
    }
    if !(0..=CONSISTENCY_MAX).contains(&consistency) {
        return Err(InvalidField::new(
            "consistency",
            format!("level {consistency} is not known"),
        ));
    }
    Ok(CollectionMeta {
        id: CollectionId(positive("id", id)?),
        database: DatabaseId(positive("database", database)?),
        name,
        aliases,
        schema: Arc::new(schema::from_wire(schema).map_err(|e| e.within("schema"))?),
        shards: shards.into_iter().map(ChannelId).collect(),
        consistency,
        properties: pairs_from_wire(properties),
        num_partitions,
        partitions: items("partitions", partitions, partition_from_wire)?,
        indexes: items("indexes", indexes, index_from_wire)?,
        load: load
            .map(load_from_wire)
            .transpose()
            .map_err(|e| e.within("load"))?,
        created: Timestamp(created),
        updated: Timestamp(updated),
        next_field_id: FieldId(positive("next_field_id", next_field_id)?),
        state: state_from_wire(state)?,
        truncated: Timestamp(truncated),
    })
}

fn state_from_wire(number: i32) -> Result<CollectionState, InvalidField> {
    match pb::CollectionState::try_from(number) {
        Ok(pb::CollectionState::Active) => Ok(CollectionState::Active),
        Ok(pb::CollectionState::Dropping) => Ok(CollectionState::Dropping),
        Ok(pb::CollectionState::Unset) | Err(_) => Err(InvalidField::new(
            "state",
            format!("state {number} is not known"),
        )),
    }
}

fn items<W, T>(
    list: &str,
    wire: Vec<W>,
    item: impl Fn(W) -> Result<T, InvalidField>,
) -> Result<Vec<T>, InvalidField> {
    wire.into_iter()
        .enumerate()
        .map(|(i, w)| item(w).map_err(|e| e.within_item(list, i)))
        .collect()
}

fn partition_to_wire(partition: &PartitionMeta) -> pb::Partition {
    let PartitionMeta { id, name, created } = partition;
    pb::Partition {
        id: id.0,
        name: name.clone(),
        created: created.0,
    }
}

fn partition_from_wire(wire: pb::Partition) -> Result<PartitionMeta, InvalidField> {
    let pb::Partition { id, name, created } = wire;
    Ok(PartitionMeta {
        id: PartitionId(positive("id", id)?),
        name,
        created: Timestamp(created),
    })
}

fn index_to_wire(index: &IndexMeta) -> pb::Index {
    use pb::index::Kind;
    let IndexMeta {
        id,
        field,
        name,
        kind,
        asked,
        metric,
        json_path,
        created,
    } = index;
    let kind = match kind {
        IndexKind::Flat => Kind::Flat(pb::Flat {}),
        IndexKind::Hnsw { m, ef_construction } => Kind::Hnsw(pb::Hnsw {
            m: *m,
            ef_construction: *ef_construction,
        }),
        IndexKind::SparseInverted => Kind::SparseInverted(pb::SparseInverted {}),
        IndexKind::BinFlat => Kind::BinFlat(pb::BinFlat {}),
        IndexKind::Inverted => Kind::Inverted(pb::Inverted {}),
        IndexKind::Bitmap => Kind::Bitmap(pb::Bitmap {}),
        IndexKind::StlSort => Kind::StlSort(pb::StlSort {}),
    };
    pb::Index {
        id: id.0,
        field: field.0,
        name: name.clone(),
        kind: Some(kind),
        asked: pairs_to_wire(asked.iter().map(|(k, v)| (k, v))),
        metric: metric
            .map_or(pb::Metric::Unset, |metric| match metric {
                Metric::L2 => pb::Metric::L2,
                Metric::Ip => pb::Metric::Ip,
                Metric::Cosine => pb::Metric::Cosine,
                Metric::Hamming => pb::Metric::Hamming,
                Metric::Jaccard => pb::Metric::Jaccard,
            })
            .into(),
        json_path: json_path.as_ref().map(|json_path| {
            let JsonPathMeta { path, cast } = json_path;
            pb::JsonPath {
                path: path.clone(),
                cast: cast.wire_number(),
            }
        }),
        created: created.0,
    }
}

fn index_from_wire(wire: pb::Index) -> Result<IndexMeta, InvalidField> {
    use pb::index::Kind;
    let pb::Index {
        id,
        field,
        name,
        kind,
        asked,
        metric,
        json_path,
        created,
    } = wire;
    let kind = match kind {
        None => return Err(InvalidField::new("kind", "absent or not known")),
        Some(Kind::Flat(pb::Flat {})) => IndexKind::Flat,
        Some(Kind::Hnsw(pb::Hnsw { m, ef_construction })) => IndexKind::Hnsw { m, ef_construction },
        Some(Kind::SparseInverted(pb::SparseInverted {})) => IndexKind::SparseInverted,
        Some(Kind::BinFlat(pb::BinFlat {})) => IndexKind::BinFlat,
        Some(Kind::Inverted(pb::Inverted {})) => IndexKind::Inverted,
        Some(Kind::Bitmap(pb::Bitmap {})) => IndexKind::Bitmap,
        Some(Kind::StlSort(pb::StlSort {})) => IndexKind::StlSort,
    };
    let json_path = json_path
        .map(|json_path| {
            let pb::JsonPath { path, cast } = json_path;
            let cast = schema::data_type_from_wire("json_path.cast", cast)?;
            Ok(JsonPathMeta { path, cast })
        })
        .transpose()?;
    Ok(IndexMeta {
        id: IndexId(positive("id", id)?),
        field: FieldId(positive("field", field)?),
        name,
        kind,
        asked: pairs_from_wire(asked),
        metric: metric_from_wire(metric)?,
        json_path,
        created: Timestamp(created),
    })
}

fn metric_from_wire(number: i32) -> Result<Option<Metric>, InvalidField> {
    match pb::Metric::try_from(number) {
        Ok(pb::Metric::Unset) => Ok(None),
        Ok(pb::Metric::L2) => Ok(Some(Metric::L2)),
        Ok(pb::Metric::Ip) => Ok(Some(Metric::Ip)),
        Ok(pb::Metric::Cosine) => Ok(Some(Metric::Cosine)),
        Ok(pb::Metric::Hamming) => Ok(Some(Metric::Hamming)),
        Ok(pb::Metric::Jaccard) => Ok(Some(Metric::Jaccard)),
        Err(_) => Err(InvalidField::new(
            "metric",
            format!("metric {number} is not known"),
        )),
    }
}

fn load_to_wire(load: &LoadSpec) -> pb::Load {
    let LoadSpec {
        fields,
        partitions,
        replicas,
    } = load;
    pb::Load {
        fields: fields.iter().map(|f| f.0).collect(),
        partitions: partitions.iter().map(|p| p.0).collect(),
        replicas: *replicas,
    }
}

fn load_from_wire(wire: pb::Load) -> Result<LoadSpec, InvalidField> {
    let pb::Load {
        fields,
        partitions,
        replicas,
    } = wire;
    if replicas == 0 {
        return Err(InvalidField::new("replicas", "0 copies serve nothing"));
    }
    Ok(LoadSpec {
        fields: fields.into_iter().map(FieldId).collect(),
        partitions: partitions.into_iter().map(PartitionId).collect(),
        replicas,
    })
}
