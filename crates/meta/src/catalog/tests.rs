//! DDL, told as a client sees it; propagation; crashes; and random DDL against a model.

mod following;
mod model;

use std::collections::BTreeMap;

use holdfast_types::{ChannelId, CollectionId, CollectionSchema, DataType, FieldId, FieldSchema};

use super::*;
use crate::{
    CollectionMeta, DEFAULT_DATABASE, IndexKind, IndexMeta, MemoryStore, NewCollection, RedbStore,
    contract::{put as put_raw, soon},
};

const DB: &str = DEFAULT_DATABASE;

fn schema(description: &str) -> Arc<CollectionSchema> {
    let key = FieldSchema {
        id: FieldId(100),
        name: "pk".to_owned(),
        description: description.to_owned(),
        data_type: DataType::Int64,
        element_type: None,
        dim: None,
        max_length: None,
        max_capacity: None,
        is_primary: true,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: false,
        type_params: Vec::new(),
    };
    Arc::new(CollectionSchema {
        description: String::new(),
        fields: vec![key],
        enable_dynamic_field: false,
        version: 1,
    })
}

fn new(name: &str) -> NewCollection {
    NewCollection {
        name: name.to_owned(),
        schema: schema(""),
        shards: vec![ChannelId(0)],
        consistency: 2,
        properties: BTreeMap::new(),
        num_partitions: 0,
        partitions: vec!["_default".to_owned()],
    }
}

fn at(n: u64) -> Timestamp {
    Timestamp(n)
}

async fn open(store: &Arc<MemoryStore>) -> Arc<Catalog> {
    let store: Arc<dyn MetaStore> = Arc::<MemoryStore>::clone(store);
    Catalog::open(store, at(1)).await.unwrap()
}

async fn fresh() -> Arc<Catalog> {
    open(&Arc::new(MemoryStore::new())).await
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>, code: Code, message: &str) {
    let failure = result.unwrap_err();
    assert_eq!((failure.code, &*failure.message), (code, message));
}

fn names(catalog: &Catalog, database: &str) -> Vec<String> {
    let found = catalog.snapshot().collections_of(database).unwrap();
    found.iter().map(|c| c.name.clone()).collect()
}

#[tokio::test]
async fn the_default_database_always_exists_and_is_made_once() {
    let store = Arc::new(MemoryStore::new());
    let first = open(&store).await;
    let default = Arc::clone(first.snapshot().database(DB).unwrap());
    assert_eq!((default.id.0, default.created), (1, at(1)));
    let again: Arc<dyn MetaStore> = store;
    let second = Catalog::open(again, at(9)).await.unwrap();
    assert_eq!(second.snapshot().database(DB).unwrap(), &default);
    assert_eq!(second.snapshot().database_by_id(default.id), Some(&default));
}

#[tokio::test]
async fn a_created_collection_is_found_before_the_call_returns() {
    let catalog = fresh().await;
    let made = catalog
        .create_collection(DB, &new("c"), at(5))
        .await
        .unwrap();
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.resolve(DB, "c").unwrap(), &made);
    assert_eq!(snapshot.collection(made.id), Some(&made));
    assert_eq!(names(&catalog, DB), ["c"]);
    assert!(made.id.0 >= 1_000);
    assert_eq!((made.created, made.updated), (at(5), at(5)));
    assert_eq!(made.next_field_id, FieldId(101));
    assert_eq!(made.partitions.len(), 1);
    assert_eq!(made.partitions[0].name, "_default");
    assert_ne!(made.partitions[0].id.0, made.id.0);
}

#[tokio::test]
async fn what_is_missing_is_said_as_clients_know_it() {
    let catalog = fresh().await;
    let snapshot = catalog.snapshot();
    let missing = "collection not found[database=default][collection=c]";
    refused(snapshot.resolve(DB, "c"), Code::CollectionNotFound, missing);
    let no_database = "database not found[database=d]";
    refused(
        snapshot.resolve("d", "c"),
        Code::DatabaseNotFound,
        no_database,
    );
    refused(
        snapshot.collections_of("d"),
        Code::DatabaseNotFound,
        no_database,
    );
    let no_alias = "alias not found[database=default][alias=a]";
    refused(snapshot.alias(DB, "a"), Code::AliasNotFound, no_alias);
    refused(
        catalog.create_collection("d", &new("c"), at(2)).await,
        Code::DatabaseNotFound,
        no_database,
    );
    refused(
        catalog.rename_collection(DB, "c", DB, "e", at(2)).await,
        Code::CollectionNotFound,
        missing,
    );
    refused(
        catalog
            .update_collection(CollectionId(7), None, |c| Ok(c.clone()))
            .await,
        Code::CollectionNotFound,
        "collection not found[collection=7]",
    );
    assert_eq!(
        catalog.begin_drop_collection(DB, "c", at(2)).await,
        Ok(None)
    );
    assert_eq!(
        catalog.finish_drop_collection(CollectionId(7)).await,
        Ok(())
    );
    assert_eq!(catalog.drop_alias(DB, "a").await, Ok(()));
    assert_eq!(catalog.drop_database("d").await, Ok(false));
}

#[tokio::test]
async fn creating_the_same_collection_again_is_success_and_another_one_is_not() {
    let catalog = fresh().await;
    let first = catalog
        .create_collection(DB, &new("c"), at(5))
        .await
        .unwrap();
    let again = catalog
        .create_collection(DB, &new("c"), at(6))
        .await
        .unwrap();
    assert_eq!(first, again);
    let different = [
        NewCollection {
            schema: schema("other"),
            ..new("c")
        },
        NewCollection {
            shards: vec![ChannelId(0); 2],
            ..new("c")
        },
        NewCollection {
            consistency: 0,
            ..new("c")
        },
        NewCollection {
            properties: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            ..new("c")
        },
        NewCollection {
            num_partitions: 16,
            ..new("c")
        },
    ];
    for new in different {
        refused(
            catalog.create_collection(DB, &new, at(7)).await,
            Code::InvalidArgument,
            "create duplicate collection with different parameters, collection: c",
        );
    }
    refused(
        catalog.create_collection(DB, &new("1c"), at(7)).await,
        Code::InvalidArgument,
        "Invalid collection name: 1c. the first character of a collection name must be an underscore or letter",
    );
    assert_eq!(catalog.snapshot().collections_count(), 1);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_leaves_nothing() {
    let catalog = fresh().await;
    let bad = NewCollection {
        consistency: 9,
        ..new("c")
    };
    let failure = catalog
        .create_collection(DB, &bad, at(2))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
    let large = NewCollection {
        schema: schema(&"x".repeat(2 << 20)),
        ..new("c")
    };
    let failure = catalog
        .create_collection(DB, &large, at(2))
        .await
        .unwrap_err();
    assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
    assert_eq!(catalog.snapshot().collections_count(), 0);
    catalog
        .create_collection(DB, &new("c"), at(3))
        .await
        .unwrap();
}

#[tokio::test]
async fn aliases_share_the_name_space_of_collections() {
    let catalog = fresh().await;
    let a = catalog
        .create_collection(DB, &new("a"), at(2))
        .await
        .unwrap();
    let b = catalog
        .create_collection(DB, &new("b"), at(2))
        .await
        .unwrap();
    catalog.create_alias(DB, "x", "a").await.unwrap();
    catalog.create_alias(DB, "x", "a").await.unwrap();
    catalog.create_alias(DB, "w", "a").await.unwrap();
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.resolve(DB, "x").unwrap().id, a.id);
    assert_eq!(snapshot.resolve(DB, "a").unwrap().aliases, ["w", "x"]);
    assert_eq!(snapshot.alias(DB, "x").unwrap().collection_name, "a");
    let listed = snapshot.aliases_of(DB).unwrap();
    assert_eq!(
        listed.iter().map(|a| &*a.name).collect::<Vec<_>>(),
        ["w", "x"]
    );
    assert_eq!(names(&catalog, DB), ["a", "b"]);
    refused(
        snapshot.alias(DB, "a"),
        Code::AliasNotFound,
        "alias not found[database=default][alias=a]",
    );
    refused(
        catalog.create_alias(DB, "x", "b").await,
        Code::AliasExists,
        "x is alias to another collection: a: alias already exist[database=default][alias=x]",
    );
    let conflict = "alias and collection name conflict[database=default][alias=b]";
    refused(
        catalog.create_alias(DB, "b", "a").await,
        Code::AliasNameConflict,
        conflict,
    );
    refused(
        catalog.alter_alias(DB, "b", "a").await,
        Code::AliasNameConflict,
        conflict,
    );
    refused(
        catalog.create_alias(DB, "y", "x").await,
        Code::CollectionNotFound,
        "collection not found[database=default][collection=x]",
    );
    refused(
        catalog.alter_alias(DB, "y", "a").await,
        Code::AliasNotFound,
        "alias not found[database=default][alias=y]",
    );
    refused(
        catalog.drop_alias(DB, "a").await,
        Code::AliasNotFound,
        "alias not found[database=default][alias=a]",
    );
    refused(
        catalog.create_collection(DB, &new("x"), at(3)).await,
        Code::AliasNameConflict,
        "collection name [x] conflicts with an existing alias, please choose a unique name",
    );
    // In either order of the two collections' ids.
    catalog.alter_alias(DB, "x", "b").await.unwrap();
    catalog.alter_alias(DB, "x", "b").await.unwrap();
    assert_eq!(catalog.snapshot().resolve(DB, "x").unwrap().id, b.id);
    catalog.alter_alias(DB, "x", "a").await.unwrap();
    assert_eq!(catalog.snapshot().resolve(DB, "x").unwrap().id, a.id);
    catalog.drop_alias(DB, "x").await.unwrap();
    assert!(catalog.snapshot().find(a.database, "x").is_none());
    catalog
        .create_collection(DB, &new("x"), at(3))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_drop_frees_the_name_at_once_and_the_id_when_finished() {
    let store = Arc::new(MemoryStore::new());
    let catalog = open(&store).await;
    let old = catalog
        .create_collection(DB, &new("c"), at(2))
        .await
        .unwrap();
    catalog.create_alias(DB, "x", "c").await.unwrap();
    refused(
        catalog.begin_drop_collection(DB, "x", at(3)).await,
        Code::InvalidArgument,
        "cannot drop the collection via alias = x",
    );
    refused(
        catalog.begin_drop_collection(DB, "c", at(3)).await,
        Code::InvalidArgument,
        "unable to drop the collection [c] because it has associated aliases [x], please remove all aliases before dropping the collection",
    );
    catalog.drop_alias(DB, "x").await.unwrap();
    let failure = catalog.finish_drop_collection(old.id).await.unwrap_err();
    assert_eq!(failure.code, Code::Internal);
    let dropping = catalog
        .begin_drop_collection(DB, "c", at(3))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(dropping.id, old.id);
    assert!(catalog.snapshot().resolve(DB, "c").is_err());
    assert!(catalog.snapshot().collection(old.id).is_none());
    let young = catalog
        .create_collection(DB, &new("c"), at(4))
        .await
        .unwrap();
    assert!(young.id > old.id);

    // The process dies between the phases: the next one finds what is left to do.
    drop(catalog);
    let catalog = open(&store).await;
    let snapshot = catalog.snapshot();
    let left: Vec<_> = snapshot.list_dropping().iter().map(|c| c.id).collect();
    assert_eq!(left, [old.id]);
    assert!(snapshot.collection_in_any_state(old.id).is_some());
    assert_eq!(snapshot.resolve(DB, "c").unwrap().id, young.id);
    refused(
        catalog
            .update_collection(old.id, None, |c| Ok(c.clone()))
            .await,
        Code::CollectionNotFound,
        &format!("collection not found[collection={}]", old.id),
    );
    catalog.finish_drop_collection(old.id).await.unwrap();
    catalog.finish_drop_collection(old.id).await.unwrap();
    assert!(catalog.snapshot().list_dropping().is_empty());
    assert_eq!(catalog.snapshot().resolve(DB, "c").unwrap().id, young.id);
}

#[tokio::test]
async fn a_rename_keeps_everything_but_the_name() {
    let catalog = fresh().await;
    catalog.create_database("d", vec![], at(2)).await.unwrap();
    let c = catalog
        .create_collection(DB, &new("c"), at(2))
        .await
        .unwrap();
    catalog
        .create_collection(DB, &new("other"), at(2))
        .await
        .unwrap();
    catalog.create_alias(DB, "x", "c").await.unwrap();
    for taken in ["other", "x"] {
        refused(
            catalog.rename_collection(DB, "c", DB, taken, at(3)).await,
            Code::InvalidArgument,
            &format!(
                "duplicated new collection name {taken} in database default with other collection name or alias"
            ),
        );
    }
    refused(
        catalog.rename_collection(DB, "x", DB, "e", at(3)).await,
        Code::InvalidArgument,
        "unsupported use an alias to rename collection, alias:x",
    );
    refused(
        catalog.rename_collection(DB, "c", "d", "c", at(3)).await,
        Code::InvalidArgument,
        "fail to rename collection to different database, must drop all aliases of collection c before rename",
    );
    refused(
        catalog.rename_collection(DB, "c", DB, "c", at(3)).await,
        Code::InvalidArgument,
        "collection name or database name should be different",
    );
    refused(
        catalog
            .rename_collection(DB, "c", "nowhere", "c", at(3))
            .await,
        Code::DatabaseNotFound,
        "database not found[database=nowhere]",
    );
    catalog
        .rename_collection(DB, "c", DB, "e", at(3))
        .await
        .unwrap();
    let snapshot = catalog.snapshot();
    assert!(snapshot.resolve(DB, "c").is_err());
    assert_eq!(snapshot.resolve(DB, "e").unwrap().id, c.id);
    assert_eq!(snapshot.resolve(DB, "e").unwrap().updated, at(3));
    assert_eq!(snapshot.resolve(DB, "x").unwrap().name, "e");
    catalog.drop_alias(DB, "x").await.unwrap();
    catalog
        .rename_collection(DB, "e", "d", "e", at(4))
        .await
        .unwrap();
    assert_eq!(names(&catalog, DB), ["other"]);
    assert_eq!(names(&catalog, "d"), ["e"]);
    assert_eq!(catalog.snapshot().resolve("d", "e").unwrap().id, c.id);
}

#[tokio::test]
async fn a_database_is_dropped_only_when_empty() {
    let catalog = fresh().await;
    let d = catalog
        .create_database("d", vec![("k".to_owned(), "v".to_owned())], at(2))
        .await
        .unwrap();
    assert!(d.id.0 >= 1_000);
    refused(
        catalog.create_database("d", vec![], at(3)).await,
        Code::InvalidArgument,
        "database already exist: d",
    );
    refused(
        catalog.drop_database(DB).await,
        Code::InvalidArgument,
        "can not drop default database",
    );
    catalog
        .create_collection("d", &new("c"), at(3))
        .await
        .unwrap();
    refused(
        catalog.drop_database("d").await,
        Code::InvalidArgument,
        "database:d not empty, must drop all collections before drop database",
    );
    let altered = catalog
        .alter_database("d", |old| {
            let more = ("l".to_owned(), "w".to_owned());
            Ok(old.iter().cloned().chain([more]).collect())
        })
        .await
        .unwrap();
    assert_eq!(altered.properties.len(), 2);
    assert_eq!(catalog.snapshot().database("d").unwrap(), &altered);
    catalog
        .begin_drop_collection("d", "c", at(4))
        .await
        .unwrap();
    assert_eq!(catalog.drop_database("d").await, Ok(true));
    assert!(catalog.snapshot().database("d").is_err());
    // What is left to clean up does not need the database.
    assert_eq!(catalog.snapshot().list_dropping().len(), 1);
}

#[tokio::test]
async fn an_update_moves_the_stamp_only_when_told_to() {
    let catalog = fresh().await;
    let c = catalog
        .create_collection(DB, &new("c"), at(10))
        .await
        .unwrap();
    let with_index = |c: &CollectionMeta| {
        let mut c = c.clone();
        c.indexes.push(IndexMeta {
            id: holdfast_types::IndexId(5),
            field: FieldId(100),
            name: "pk".to_owned(),
            kind: IndexKind::StlSort,
            asked: vec![],
            metric: None,
            json_path: None,
            created: at(11),
        });
        Ok(c)
    };
    let updated = catalog
        .update_collection(c.id, None, with_index)
        .await
        .unwrap();
    assert_eq!((updated.indexes.len(), updated.updated), (1, at(10)));
    assert_eq!(catalog.snapshot().collection(c.id), Some(&updated));
    let properties = |value: &'static str| {
        move |c: &CollectionMeta| {
            let mut c = c.clone();
            c.properties.insert("k".to_owned(), value.to_owned());
            Ok(c)
        }
    };
    let updated = catalog
        .update_collection(c.id, Some(at(20)), properties("1"))
        .await
        .unwrap();
    assert_eq!(updated.updated, at(20));
    // A clock that went back does not take the stamp with it.
    let updated = catalog
        .update_collection(c.id, Some(at(15)), properties("2"))
        .await
        .unwrap();
    assert_eq!(updated.updated, at(21));
    let revision = catalog.snapshot().revision();
    let same = catalog
        .update_collection(c.id, Some(at(30)), |c| Ok(c.clone()))
        .await
        .unwrap();
    assert_eq!(
        (same.updated, catalog.snapshot().revision()),
        (at(21), revision)
    );
    refused(
        catalog
            .update_collection(c.id, None, |_| Err(Failure::invalid("no")))
            .await,
        Code::InvalidArgument,
        "no",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_updates_through_two_catalogs_lose_nothing() {
    let store = Arc::new(MemoryStore::new());
    let catalogs = [open(&store).await, open(&store).await];
    let c = catalogs[0]
        .create_collection(DB, &new("c"), at(2))
        .await
        .unwrap();
    let id = c.id;
    let tasks = (0..8).map(|i| {
        let catalog = Arc::clone(&catalogs[i % 2]);
        tokio::spawn(async move {
            for j in 0..10 {
                let key = format!("{i}-{j}");
                let add = |c: &CollectionMeta| {
                    let mut c = c.clone();
                    c.properties.insert(key.clone(), String::new());
                    Ok(c)
                };
                let updated = catalog
                    .update_collection(id, Some(at(3)), add)
                    .await
                    .unwrap();
                assert!(updated.properties.contains_key(&key));
                assert!(
                    catalog
                        .snapshot()
                        .collection(id)
                        .unwrap()
                        .properties
                        .contains_key(&key)
                );
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    let end = open(&store).await.snapshot();
    let end = end.collection(id).unwrap();
    assert_eq!(end.properties.len(), 80);
    assert_eq!(end.updated, at(2 + 80));
}
