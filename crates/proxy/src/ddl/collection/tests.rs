use holdfast_proto::milvus::schema as wire;
use holdfast_types::Timestamp;
use prost::Message;

use super::*;
use crate::fakes::{self, NOW_MS};

fn described(name: &str) -> milvus::DescribeCollectionRequest {
    milvus::DescribeCollectionRequest {
        collection_name: name.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_description_has_what_clients_read_and_hides_the_dynamic_field() {
    let (proxy, _) = fakes::proxy().await;
    let meta = fakes::collection(&proxy, "things").await;
    proxy
        .catalog
        .create_alias("default", "stuff", "things")
        .await
        .unwrap();

    let shown = describe(&proxy, &fakes::caller(""), described("stuff"))
        .await
        .unwrap();

    let schema = shown.schema.unwrap();
    assert_eq!(
        (schema.name.as_str(), schema.description.as_str()),
        ("things", "things")
    );
    let fields: Vec<_> = schema
        .fields
        .iter()
        .map(|f| (f.name.as_str(), f.field_id))
        .collect();
    assert_eq!(fields, [("id", 100), ("vector", 101), ("price", 102)]);
    assert!(schema.enable_dynamic_field);
    assert_eq!(
        (shown.collection_name.as_str(), shown.collection_id),
        ("things", meta.id.0)
    );
    assert_eq!((shown.db_name.as_str(), shown.db_id), ("default", 1));
    assert_eq!(shown.aliases, ["stuff"]);
    assert_eq!(
        (
            shown.shards_num,
            shown.num_partitions,
            shown.consistency_level
        ),
        (2, 1, 2)
    );
    assert_eq!(shown.physical_channel_names, ["channel_0", "channel_3"]);
    let id = meta.id;
    assert_eq!(
        shown.virtual_channel_names,
        [format!("channel_0_{id}v0"), format!("channel_3_{id}v1")]
    );
    assert_eq!(
        shown.created_timestamp,
        Timestamp::from_unix_ms(NOW_MS - 1_000).0
    );
    assert_eq!(shown.created_utc_timestamp, NOW_MS - 1_000);
    assert_eq!(
        shown.update_timestamp_str,
        shown.update_timestamp.to_string()
    );
    assert_ne!(shown.update_timestamp, 0);
    let properties: Vec<_> = shown
        .properties
        .iter()
        .map(|p| (p.key.as_str(), p.value.as_str()))
        .collect();
    assert_eq!(
        properties,
        [("collection.ttl.seconds", "60"), ("timezone", "UTC")]
    );
}

#[tokio::test]
async fn a_time_zone_that_was_set_is_shown() {
    let (proxy, _) = fakes::proxy().await;
    let mut meta = fakes::collection(&proxy, "things").await.as_ref().clone();
    meta.properties
        .insert(TIMEZONE.to_owned(), "Asia/Shanghai".to_owned());
    let shown = properties(&meta);
    assert_eq!(shown.len(), 2);
    assert_eq!(kv::get(&shown, TIMEZONE), Some("Asia/Shanghai"));
}

#[tokio::test]
async fn a_collection_is_described_by_its_id_too() {
    let (proxy, _) = fakes::proxy().await;
    let id = fakes::collection(&proxy, "things").await.id.0;
    let request = milvus::DescribeCollectionRequest {
        collection_id: id,
        ..Default::default()
    };
    let shown = describe(&proxy, &fakes::caller(""), request).await.unwrap();
    assert_eq!(shown.collection_name, "things");
}

#[tokio::test]
async fn a_missing_collection_is_told_in_the_words_that_clients_look_for() {
    let (proxy, _) = fakes::proxy().await;
    let missing = |request| describe(&proxy, &CALLER, request);
    let failure = missing(described("nothing")).await.unwrap_err();
    assert_eq!(failure.code, Code::CollectionNotFound);
    assert_eq!(
        failure.message,
        "can't find collection[database=default][collection=nothing]"
    );

    let by_id = milvus::DescribeCollectionRequest {
        collection_id: 77,
        ..Default::default()
    };
    let failure = missing(by_id).await.unwrap_err();
    assert_eq!(
        failure.message,
        "can't find collection[database=default][collection=77]"
    );
}

/// A caller whose connection names no database.
static CALLER: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(|| fakes::caller(""));

#[tokio::test]
async fn whether_there_is_a_collection_is_an_answer_and_no_failure() {
    let (proxy, _) = fakes::proxy().await;
    fakes::collection(&proxy, "things").await;
    let has = |collection: &str, database: &str| {
        let request = milvus::HasCollectionRequest {
            collection_name: collection.to_owned(),
            db_name: database.to_owned(),
            ..Default::default()
        };
        super::has(&proxy, &CALLER, request)
    };
    assert!(has("things", "").await.unwrap().value);
    assert!(!has("nothing", "").await.unwrap().value);
    assert_eq!(
        has("things", "nowhere").await.unwrap_err().code,
        Code::DatabaseNotFound
    );
    assert_eq!(has("", "").await.unwrap_err().code, Code::InvalidArgument);
}

#[tokio::test]
async fn the_database_is_the_request_s_or_else_the_connection_s() {
    let (proxy, parts) = fakes::proxy().await;
    let drop = |database: &str| milvus::DropCollectionRequest {
        db_name: database.to_owned(),
        collection_name: "c".to_owned(),
        ..Default::default()
    };
    super::drop(&proxy, &fakes::caller(""), drop(""))
        .await
        .unwrap();
    super::drop(&proxy, &fakes::caller("mine"), drop(""))
        .await
        .unwrap();
    super::drop(&proxy, &fakes::caller("mine"), drop("other"))
        .await
        .unwrap();
    let expect = [
        "drop_collection default.c",
        "drop_collection mine.c",
        "drop_collection other.c",
    ];
    assert_eq!(parts.script().calls, expect);
}

#[tokio::test]
async fn a_rename_stays_in_its_database_unless_another_is_named() {
    let (proxy, parts) = fakes::proxy().await;
    let to = |new_db_name: &str| milvus::RenameCollectionRequest {
        db_name: "a".to_owned(),
        old_name: "x".to_owned(),
        new_name: "y".to_owned(),
        new_db_name: new_db_name.to_owned(),
        ..Default::default()
    };
    rename(&proxy, &CALLER, to("")).await.unwrap();
    rename(&proxy, &CALLER, to("b")).await.unwrap();
    assert_eq!(
        parts.script().calls,
        ["rename_collection a.x a.y", "rename_collection a.x b.y"]
    );
}

fn creation() -> milvus::CreateCollectionRequest {
    let schema = holdfast_proto::schema::to_wire(&fakes::schema(), "things");
    milvus::CreateCollectionRequest {
        collection_name: "things".to_owned(),
        schema: schema.encode_to_vec().into(),
        consistency_level: 2,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_new_collection_has_one_shard_unless_more_are_asked_for() {
    let (proxy, parts) = fakes::proxy().await;
    create(&proxy, &CALLER, creation()).await.unwrap();
    create(
        &proxy,
        &CALLER,
        milvus::CreateCollectionRequest {
            shards_num: 4,
            ..creation()
        },
    )
    .await
    .unwrap();
    let expect = [
        "create_collection default.things shards=1 level=2 parts=None",
        "create_collection default.things shards=4 level=2 parts=None",
    ];
    assert_eq!(parts.script().calls, expect);
}

#[tokio::test]
async fn a_wrong_creation_is_refused_and_says_what_is_wrong() {
    #[track_caller]
    fn says(refused: Result<Status, Failure>, what: &str) {
        let failure = refused.unwrap_err();
        assert!(
            failure.message.contains(what),
            "{failure} does not contain {what}"
        );
    }
    let (proxy, parts) = fakes::proxy().await;
    let create = |request| super::create(&proxy, &CALLER, request);
    let valid = creation;
    let named = |name: String| milvus::CreateCollectionRequest {
        collection_name: name,
        ..valid()
    };
    says(
        create(named(String::new())).await,
        "Invalid collection name",
    );
    says(
        create(named("1a".to_owned())).await,
        "Invalid collection name: 1a",
    );
    says(
        create(named("x".repeat(1 << 20))).await,
        "Invalid collection name",
    );
    assert!(
        create(named("x".repeat(1 << 20)))
            .await
            .unwrap_err()
            .message
            .len()
            < 1_000
    );
    let garbage = milvus::CreateCollectionRequest {
        schema: vec![0xff; 9].into(),
        ..valid()
    };
    says(create(garbage).await, "schema: not a CollectionSchema");
    let empty = wire::CollectionSchema::default().encode_to_vec();
    says(
        create(milvus::CreateCollectionRequest {
            schema: empty.into(),
            ..valid()
        })
        .await,
        "primary key",
    );
    for shards_num in [-1, 17, i32::MIN, i32::MAX] {
        let request = milvus::CreateCollectionRequest {
            shards_num,
            ..valid()
        };
        says(create(request).await, &format!("shards_num: {shards_num} "));
    }
    for consistency_level in [-1, 5] {
        let request = milvus::CreateCollectionRequest {
            consistency_level,
            ..valid()
        };
        says(
            create(request).await,
            &format!("consistency_level: {consistency_level} "),
        );
    }
    for num_partitions in [-1, 1_025, i64::MAX, 1 << 32] {
        let request = milvus::CreateCollectionRequest {
            num_partitions,
            ..valid()
        };
        says(
            create(request).await,
            &format!("num_partitions: {num_partitions} "),
        );
    }
    let request = milvus::CreateCollectionRequest {
        num_partitions: 4,
        ..valid()
    };
    says(
        create(request).await,
        "num_partitions should only be specified with partition key",
    );
    let properties = vec![kv::pair("a", "1"), kv::pair("a", "2")];
    says(
        create(milvus::CreateCollectionRequest {
            properties,
            ..valid()
        })
        .await,
        "properties.a",
    );
    assert!(parts.script().calls.is_empty());
}

#[tokio::test]
async fn a_listing_names_all_or_only_those_that_are_loaded() {
    let (proxy, parts) = fakes::proxy().await;
    fakes::collection(&proxy, "a").await;
    fakes::collection(&proxy, "b").await;
    let list = |show: i32, names: &[&str]| {
        let collection_names = names.iter().map(|&n| n.to_owned()).collect();
        let request = milvus::ShowCollectionsRequest {
            r#type: show,
            collection_names,
            ..Default::default()
        };
        super::show(&proxy, &CALLER, request)
    };

    let all = list(0, &[]).await.unwrap();
    assert_eq!(all.collection_names, ["a", "b"]);
    assert_eq!(
        (all.collection_ids.len(), all.created_utc_timestamps[0]),
        (2, NOW_MS - 1_000)
    );
    assert_eq!(all.shards_num, [2, 2]);
    assert!(all.in_memory_percentages.is_empty());

    assert!(list(1, &[]).await.unwrap().collection_names.is_empty());
    assert_eq!(
        list(1, &["a"]).await.unwrap_err().code,
        Code::CollectionNotLoaded
    );
    assert_eq!(
        list(1, &["c"]).await.unwrap_err().code,
        Code::CollectionNotFound
    );
    assert_eq!(list(2, &[]).await.unwrap_err().code, Code::InvalidArgument);

    parts.script().load_state = Some(LoadState::Loading(100));
    let loading = list(1, &["b"]).await.unwrap();
    assert_eq!(
        (
            loading.in_memory_percentages,
            loading.query_service_available
        ),
        (vec![99], vec![false])
    );
    parts.script().load_state = Some(LoadState::Loaded);
    let loaded = list(1, &[]).await.unwrap();
    assert_eq!(
        (loaded.in_memory_percentages, loaded.query_service_available),
        (vec![100; 2], vec![true; 2])
    );
}
