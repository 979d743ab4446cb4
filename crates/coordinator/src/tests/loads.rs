//! Load and release.

use holdfast_meta::LoadSpec;
use holdfast_node_api::{
    Coordinator,
    coordinator::{Load, LoadState},
    query_node::LoadProgress,
};
use holdfast_types::{Code, DataType, Failure, FieldSchema};

use super::{
    fixtures::{field, schema},
    world::{World, new, on, refused},
};

fn partitions(names: &[&str]) -> Load {
    Load {
        partitions: strings(names),
        ..Load::default()
    }
}

fn fields(names: &[&str]) -> Load {
    Load {
        fields: strings(names),
        ..Load::default()
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

impl World {
    /// `c` with partitions `p` and `q` and an index.
    async fn indexed(&self) {
        self.collection().await;
        for partition in ["p", "q"] {
            self.service
                .create_partition(&on("c"), partition)
                .await
                .unwrap();
        }
        self.index("vec", &[]).await.unwrap();
    }

    /// The names of the loaded partitions; `None` when nothing is loaded.
    fn loaded(&self) -> Option<Vec<String>> {
        let c = self.c();
        let LoadSpec { partitions, .. } = c.load.clone()?;
        let name = |id| c.partition_by_id(id).unwrap().name.clone();
        Some(partitions.into_iter().map(name).collect())
    }

    async fn state(&self, partitions: &[&str]) -> LoadState {
        self.service
            .load_state(&on("c"), &strings(partitions))
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn every_vector_needs_an_index() {
    let w = World::new().await;
    let mut two = schema();
    two.fields.insert(
        2,
        FieldSchema {
            id: holdfast_types::FieldId(110),
            ..field("vec2", DataType::FloatVector)
        },
    );
    w.service.create_collection(new("c", two)).await.unwrap();
    let load = |load| async { w.service.load(&on("c"), load).await };
    let none = load(Load::default()).await.unwrap_err();
    assert_eq!(
        (none.code, &*none.message),
        (Code::IndexNotFound, "index not found[collection=c]")
    );
    w.index("name", &[]).await.unwrap();
    refused(
        load(Load::default()).await,
        "there is no vector index on field: [vec vec2], please create index firstly",
    );
    w.index("vec", &[]).await.unwrap();
    refused(
        load(Load::default()).await,
        "there is no vector index on field: [vec2], please create index firstly",
    );
    assert_eq!(w.loaded(), None);
    load(fields(&["id", "vec"])).await.unwrap();
    assert_eq!(w.c().load.as_ref().unwrap().fields.len(), 2);
    refused(
        load(Load::default()).await,
        "can't change the load field list for loaded collection, please release it first",
    );
}

#[tokio::test]
async fn loads_that_cannot_be_served_are_refused() {
    let w = World::new().await;
    w.indexed().await;
    for (load, message) in [
        (
            Load {
                replicas: 2,
                ..Load::default()
            },
            "no enough nodes to create replicas: 2 replicas are asked for and there is 1 query node",
        ),
        (
            fields(&["vec"]),
            "load field list [vec] does not contain primary key field id",
        ),
        (
            fields(&["id", "name"]),
            "load field list [id name] does not contain vector field",
        ),
        (fields(&["id", "x"]), "field x not found in collection c"),
    ] {
        refused(w.service.load(&on("c"), load).await, message);
    }
    let missing = w
        .service
        .load(&on("c"), partitions(&["x"]))
        .await
        .unwrap_err();
    assert_eq!(
        (missing.code, &*missing.message),
        (Code::PartitionNotFound, "partition not found[partition=x]")
    );
    assert!(w.calls.take().is_empty());
}

#[tokio::test]
async fn all_fields_by_name_are_all_fields() {
    let w = World::new().await;
    w.indexed().await;
    w.service
        .load(&on("c"), fields(&["name", "vec", "id"]))
        .await
        .unwrap();
    w.service.load(&on("c"), Load::default()).await.unwrap();
}

#[tokio::test]
async fn partitions_add_up_and_the_last_release_releases_the_collection() {
    let w = World::new().await;
    w.indexed().await;
    let c = on("c");
    let id = w.c().id;
    w.service.load(&c, partitions(&["p"])).await.unwrap();
    assert_eq!(w.loaded(), Some(strings(&["p"])));
    w.service.load(&c, partitions(&["q", "p"])).await.unwrap();
    assert_eq!(w.loaded(), Some(strings(&["p", "q"])));
    assert_eq!(w.state(&["q"]).await, LoadState::Loaded);
    assert_eq!(w.state(&["_default"]).await, LoadState::NotLoaded);
    refused(
        w.service.drop_partition(&c, "p").await,
        "partition cannot be dropped, partition is loaded, please release it first",
    );
    w.service
        .release_partitions(&c, &strings(&["p"]))
        .await
        .unwrap();
    w.service.drop_partition(&c, "p").await.unwrap();
    w.calls.take();
    w.service
        .release_partitions(&c, &strings(&["q"]))
        .await
        .unwrap();
    assert_eq!(w.loaded(), None);
    assert_eq!(w.calls.take(), [format!("release {id}")]);
    w.service
        .release_partitions(&c, &strings(&["q"]))
        .await
        .expect("not loaded is released");
    let missing = w
        .service
        .release_partitions(&c, &strings(&["x"]))
        .await
        .unwrap_err();
    assert_eq!(missing.code, Code::PartitionNotFound);
}

#[tokio::test]
async fn a_loaded_collection_has_all_partitions_until_some_are_released() {
    let w = World::new().await;
    w.indexed().await;
    let c = on("c");
    w.service.load(&c, partitions(&["p"])).await.unwrap();
    w.service.load(&c, Load::default()).await.unwrap();
    assert_eq!(w.loaded(), Some(vec![]), "all");
    w.service.load(&c, partitions(&["p"])).await.unwrap();
    assert_eq!(w.loaded(), Some(vec![]), "still all");
    refused(
        w.service.drop_partition(&c, "p").await,
        "partition cannot be dropped, partition is loaded, please release it first",
    );
    w.service
        .release_partitions(&c, &strings(&["p"]))
        .await
        .unwrap();
    assert_eq!(w.loaded(), Some(strings(&["_default", "q"])));
    w.service.release(&c).await.unwrap();
    w.service.release(&c).await.expect("not loaded is released");
    assert_eq!(w.loaded(), None);
}

#[tokio::test]
async fn the_state_of_a_load_follows_the_query_node() {
    let w = World::new().await;
    assert_eq!(
        w.service.load_state(&on("c"), &[]).await,
        Ok(LoadState::NotExist)
    );
    w.indexed().await;
    assert_eq!(w.state(&[]).await, LoadState::NotLoaded);
    assert_eq!(w.state(&["x"]).await, LoadState::NotExist);
    w.service.load(&on("c"), Load::default()).await.unwrap();
    let mut steps = Vec::new();
    for (loaded, total) in [(0, 3), (2, 3), (999, 1_000), (3, 3), (0, 0)] {
        *w.queries.progress.lock() = Ok(LoadProgress { loaded, total });
        steps.push(w.state(&[]).await);
    }
    use LoadState::{Loaded, Loading};
    assert_eq!(
        steps,
        [Loading(0), Loading(66), Loading(99), Loaded, Loaded]
    );
    *w.queries.progress.lock() = Err(Failure::new(Code::CollectionNotLoaded, "not yet"));
    assert_eq!(w.state(&["p"]).await, Loading(0));
    *w.queries.progress.lock() = Err(Failure::new(Code::Corrupt, "a file is damaged"));
    let failure = w.service.load_state(&on("c"), &[]).await.unwrap_err();
    assert_eq!(failure.code, Code::Corrupt);
}

#[tokio::test]
async fn what_is_loaded_is_loaded_after_a_restart() {
    let mut w = World::new().await;
    w.indexed().await;
    w.service
        .create_collection(new("other", schema()))
        .await
        .unwrap();
    w.service.load(&on("c"), Load::default()).await.unwrap();
    w.calls.take();
    w.restart().await;
    assert_eq!(w.calls.take(), [format!("load {}", w.c().id)]);
    w.service.release(&on("c")).await.unwrap();
    w.calls.take();
    w.restart().await;
    assert!(w.calls.take().is_empty());
}

#[tokio::test]
async fn a_partition_key_leaves_no_choice_of_partitions() {
    let w = World::new().await;
    let mut keyed = schema();
    keyed.fields[2].is_partition_key = true;
    w.service.create_collection(new("c", keyed)).await.unwrap();
    w.index("vec", &[]).await.unwrap();
    refused(
        w.service.load(&on("c"), partitions(&["_default_0"])).await,
        "disable load partitions if partition key mode is used",
    );
    refused(
        w.service.load(&on("c"), fields(&["id", "vec"])).await,
        "load field list [id vec] does not contain partition key field name",
    );
}
