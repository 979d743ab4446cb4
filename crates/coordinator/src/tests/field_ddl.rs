//! DDL of fields.

use holdfast_node_api::Coordinator;
use holdfast_types::{DataType, FieldSchema};

use super::{
    ddl::{keyed, set, unset},
    fixtures::field,
    world::{World, new, on, refused},
};

fn nullable(name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema {
        nullable: true,
        ..field(name, data_type)
    }
}

#[tokio::test]
async fn a_field_is_added_before_the_dynamic_one_with_an_id_never_used() {
    let w = World::new().await;
    let before = w.collection().await;
    w.service
        .add_field(&on("c"), nullable("age", DataType::Int64))
        .await
        .unwrap();
    w.service.drop_field(&on("c"), "age").await.unwrap();
    w.service
        .add_field(&on("c"), nullable("age", DataType::Int64))
        .await
        .unwrap();
    w.service
        .add_field(&on("c"), nullable("vec2", DataType::FloatVector))
        .await
        .unwrap();
    let c = w.c();
    let names: Vec<&str> = c.schema.fields.iter().map(|f| &*f.name).collect();
    assert_eq!(names, ["id", "vec", "name", "age", "vec2", "$meta"]);
    assert_eq!(
        c.schema.field("age").unwrap().id.0,
        before.next_field_id.0 + 1
    );
    assert_eq!(c.schema.version, before.schema.version + 4);
    assert!(c.updated > before.updated);
}

#[tokio::test]
async fn fields_that_rows_could_not_lack_are_not_added() {
    let w = World::new().await;
    w.collection().await;
    let int = || nullable("age", DataType::Int64);
    let named = |name: &str| nullable(name, DataType::Int64);
    for (field, message) in [
        (named("name"), "duplicate field name: name"),
        (
            named("a b"),
            "Invalid field name: a b. field name can only contain numbers, letters and underscores",
        ),
        (
            FieldSchema {
                nullable: false,
                ..int()
            },
            "added field must be nullable, please check it, field name = age",
        ),
        (
            FieldSchema {
                is_primary: true,
                ..int()
            },
            "not support to add pk field, field name = age",
        ),
        (
            FieldSchema {
                auto_id: true,
                ..int()
            },
            "only primary field can speficy AutoID with true, field name = age",
        ),
        (
            FieldSchema {
                is_partition_key: true,
                ..int()
            },
            "not support to add partition key field, field name = age",
        ),
        (
            FieldSchema {
                is_clustering_key: true,
                ..int()
            },
            "not support to add clustering key field, field name = age",
        ),
        (
            FieldSchema {
                is_dynamic: true,
                ..int()
            },
            "not support to add dynamic field, field name = age",
        ),
        (
            FieldSchema {
                max_length: None,
                ..nullable("t", DataType::VarChar)
            },
            "field t: text needs a max_length",
        ),
        (
            FieldSchema {
                dim: Some(1),
                ..nullable("v", DataType::FloatVector)
            },
            "field v: dim should be in range 2 ~ 32768",
        ),
        (
            FieldSchema {
                dim: Some(12),
                ..nullable("v", DataType::BinaryVector)
            },
            "field v: the dim of a binary vector should be a multiple of 8",
        ),
        (
            nullable("l", DataType::Array),
            "field l: an array needs an element type and a max_capacity",
        ),
    ] {
        refused(w.service.add_field(&on("c"), field).await, message);
    }
    for i in 0..9 {
        let name = format!("v{i}");
        w.service
            .add_field(&on("c"), nullable(&name, DataType::FloatVector))
            .await
            .unwrap();
    }
    refused(
        w.service
            .add_field(&on("c"), nullable("v9", DataType::FloatVector))
            .await,
        "maximum vector field's number should be limited to 10",
    );
    for i in 12..64 {
        w.service
            .add_field(&on("c"), named(&format!("f{i}")))
            .await
            .unwrap();
    }
    refused(
        w.service.add_field(&on("c"), named("last")).await,
        "The number of fields has reached the maximum value 64",
    );
}

#[tokio::test]
async fn fields_that_rows_cannot_do_without_are_not_dropped() {
    let w = World::new().await;
    let mut schema = keyed();
    schema.fields.insert(
        3,
        FieldSchema {
            id: holdfast_types::FieldId(110),
            is_clustering_key: true,
            ..field("day", DataType::Int64)
        },
    );
    w.service.create_collection(new("c", schema)).await.unwrap();
    for (name, message) in [
        ("id", "cannot drop primary key field: id"),
        ("vec", "cannot drop the last vector field: vec"),
        ("name", "cannot drop partition key field: name"),
        ("day", "cannot drop clustering key field: day"),
        ("$meta", "field $meta does not exist in collection c"),
        ("x", "field x does not exist in collection c"),
    ] {
        refused(w.service.drop_field(&on("c"), name).await, message);
    }
}

#[tokio::test]
async fn a_dropped_field_takes_its_indexes_along() {
    let w = World::new().await;
    w.collection().await;
    w.index("name", &[("index_type", "INVERTED")])
        .await
        .unwrap();
    w.service.drop_field(&on("c"), "name").await.unwrap();
    assert!(w.c().indexes.is_empty());
}

#[tokio::test]
async fn the_bounds_of_a_field_only_grow() {
    let w = World::new().await;
    w.collection().await;
    let c = on("c");
    w.service
        .alter_field(&c, "name", set("max_length", "128"))
        .await
        .unwrap();
    w.service
        .alter_field(&c, "name", set("mmap.enabled", "true"))
        .await
        .unwrap();
    w.service
        .alter_field(&c, "name", unset("mmap.enabled"))
        .await
        .unwrap();
    let meta = w.c();
    let name = meta.schema.field("name").unwrap();
    assert_eq!((name.max_length, name.type_params.len()), (Some(128), 1));
    for (field, change, message) in [
        (
            "name",
            set("max_length", "127"),
            "max_length may only grow: 127 is less than 128",
        ),
        (
            "name",
            set("max_length", "65536"),
            "max_length 65536 exceeds the maximum allowed value 65535",
        ),
        (
            "name",
            set("max_length", "x"),
            "max_length should be an integer, but got x",
        ),
        (
            "id",
            set("max_length", "9"),
            "Int64 can not modify the maxlength for non-string types",
        ),
        (
            "name",
            set("max_capacity", "9"),
            "VarChar can not modify the maxcapacity for non-array types",
        ),
        (
            "vec",
            set("dim", "9"),
            "dim does not allow update in collection field param",
        ),
        (
            "name",
            unset("max_length"),
            "max_length is not allowed to delete in collection field param",
        ),
        (
            "no",
            unset("warmup"),
            "field no does not exist in collection c",
        ),
    ] {
        refused(w.service.alter_field(&c, field, change).await, message);
    }
}
