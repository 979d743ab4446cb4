//! DDL of indexes.

use holdfast_meta::IndexKind;
use holdfast_node_api::{
    Coordinator,
    coordinator::{AlterParams, Load},
};
use holdfast_types::{Code, DataType, Metric};

use super::{
    fixtures::index_entry,
    world::{World, on, refused},
};

const HNSW: [(&str, &str); 2] = [("index_type", "HNSW"), ("metric_type", "L2")];

#[tokio::test]
async fn an_index_is_named_after_its_field_and_made_once() {
    let w = World::new().await;
    w.collection().await;
    w.index("vec", &HNSW).await.unwrap();
    w.index("vec", &HNSW).await.unwrap();
    w.named_index("vec", "vec", &HNSW).await.unwrap();
    let c = w.c();
    assert_eq!(c.indexes.len(), 1);
    let index = &c.indexes[0];
    assert_eq!((&*index.name, index.metric), ("vec", Some(Metric::L2)));
    assert_eq!(
        index.kind,
        IndexKind::Hnsw {
            m: 16,
            ef_construction: 200
        }
    );
    assert_eq!(index.asked[0], ("index_type".to_owned(), "HNSW".to_owned()));
}

#[tokio::test]
async fn one_distinct_index_a_field() {
    let w = World::new().await;
    w.collection().await;
    w.index("vec", &HNSW).await.unwrap();
    let distinct = "CreateIndex failed: at most one distinct index is allowed per field";
    refused(
        w.index("vec", &[("index_type", "FLAT"), ("metric_type", "L2")])
            .await,
        distinct,
    );
    refused(
        w.index("vec", &[("index_type", "HNSW"), ("metric_type", "IP")])
            .await,
        distinct,
    );
    refused(
        w.named_index("name", "vec", &[("index_type", "INVERTED")])
            .await,
        distinct,
    );
    refused(
        w.named_index("vec", "other", &HNSW).await,
        "CreateIndex failed: creating multiple indexes on same field is not supported",
    );
    refused(
        w.index("nope", &HNSW).await,
        "cannot create index on non-exist field: nope",
    );
    refused(
        w.named_index("vec", "1x", &HNSW).await,
        "Invalid index name: 1x. the first character of a index name must be an underscore or letter",
    );
    assert_eq!(w.c().indexes.len(), 1);
}

#[tokio::test]
async fn each_path_of_a_json_field_has_its_own_index() {
    let w = World::new().await;
    w.collection().await;
    let path = |path: &'static str, cast: &'static str| {
        [
            ("index_type", "INVERTED"),
            ("json_path", path),
            ("json_cast_type", cast),
        ]
    };
    w.index("$meta", &path("$meta[\"a\"][\"b\"]", "DOUBLE"))
        .await
        .unwrap();
    w.index("color", &path("color", "VARCHAR")).await.unwrap();
    w.index("color", &path("color", "VARCHAR")).await.unwrap();
    refused(
        w.index("color", &path("color", "BOOL")).await,
        "CreateIndex failed: at most one distinct index is allowed per field",
    );
    let c = w.c();
    let names: Vec<&str> = c.indexes.iter().map(|i| &*i.name).collect();
    assert_eq!(names, ["$meta/a/b", "$meta/color"]);
    assert_eq!(
        c.indexes[1].json_path.as_ref().unwrap().cast,
        DataType::VarChar
    );
}

#[tokio::test]
async fn a_vector_index_is_not_dropped_while_it_is_loaded() {
    let w = World::new().await;
    w.collection().await;
    w.index("vec", &HNSW).await.unwrap();
    w.index("name", &[]).await.unwrap();
    let c = on("c");
    w.service.load(&c, Load::default()).await.unwrap();
    let loaded = "index cannot be dropped, collection is loaded, please release it first";
    refused(w.service.drop_index(&c, "vec", "").await, loaded);
    refused(w.service.drop_index(&c, "", "vec").await, loaded);
    w.service.drop_index(&c, "name", "").await.unwrap();
    w.service.drop_index(&c, "", "missing").await.unwrap();
    w.service.drop_index(&c, "missing", "").await.unwrap();
    assert_eq!(w.c().indexes.len(), 1);
    w.service.release(&c).await.unwrap();
    w.service.drop_index(&c, "vec", "vec").await.unwrap();
    assert!(w.c().indexes.is_empty());
}

#[tokio::test]
async fn files_of_a_dropped_index_leave_the_manifests() {
    let w = World::new().await;
    let c = w.collection().await;
    w.index("vec", &HNSW).await.unwrap();
    let index = w.c().indexes[0].id;
    let shard = c.shard_ids().next().unwrap();
    w.store_segments(c.partitions[0].id, &[1], |s| {
        s.indexes = vec![index_entry(shard, s.id, index)];
    })
    .await;
    w.service.reconcile().await;
    assert_eq!(w.segments().await, [(1, 1)]);
    w.service.drop_index(&on("c"), "vec", "").await.unwrap();
    w.service.reconcile().await;
    assert_eq!(w.segments().await, [(1, 0)]);
    let version = w.manifests.version(shard).await.unwrap();
    w.service.reconcile().await;
    assert_eq!(
        w.manifests.version(shard).await.unwrap(),
        version,
        "nothing more to do"
    );
}

#[tokio::test]
async fn only_what_changes_no_file_may_be_altered() {
    let w = World::new().await;
    w.collection().await;
    w.index("vec", &HNSW).await.unwrap();
    let set = |key: &str, value: &str| AlterParams {
        set: vec![(key.to_owned(), value.to_owned())],
        remove: Vec::new(),
    };
    let c = on("c");
    w.service
        .alter_index(&c, "vec", set("mmap.enabled", "true"))
        .await
        .unwrap();
    assert!(
        w.c().indexes[0]
            .asked
            .contains(&("mmap.enabled".to_owned(), "true".to_owned()))
    );
    w.index("vec", &HNSW)
        .await
        .expect("it is still the same index");
    refused(
        w.service.alter_index(&c, "vec", set("M", "8")).await,
        "M is not a configable index property",
    );
    refused(
        w.service
            .alter_index(&c, "vec", set("mmap.enabled", "8"))
            .await,
        "invalid mmap.enabled value: 8, expected: true, false",
    );
    let missing = w
        .service
        .alter_index(&c, "x", set("warmup", "sync"))
        .await
        .unwrap_err();
    assert_eq!(
        (missing.code, &*missing.message),
        (Code::IndexNotFound, "index not found[index=x]")
    );
}
