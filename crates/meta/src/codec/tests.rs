//! Round trips, golden bytes, refusals.

use std::{collections::BTreeMap, sync::Arc};

use holdfast_types::{
    ChannelId, CollectionSchema, DataType, FieldId, FieldSchema, IndexId, Metric, PartitionId,
    Value,
};

use super::*;
use crate::{CollectionState, IndexKind, IndexMeta, JsonPathMeta, LoadSpec, PartitionMeta};

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        element_type: None,
        dim: None,
        max_length: None,
        max_capacity: None,
        is_primary: false,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: false,
        type_params: Vec::new(),
    }
}

/// A collection with something in every field.
pub(crate) fn full_collection() -> CollectionMeta {
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let default = Value::List(vec![
        Value::Null,
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Float(-0.5),
        Value::Str("x".to_owned()),
        Value::List(vec![]),
    ]);
    let fields = vec![
        FieldSchema {
            is_primary: true,
            auto_id: true,
            description: "key".to_owned(),
            ..field(100, "pk", DataType::Int64)
        },
        FieldSchema {
            dim: Some(8),
            type_params: vec![pair("dim", "8"), pair("mmap.enabled", "true")],
            ..field(101, "vector", DataType::FloatVector)
        },
        FieldSchema {
            element_type: Some(DataType::VarChar),
            max_length: Some(16),
            max_capacity: Some(4),
            nullable: true,
            default: Some(default),
            ..field(102, "tags", DataType::Array)
        },
        FieldSchema {
            max_length: Some(16),
            is_partition_key: true,
            is_clustering_key: true,
            ..field(103, "tenant", DataType::VarChar)
        },
        FieldSchema {
            is_dynamic: true,
            ..field(104, "$meta", DataType::Json)
        },
    ];
    let kinds = [
        IndexKind::Flat,
        IndexKind::Hnsw {
            m: 16,
            ef_construction: 200,
        },
        IndexKind::SparseInverted,
        IndexKind::BinFlat,
        IndexKind::Inverted,
        IndexKind::Bitmap,
        IndexKind::StlSort,
    ];
    let metrics = [
        Some(Metric::L2),
        Some(Metric::Ip),
        Some(Metric::Cosine),
        Some(Metric::Hamming),
        Some(Metric::Jaccard),
        None,
        None,
    ];
    let index = |(id, (kind, metric)): (i64, (IndexKind, Option<Metric>))| IndexMeta {
        id: IndexId(id),
        field: FieldId(101),
        name: format!("index_{id}"),
        kind,
        asked: vec![pair("index_type", "AUTOINDEX"), pair("M", "16")],
        metric,
        json_path: (id == 7).then(|| JsonPathMeta {
            path: "tags[\"a\"]".to_owned(),
            cast: DataType::Double,
        }),
        created: Timestamp(6),
    };
    CollectionMeta {
        id: CollectionId(1_000),
        database: DatabaseId(1),
        name: "books".to_owned(),
        aliases: vec!["library".to_owned(), "shelf".to_owned()],
        schema: Arc::new(CollectionSchema {
            description: "what is read".to_owned(),
            fields,
            enable_dynamic_field: true,
            version: 3,
        }),
        shards: vec![ChannelId(0), ChannelId(7)],
        consistency: 2,
        properties: BTreeMap::from([pair("collection.ttl.seconds", "60"), pair("a", "")]),
        num_partitions: 16,
        partitions: vec![PartitionMeta {
            id: PartitionId(1_001),
            name: "_default".to_owned(),
            created: Timestamp(4),
        }],
        indexes: (1..)
            .zip(kinds.into_iter().zip(metrics))
            .map(index)
            .collect(),
        load: Some(LoadSpec {
            fields: vec![FieldId(100)],
            partitions: vec![PartitionId(1_001)],
            replicas: 2,
        }),
        created: Timestamp(1 << 60),
        updated: Timestamp(u64::MAX),
        next_field_id: FieldId(105),
        state: CollectionState::Dropping,
        truncated: Timestamp(9),
    }
}

#[test]
fn values_come_back_as_they_were() {
    fn check<T: Stored + PartialEq + std::fmt::Debug>(value: &T) {
        let bytes = encode("k", value).unwrap();
        assert_eq!(decode::<T>("k", &bytes).unwrap(), *value);
    }
    check(&full_collection());
    check(&CollectionMeta {
        load: None,
        state: CollectionState::Active,
        ..full_collection()
    });
    check(&DatabaseMeta {
        id: DatabaseId(1),
        name: "default".to_owned(),
        properties: vec![("k".to_owned(), "v".to_owned())],
        created: Timestamp(5),
    });
    check(&NameEntry {
        collection: CollectionId(i64::MAX),
        is_alias: true,
    });
    check(&NextId(1_000));
    check(&EpochClaim {
        epoch: Epoch(u64::MAX),
        owner: "node".to_owned(),
    });
}

/// These bytes are in files: they have to be read for ever, whatever becomes of the types.
#[test]
fn golden_bytes_of_the_first_version_are_read_and_written() {
    let key = "catalog/collection/00000000000000001000";
    let golden = Bytes::from_static(include_bytes!("golden/collection_v1.bin"));
    assert_eq!(
        decode::<CollectionMeta>(key, &golden).unwrap(),
        full_collection()
    );
    assert_eq!(encode(key, &full_collection()).unwrap(), golden);
}

fn wire() -> pb::Collection {
    full_collection().to_wire()
}

#[track_caller]
fn refused(change: impl FnOnce(&mut pb::Collection), expect: &str) {
    let mut wire = wire();
    change(&mut wire);
    let bytes = envelope::seal("k", &wire.encode_to_vec());
    let error = decode::<CollectionMeta>("k", &bytes).unwrap_err();
    assert_eq!(error.to_string(), format!("k: {expect}"));
}

fn first_fields(wire: &mut pb::Collection) -> &mut Vec<pb::Field> {
    &mut wire.schema.as_mut().unwrap().fields
}

#[test]
fn what_is_not_understood_is_refused_with_its_path() {
    refused(|w| w.state = 9, "state: state 9 is not known");
    refused(|w| w.state = 0, "state: state 0 is not known");
    refused(|w| w.consistency = 5, "consistency: level 5 is not known");
    refused(|w| w.id = 0, "id: 0 is not positive");
    refused(|w| w.schema = None, "schema: absent");
    refused(
        |w| w.shards.clear(),
        "shards: a collection has at least one",
    );
    refused(
        |w| first_fields(w)[1].data_type = 24,
        "schema.fields[1].data_type: data type 24 is not known",
    );
    refused(
        |w| first_fields(w)[1].dim = None,
        "schema.fields[1].dim: None does not fit the type FloatVector",
    );
    refused(
        |w| first_fields(w)[1].dim = Some(u32::MAX),
        "schema.fields[1].dim: Some(4294967295) does not fit the type FloatVector",
    );
    refused(
        |w| first_fields(w)[2].element_type = None,
        "schema.fields[2].element_type: present or absent against the type Array",
    );
    refused(
        |w| first_fields(w)[2].element_type = Some(23),
        "schema.fields[2].element_type: not a scalar",
    );
    refused(
        |w| first_fields(w)[3].default = Some(pb::Value { value: None }),
        "schema.fields[3].default.value: absent",
    );
    refused(
        |w| first_fields(w)[0].is_primary = false,
        "schema.fields: 0 primary keys",
    );
    refused(
        |w| w.indexes[2].kind = None,
        "indexes[2].kind: absent or not known",
    );
    refused(
        |w| w.indexes[0].metric = 6,
        "indexes[0].metric: metric 6 is not known",
    );
    refused(
        |w| w.indexes[6].json_path.as_mut().unwrap().cast = 0,
        "indexes[6].json_path.cast: data type 0 is not known",
    );
    refused(
        |w| w.partitions[0].id = -1,
        "partitions[0].id: -1 is not positive",
    );
    refused(
        |w| w.load.as_mut().unwrap().replicas = 0,
        "load.replicas: 0 copies serve nothing",
    );
}

#[test]
fn what_could_not_be_read_back_is_not_stored() {
    let mut meta = full_collection();
    meta.consistency = 7;
    let error = encode("k", &meta).unwrap_err();
    assert!(matches!(error, MetaError::Refused(_)), "{error:?}");
    // Deeper than any decoder goes.
    let deep = (0..200).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    let mut meta = full_collection();
    Arc::make_mut(&mut meta.schema).fields[3].default = Some(deep);
    assert!(encode("k", &meta).is_err());
}

proptest::proptest! {
    #[test]
    fn no_payload_makes_decoding_panic(payload: Vec<u8>) {
        let bytes = envelope::seal("k", &payload);
        drop(decode::<CollectionMeta>("k", &bytes));
        drop(decode::<DatabaseMeta>("k", &bytes));
        drop(decode::<EpochClaim>("k", &bytes));
    }

    #[test]
    fn no_damaged_payload_makes_decoding_panic(place: proptest::sample::Index, byte: u8) {
        let mut payload = wire().encode_to_vec();
        let place = place.index(payload.len());
        payload[place] = byte;
        drop(decode::<CollectionMeta>("k", &envelope::seal("k", &payload)));
    }
}
