//! DDL of databases, collections and partitions; flush and counts.

use holdfast_node_api::{
    Coordinator,
    coordinator::{AlterParams, CreateCollection, Statistics},
    stream_node::FreshSegment,
};
use holdfast_types::{Code, CollectionSchema, PartitionId, SegmentId, ShardId, Timestamp};

use super::{
    fixtures::schema,
    world::{World, new, on, refused},
};

pub(super) fn set(key: &str, value: &str) -> AlterParams {
    AlterParams {
        set: vec![(key.to_owned(), value.to_owned())],
        remove: Vec::new(),
    }
}

pub(super) fn unset(key: &str) -> AlterParams {
    AlterParams {
        set: Vec::new(),
        remove: vec![key.to_owned()],
    }
}

pub(super) fn keyed() -> CollectionSchema {
    let mut schema = schema();
    schema.fields[2].is_partition_key = true;
    schema
}

#[tokio::test]
async fn a_collection_is_spread_over_channels_and_made_once() {
    let w = World::new().await;
    let create = |shards| CreateCollection {
        shards,
        ..new("c", schema())
    };
    w.service.create_collection(create(3)).await.unwrap();
    w.service.create_collection(create(3)).await.unwrap();
    let c = w.c();
    assert_eq!(c.shards.iter().map(|s| s.0).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(c.partitions.len(), 1);
    assert_eq!((&*c.partitions[0].name, c.num_partitions), ("_default", 0));
    refused(
        w.service.create_collection(create(2)).await,
        "create duplicate collection with different parameters, collection: c",
    );
    // The next one goes where there is less.
    w.service
        .create_collection(new("d", schema()))
        .await
        .unwrap();
    let d = w.catalog.snapshot().resolve("default", "d").unwrap().shards[0];
    assert_eq!(d.0, 1);
}

#[tokio::test]
async fn collections_out_of_bounds_are_refused() {
    let w = World::new().await;
    let base = || new("c", schema());
    let with = |key: &str, value: &str| CreateCollection {
        properties: vec![(key.to_owned(), value.to_owned())],
        ..base()
    };
    for (create, message) in [
        (
            CreateCollection {
                shards: 17,
                ..base()
            },
            "maximum shards's number should be limited to 16",
        ),
        (
            CreateCollection {
                key_partitions: Some(4),
                ..base()
            },
            "num_partitions should only be specified with partition key field enabled",
        ),
        (
            CreateCollection {
                key_partitions: Some(1_025),
                ..new("c", keyed())
            },
            "partition number (1025) exceeds max configuration (1024)",
        ),
        (
            with("collection.ttl.seconds", "soon"),
            "collection TTL is not a valid positive integer: collection.ttl.seconds=soon",
        ),
        (
            with("mmap.enabled", "7"),
            "invalid mmap.enabled value: 7, expected: true, false",
        ),
        (
            new("1c", schema()),
            "Invalid collection name: 1c. the first character of a collection name must be an underscore or letter",
        ),
    ] {
        refused(w.service.create_collection(create).await, message);
    }
}

#[tokio::test]
async fn a_partition_key_makes_partitions_that_clients_leave_alone() {
    let w = World::new().await;
    w.service
        .create_collection(new("c", keyed()))
        .await
        .unwrap();
    let c = w.c();
    assert_eq!((c.num_partitions, c.partitions.len()), (16, 16));
    assert_eq!(c.partitions[15].name, "_default_15");
    refused(
        w.service.create_partition(&on("c"), "p").await,
        "disable create partition if partition key mode is used",
    );
    refused(
        w.service.drop_partition(&on("c"), "_default_0").await,
        "disable drop partition if partition key mode is used",
    );
}

#[tokio::test]
async fn properties_are_set_and_removed_and_each_change_is_stamped() {
    let w = World::new().await;
    let before = w.collection().await;
    w.service
        .alter_collection(&on("c"), set("collection.ttl.seconds", "60"))
        .await
        .unwrap();
    w.service
        .alter_collection(&on("c"), set("my.own", "x"))
        .await
        .unwrap();
    w.service
        .alter_collection(&on("c"), set("consistency_level", "Strong"))
        .await
        .unwrap();
    w.service
        .alter_collection(&on("c"), set("collection.description", "words"))
        .await
        .unwrap();
    w.service
        .alter_collection(&on("c"), unset("my.own"))
        .await
        .unwrap();
    let c = w.c();
    assert_eq!(
        c.properties
            .get("collection.ttl.seconds")
            .map(String::as_str),
        Some("60")
    );
    assert_eq!(
        (c.properties.len(), c.consistency, &*c.schema.description),
        (1, 0, "words")
    );
    assert!(c.updated > before.updated);
    refused(
        w.service
            .alter_collection(&on("c"), set("collection.ttl.seconds", "-5"))
            .await,
        "collection TTL is out of range, expect [-1, 3155760000], got -5",
    );
    let missing = w
        .service
        .alter_collection(&on("x"), unset("a"))
        .await
        .unwrap_err();
    assert_eq!(missing.code, Code::CollectionNotFound);
    assert_eq!(
        missing.message,
        "collection not found[database=default][collection=x]"
    );
}

#[tokio::test]
async fn databases_come_change_and_go() {
    let w = World::new().await;
    w.service
        .create_database("db", vec![("a".into(), "1".into())])
        .await
        .unwrap();
    w.service.alter_database("db", set("b", "2")).await.unwrap();
    w.service.alter_database("db", unset("a")).await.unwrap();
    let db = w.catalog.snapshot().database("db").unwrap().clone();
    assert_eq!(db.properties, [("b".to_owned(), "2".to_owned())]);
    w.service.drop_database("db").await.unwrap();
    w.service.drop_database("db").await.unwrap();
    refused(
        w.service.drop_database("default").await,
        "can not drop default database",
    );
}

#[tokio::test]
async fn names_and_aliases_lead_to_the_collection_until_it_is_dropped() {
    let w = World::new().await;
    w.collection().await;
    w.service.create_alias(&on("c"), "a").await.unwrap();
    refused(
        w.service.drop_collection(&on("a")).await,
        "cannot drop the collection via alias = a",
    );
    refused(
        w.service.drop_collection(&on("c")).await,
        "unable to drop the collection [c] because it has associated aliases [a], please remove all aliases before dropping the collection",
    );
    w.service.create_partition(&on("a"), "p").await.unwrap();
    assert!(w.c().partition("p").is_some());
    w.service.drop_alias("default", "a").await.unwrap();
    w.service
        .rename_collection(&on("c"), &on("d"))
        .await
        .unwrap();
    assert!(w.catalog.snapshot().resolve("default", "d").is_ok());
}

#[tokio::test]
async fn a_drop_cleans_up_everywhere_and_again_is_success() {
    let w = World::new().await;
    let c = w.collection().await;
    w.store_segments(c.partitions[0].id, &[1], |_| {}).await;
    w.service.drop_collection(&on("c")).await.unwrap();
    let id = c.id;
    assert_eq!(
        w.calls.take(),
        [format!("release {id}"), format!("drop_collection {id}")]
    );
    assert!(w.catalog.snapshot().list_dropping().is_empty());
    let shard = ShardId {
        collection: id,
        index: 0,
    };
    assert!(w.manifests.current(shard).await.unwrap().is_none());
    w.service.drop_collection(&on("c")).await.unwrap();
    assert!(w.calls.take().is_empty());
}

/// Each step of a drop's second phase may fail, or the process may die in it.
#[tokio::test]
async fn a_drop_that_was_cut_short_is_finished_at_the_next_start() {
    for step in ["release", "drop_collection"] {
        let mut w = World::new().await;
        let c = w.collection().await;
        w.calls.fail(step);
        w.service.drop_collection(&on("c")).await.unwrap();
        let gone = w.catalog.snapshot().resolve("default", "c").unwrap_err();
        assert_eq!(
            gone.code,
            Code::CollectionNotFound,
            "for its users it is gone"
        );
        assert_eq!(w.catalog.snapshot().list_dropping().len(), 1);
        // The name is free, and what is made under it now is not touched.
        w.service
            .create_collection(new("c", schema()))
            .await
            .unwrap();
        w.restart().await;
        assert_eq!(
            w.catalog.snapshot().list_dropping().len(),
            1,
            "{step} still fails"
        );
        w.calls.heal();
        w.calls.take();
        w.restart().await;
        assert!(w.catalog.snapshot().list_dropping().is_empty());
        let id = c.id;
        assert_eq!(
            w.calls.take(),
            [format!("release {id}"), format!("drop_collection {id}")]
        );
        assert_ne!(w.c().id, id);
    }
}

#[tokio::test]
async fn partitions_come_and_go_while_not_loaded() {
    let w = World::new().await;
    w.collection().await;
    w.service.create_partition(&on("c"), "p").await.unwrap();
    w.service.create_partition(&on("c"), "p").await.unwrap();
    let id = w.c().partition("p").unwrap().id;
    assert_eq!(w.c().partitions.len(), 2);
    refused(
        w.service.drop_partition(&on("c"), "_default").await,
        "default partition cannot be deleted",
    );
    w.service.drop_partition(&on("c"), "p").await.unwrap();
    w.service.drop_partition(&on("c"), "p").await.unwrap();
    assert_eq!(w.calls.take(), [format!("drop_partition {id}")]);
    assert_eq!(w.c().partitions.len(), 1);
}

#[tokio::test]
async fn rows_of_a_dropped_partition_go_at_the_next_start_if_not_before() {
    let mut w = World::new().await;
    w.collection().await;
    w.service.create_partition(&on("c"), "p").await.unwrap();
    let id = w.c().partition("p").unwrap().id;
    w.store_segments(id, &[1], |_| {}).await;
    w.calls.fail("drop_partition");
    w.service.drop_partition(&on("c"), "p").await.unwrap();
    w.calls.heal();
    w.calls.take();
    w.restart().await;
    assert_eq!(w.calls.take(), [format!("drop_partition {id}")]);
    // Rows that are not flushed are found, too.
    let gone = PartitionId(999_999);
    *w.streams.fresh.lock() = vec![fresh(gone, 5)];
    w.service.reconcile().await;
    assert_eq!(
        w.calls.take(),
        [
            format!("drop_partition {id}"),
            format!("drop_partition {gone}")
        ]
    );
}

fn fresh(partition: PartitionId, rows: u64) -> FreshSegment {
    FreshSegment {
        id: SegmentId(70),
        partition,
        shard: 0,
        rows,
        bytes: 1,
        growing: true,
        oldest: None,
    }
}

#[tokio::test]
async fn at_most_1024_partitions() {
    let w = World::new().await;
    w.collection().await;
    for i in 1..1_024 {
        w.service
            .create_partition(&on("c"), &format!("p{i}"))
            .await
            .unwrap();
    }
    refused(
        w.service.create_partition(&on("c"), "q").await,
        "partition number (1024) exceeds max configuration (1024), collection: c",
    );
}

#[tokio::test]
async fn a_truncate_is_noted_in_the_catalog() {
    let w = World::new().await;
    let c = w.collection().await;
    w.service.truncate_collection(&on("c")).await.unwrap();
    assert_eq!(w.calls.take(), [format!("truncate {}", c.id)]);
    let stamp = Timestamp::from_unix_ms(66_000_000);
    assert_eq!(w.c().truncated, stamp);
    assert!(w.service.timestamp().await.unwrap() >= stamp);
}

#[tokio::test]
async fn rows_are_counted_fresh_and_stored_without_the_dead() {
    let w = World::new().await;
    let c = w.collection().await;
    w.service.create_partition(&on("c"), "p").await.unwrap();
    let p = w.c().partition("p").unwrap().id;
    w.store_segments(c.partitions[0].id, &[1], |s| s.deleted_rows = 100)
        .await;
    w.store_segments(p, &[2], |_| {}).await;
    *w.streams.fresh.lock() = vec![fresh(p, 5)];
    let c_name = on("c");
    let count = w.service.statistics(&c_name, None).await.unwrap();
    assert_eq!(
        count,
        Statistics {
            rows: 1_900 + 2_000 + 5
        }
    );
    let count = w.service.statistics(&c_name, Some("p")).await.unwrap();
    assert_eq!(count, Statistics { rows: 2_005 });
    let missing = w.service.statistics(&c_name, Some("q")).await.unwrap_err();
    assert_eq!(
        (missing.code, &*missing.message),
        (Code::PartitionNotFound, "partition not found[partition=q]")
    );
}

#[tokio::test]
async fn a_flush_reports_its_segments_and_all() {
    let w = World::new().await;
    let c = w.collection().await;
    w.store_segments(c.partitions[0].id, &[4, 5], |_| {}).await;
    let report = w.service.flush(&on("c")).await.unwrap();
    assert_eq!(
        (report.collection, report.segments),
        (c.id, vec![SegmentId(5)])
    );
    assert_eq!(report.all_segments, [SegmentId(4), SegmentId(5)]);
    assert!(w.service.timestamp().await.unwrap() >= report.ts);
}
