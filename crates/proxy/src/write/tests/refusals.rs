//! Requests that are refused: the code, a word of the text, and that nothing is written.

use holdfast_proto::milvus::{
    milvus::{DeleteRequest, InsertRequest, UpsertRequest},
    schema::FieldData,
};
use holdfast_types::{
    Code::{
        self, CollectionNotFound, DatabaseNotFound, InvalidArgument, PartitionNotFound,
        SchemaMismatch, Unsupported,
    },
    DataType, FieldSchema, Pk,
};

use super::{
    node::{Setup, World, world},
    wire::*,
};

enum Ask {
    Insert(InsertRequest),
    Upsert(UpsertRequest),
    Delete(DeleteRequest),
}

#[track_caller]
fn check(
    what: &str,
    world: &World,
    result: Result<impl std::fmt::Debug, holdfast_types::Failure>,
    code: Code,
    words: &[&str],
) {
    let failure = result.expect_err(what);
    assert_eq!(failure.code, code, "{what}: {failure}");
    for word in words {
        assert!(failure.message.contains(word), "{what}: {failure}");
    }
    assert!(world.requests().is_empty(), "{what}: something was written");
    assert_eq!(world.node.state().home(&Pk::Int(1)), None);
}

async fn table(world: &World, rows: Vec<(&str, Ask, Code, &[&str])>) {
    for (what, ask, code, words) in rows {
        let result = match ask {
            Ask::Insert(request) => world.insert(request).await,
            Ask::Upsert(request) => world.upsert(request).await,
            Ask::Delete(request) => world.delete(request).await,
        };
        check(what, world, result, code, words);
    }
}

/// `id`, `v`, and more fields of one row.
fn one(more: Vec<FieldData>) -> Vec<FieldData> {
    [vec![longs("id", [1]), vectors("v", &[[1., 2.]])], more].concat()
}

#[tokio::test]
async fn wrong_rows_are_refused_by_name() {
    use Ask::Insert;
    let world = world(Setup::of(rich())).await;
    let insert = |data| Insert(inserting(1, data));
    let wide = FieldData {
        r#type: DataType::Int32.wire_number(),
        ..longs("n", [1])
    };
    let nan = vectors("v", &[[f32::NAN, 0.]]);
    let cases: Vec<(&str, Ask, Code, &[&str])> = vec![
        (
            "no rows",
            Insert(inserting(0, one(vec![]))),
            InvalidArgument,
            &["num_rows"],
        ),
        (
            "no fields",
            insert(vec![]),
            InvalidArgument,
            &["fields_data"],
        ),
        (
            "no key",
            insert(vec![vectors("v", &[[1., 2.]])]),
            InvalidArgument,
            &["id", "primary key"],
        ),
        (
            "no vector",
            insert(vec![longs("id", [1])]),
            InvalidArgument,
            &["field v", "required"],
        ),
        (
            "too few rows",
            Insert(inserting(2, one(vec![]))),
            InvalidArgument,
            &["num_rows", "id"],
        ),
        (
            "too many rows",
            insert(vec![longs("id", [1, 2]), vectors("v", &[[1., 2.]])]),
            InvalidArgument,
            &["num_rows", "id"],
        ),
        (
            "billions of rows",
            Insert(inserting(u32::MAX, one(vec![]))),
            InvalidArgument,
            &["num_rows"],
        ),
        (
            "an unknown field",
            insert(one(vec![longs("stray", [1])])),
            InvalidArgument,
            &["stray", "not exist"],
        ),
        (
            "a field without a name",
            insert(one(vec![longs("", [1])])),
            InvalidArgument,
            &["not exist"],
        ),
        (
            "a field twice",
            insert(one(vec![longs("n", [1]), longs("n", [1])])),
            InvalidArgument,
            &["n", "duplicated"],
        ),
        (
            "the key twice",
            insert(one(vec![longs("id", [1])])),
            InvalidArgument,
            &["id", "duplicated"],
        ),
        (
            "dynamic data twice",
            insert(one(vec![dynamic(&["{}"]), dynamic(&["{}"])])),
            InvalidArgument,
            &["$meta", "duplicated"],
        ),
        (
            "another type",
            insert(one(vec![texts("n", &["1"])])),
            InvalidArgument,
            &["n", "type"],
        ),
        (
            "another width",
            insert(one(vec![wide])),
            InvalidArgument,
            &["n", "type"],
        ),
        (
            "a null key",
            insert(vec![
                valid(longs("id", []), &[false]),
                vectors("v", &[[1., 2.]]),
            ]),
            InvalidArgument,
            &["id", "null"],
        ),
        (
            "a null vector",
            insert(vec![longs("id", [1]), valid(vectors("v", &[]), &[false])]),
            InvalidArgument,
            &["v", "null"],
        ),
        (
            "not a number",
            insert(vec![longs("id", [1]), nan]),
            InvalidArgument,
            &["v"],
        ),
        (
            "text too long",
            insert(one(vec![texts("s", &[&"x".repeat(33)])])),
            InvalidArgument,
            &["s", "length"],
        ),
        (
            "an array too long",
            insert(one(vec![long_lists("tags", &[&[1; 7]])])),
            InvalidArgument,
            &["tags", "capacity"],
        ),
        (
            "dynamic data that is no object",
            insert(one(vec![dynamic(&["[1]"])])),
            InvalidArgument,
            &["object"],
        ),
        (
            "dynamic data that is no JSON",
            insert(one(vec![dynamic(&["{"])])),
            InvalidArgument,
            &["json"],
        ),
        (
            "a dynamic key of a field's name",
            insert(one(vec![dynamic(&[r#"{"n": 1}"#])])),
            InvalidArgument,
            &["n", "field"],
        ),
        (
            "a dynamic key $meta",
            insert(one(vec![dynamic(&[r#"{"$meta": 1}"#])])),
            InvalidArgument,
            &["$meta"],
        ),
        (
            "wrong presence",
            insert(one(vec![valid(longs("n", [1]), &[true, false])])),
            InvalidArgument,
            &["n", "valid_data"],
        ),
    ];
    assert!(cases.len() >= 20);
    table(&world, cases).await;
}

#[tokio::test]
async fn requests_that_go_nowhere_are_refused() {
    use Ask::{Delete, Insert, Upsert};
    let world = world(Setup::of(rich())).await;
    let insert = || inserting(1, one(vec![]));
    let upsert = || upserting(1, one(vec![]));
    let delete = || deleting("id == 1");
    let some = |s: &str| s.to_owned();
    let stale = world.meta.updated.0 - 1;
    let cases: Vec<(&str, Ask, Code, &[&str])> = vec![
        (
            "insert: no database",
            Insert(InsertRequest {
                db_name: some("x"),
                ..insert()
            }),
            DatabaseNotFound,
            &["x"],
        ),
        (
            "insert: no collection",
            Insert(InsertRequest {
                collection_name: some("x"),
                ..insert()
            }),
            CollectionNotFound,
            &["x"],
        ),
        (
            "insert: no name",
            Insert(InsertRequest {
                collection_name: some(""),
                ..insert()
            }),
            InvalidArgument,
            &["collection_name"],
        ),
        (
            "insert: no partition",
            Insert(InsertRequest {
                partition_name: some("x"),
                ..insert()
            }),
            PartitionNotFound,
            &["x"],
        ),
        (
            "insert: old schema",
            Insert(InsertRequest {
                schema_timestamp: stale,
                ..insert()
            }),
            SchemaMismatch,
            &["c"],
        ),
        (
            "insert: name space",
            Insert(InsertRequest {
                namespace: Some(some("x")),
                ..insert()
            }),
            Unsupported,
            &["namespace"],
        ),
        (
            "upsert: no collection",
            Upsert(UpsertRequest {
                collection_name: some("x"),
                ..upsert()
            }),
            CollectionNotFound,
            &["x"],
        ),
        (
            "upsert: no partition",
            Upsert(UpsertRequest {
                partition_name: some("x"),
                ..upsert()
            }),
            PartitionNotFound,
            &["x"],
        ),
        (
            "upsert: old schema",
            Upsert(UpsertRequest {
                schema_timestamp: stale,
                ..upsert()
            }),
            SchemaMismatch,
            &["c"],
        ),
        (
            "upsert: name space",
            Upsert(UpsertRequest {
                namespace: Some(some("x")),
                ..upsert()
            }),
            Unsupported,
            &["namespace"],
        ),
        (
            "delete: no collection",
            Delete(DeleteRequest {
                collection_name: some("x"),
                ..delete()
            }),
            CollectionNotFound,
            &["x"],
        ),
        (
            "delete: no partition",
            Delete(DeleteRequest {
                partition_name: some("x"),
                ..delete()
            }),
            PartitionNotFound,
            &["x"],
        ),
        (
            "delete: name space",
            Delete(DeleteRequest {
                namespace: Some(some("x")),
                ..delete()
            }),
            Unsupported,
            &["namespace"],
        ),
        (
            "delete: empty",
            Delete(deleting("")),
            InvalidArgument,
            &["expr"],
        ),
        (
            "delete: blank",
            Delete(deleting(" \n")),
            InvalidArgument,
            &["expr"],
        ),
        (
            "delete: everything",
            Delete(deleting("true")),
            InvalidArgument,
            &["always true"],
        ),
        (
            "delete: half a filter",
            Delete(deleting("id in [")),
            InvalidArgument,
            &["parse"],
        ),
        (
            "delete: unknown field",
            Delete(deleting("nope(1)")),
            InvalidArgument,
            &["nope"],
        ),
        (
            "delete: keys of another type",
            Delete(deleting("id in ['a']")),
            InvalidArgument,
            &["id"],
        ),
        (
            "delete: a value is missing",
            Delete(deleting("id in {keys}")),
            InvalidArgument,
            &["keys"],
        ),
    ];
    table(&world, cases).await;
}

#[tokio::test]
async fn wrong_upserts_are_refused() {
    use Ask::Upsert;
    let world = world(Setup::of(rich())).await;
    let ops = |ops: Vec<(&str, i32)>, data| {
        let field_ops = ops
            .into_iter()
            .map(|(field, what)| op(field, what))
            .collect();
        Upsert(UpsertRequest {
            field_ops,
            ..upserting(1, data)
        })
    };
    let tagged = || one(vec![long_lists("tags", &[&[1]])]);
    let twice = || vec![longs("id", [1, 1]), vectors("v", &[[1., 2.]; 2])];
    let cases: Vec<(&str, Ask, Code, &[&str])> = vec![
        (
            "no rows",
            Upsert(upserting(0, one(vec![]))),
            InvalidArgument,
            &["num_rows"],
        ),
        (
            "no key",
            Upsert(upserting(1, vec![vectors("v", &[[1., 2.]])])),
            InvalidArgument,
            &["id", "primary key"],
        ),
        (
            "no key, partial",
            Upsert(changing(1, vec![longs("n", [1])])),
            InvalidArgument,
            &["id", "primary key"],
        ),
        (
            "no vector",
            Upsert(upserting(1, vec![longs("id", [1])])),
            InvalidArgument,
            &["v", "required"],
        ),
        (
            "a key twice",
            Upsert(upserting(2, twice())),
            InvalidArgument,
            &["duplicate primary keys are not allowed in the same batch"],
        ),
        (
            "a key twice, partial",
            Upsert(changing(2, twice())),
            InvalidArgument,
            &["duplicate primary keys"],
        ),
        (
            "an unknown field",
            Upsert(changing(1, one(vec![longs("stray", [1])]))),
            InvalidArgument,
            &["stray"],
        ),
        (
            "op of an unknown field",
            ops(vec![("stray", APPEND)], tagged()),
            InvalidArgument,
            &["field_ops", "stray"],
        ),
        (
            "op of no array",
            ops(vec![("n", APPEND)], one(vec![longs("n", [1])])),
            InvalidArgument,
            &["field_ops", "n", "Array"],
        ),
        (
            "op of the key",
            ops(vec![("id", REMOVE)], tagged()),
            InvalidArgument,
            &["field_ops", "id"],
        ),
        (
            "op without data",
            ops(vec![("tags", APPEND)], one(vec![])),
            InvalidArgument,
            &["tags", "no data"],
        ),
        (
            "op twice",
            ops(vec![("tags", APPEND), ("tags", REMOVE)], tagged()),
            InvalidArgument,
            &["tags", "twice"],
        ),
        (
            "an unknown op",
            ops(vec![("tags", 9)], tagged()),
            InvalidArgument,
            &["tags", "9"],
        ),
        (
            "a given array too long",
            ops(
                vec![("tags", APPEND)],
                one(vec![long_lists("tags", &[&[1; 7]])]),
            ),
            InvalidArgument,
            &["capacity"],
        ),
    ];
    table(&world, cases).await;
}

#[tokio::test]
async fn what_a_collection_has_not_is_refused() {
    let plain = world(Setup::of(plain())).await;
    let data = vec![longs("id", [1]), longs("n", [1]), dynamic(&["{}"])];
    table(
        &plain,
        vec![(
            "no dynamic field",
            Ask::Insert(inserting(1, data)),
            InvalidArgument,
            &["dynamic"],
        )],
    )
    .await;

    let region = FieldSchema {
        is_partition_key: true,
        ..text("region")
    };
    let setup = Setup {
        partitions: vec!["_default_0", "_default_1"],
        ..Setup::of(schema(
            vec![key(field("id", DataType::Int64)), region],
            false,
        ))
    };
    let keyed = world(setup).await;
    let data = || vec![longs("id", [1]), texts("region", &["x"])];
    let partition_name = || "_default_0".to_owned();
    let cases: Vec<(&str, Ask, Code, &[&str])> = vec![
        (
            "insert",
            Ask::Insert(InsertRequest {
                partition_name: partition_name(),
                ..inserting(1, data())
            }),
            InvalidArgument,
            &["partition key"],
        ),
        (
            "upsert",
            Ask::Upsert(UpsertRequest {
                partition_name: partition_name(),
                ..upserting(1, data())
            }),
            InvalidArgument,
            &["partition key"],
        ),
        (
            "delete",
            Ask::Delete(DeleteRequest {
                partition_name: partition_name(),
                ..deleting("id == 1")
            }),
            InvalidArgument,
            &["partition key"],
        ),
    ];
    table(&keyed, cases).await;

    let made = world(Setup::of(schema(
        vec![
            auto(field("id", DataType::Int64)),
            field("x", DataType::Double),
        ],
        false,
    )))
    .await;
    let data = vec![longs("id", [1]), doubles("x", &[1.])];
    let infinite = vec![doubles("x", &[f64::INFINITY])];
    let cases: Vec<(&str, Ask, Code, &[&str])> = vec![
        (
            "a given key",
            Ask::Insert(inserting(1, data)),
            InvalidArgument,
            &["id", "auto_id"],
        ),
        (
            "an upsert without key",
            Ask::Upsert(upserting(1, vec![doubles("x", &[1.])])),
            InvalidArgument,
            &["id", "primary key"],
        ),
        (
            "infinity",
            Ask::Insert(inserting(1, infinite)),
            InvalidArgument,
            &["x"],
        ),
    ];
    table(&made, cases).await;
}
