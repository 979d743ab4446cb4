//! Tests of `schema`.

use super::*;
use crate::{kv::pair, milvus::schema::value_field::Data};

fn field(name: &str, data_type: i32, params: &[(&str, &str)]) -> wire::FieldSchema {
    wire::FieldSchema {
        name: name.to_owned(),
        data_type,
        type_params: params.iter().map(|(k, v)| pair(*k, *v)).collect(),
        ..wire::FieldSchema::default()
    }
}

fn key() -> wire::FieldSchema {
    wire::FieldSchema {
        is_primary_key: true,
        ..field("id", 5, &[])
    }
}

fn vector() -> wire::FieldSchema {
    field("v", 101, &[("dim", "8")])
}

fn schema(fields: Vec<wire::FieldSchema>) -> wire::CollectionSchema {
    wire::CollectionSchema {
        name: "c".to_owned(),
        fields,
        ..wire::CollectionSchema::default()
    }
}

fn with(field: wire::FieldSchema) -> wire::CollectionSchema {
    schema(vec![key(), vector(), field])
}

fn with_default(data_type: i32, data: Data) -> wire::CollectionSchema {
    with(wire::FieldSchema {
        default_value: Some(wire::ValueField { data: Some(data) }),
        type_params: vec![
            pair("max_length", "4"),
            pair("dim", "8"),
            pair("max_capacity", "4"),
        ],
        element_type: 5,
        ..field("x", data_type, &[])
    })
}

#[track_caller]
fn refused(schema: &wire::CollectionSchema, expect: &str) {
    let failure = to_domain(schema).expect_err("the schema is wrong");
    assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
    assert!(failure.message.contains(expect), "{failure}");
}

#[track_caller]
fn not_built(schema: &wire::CollectionSchema, expect: &str) {
    let failure = to_domain(schema).expect_err("this is not built");
    assert_eq!(failure.code, Code::Unsupported, "{failure}");
    assert!(failure.message.contains(expect), "{failure}");
}

#[test]
fn a_schema_with_everything_survives_the_round_trip() {
    let mut wire = schema(vec![
        wire::FieldSchema {
            auto_id: true,
            description: "key".to_owned(),
            ..key()
        },
        field("v", 101, &[("dim", "8"), ("mmap.enabled", "true")]),
        field("b", 100, &[("dim", "64")]),
        field("h", 102, &[("dim", "2")]),
        field("bh", 103, &[("dim", "32768")]),
        wire::FieldSchema {
            nullable: true,
            ..field("s", 104, &[])
        },
        field("i8v", 105, &[("dim", "4")]),
        wire::FieldSchema {
            is_partition_key: true,
            ..field("tenant", 21, &[("max_length", "65535")])
        },
        wire::FieldSchema {
            is_clustering_key: true,
            nullable: true,
            ..field("n", 4, &[])
        },
        wire::FieldSchema {
            element_type: 21,
            ..field("tags", 22, &[("max_length", "9"), ("max_capacity", "4096")])
        },
        field("j", 23, &[]),
        wire::FieldSchema {
            default_value: Some(wire::ValueField {
                data: Some(Data::FloatData(0.1)),
            }),
            ..field("score", 10, &[])
        },
        wire::FieldSchema {
            default_value: Some(wire::ValueField {
                data: Some(Data::IntData(-128)),
            }),
            ..field("tiny", 2, &[])
        },
    ]);
    wire.enable_dynamic_field = true;
    wire.description = "d".to_owned();

    let domain = to_domain(&wire).expect("a good schema");
    let ids: Vec<i64> = domain.fields.iter().map(|f| f.id.0).collect();
    assert_eq!(ids, (100..114).collect::<Vec<_>>());
    assert_eq!(domain.primary().name, "id");
    assert!(domain.primary().auto_id);
    assert_eq!(
        domain.partition_key().map(|f| f.name.as_str()),
        Some("tenant")
    );
    assert_eq!(domain.vectors().count(), 6);
    let dynamic = domain.fields.last().expect("there are fields");
    assert!(dynamic.is_dynamic && dynamic.nullable);
    assert_eq!(
        (dynamic.name.as_str(), dynamic.id),
        (DYNAMIC_FIELD, FieldId(113))
    );
    let tags = domain.field("tags").expect("declared");
    assert_eq!((tags.max_length, tags.max_capacity), (Some(9), Some(4096)));

    for (i, field) in wire.fields.iter_mut().enumerate() {
        field.field_id = 100 + i64::try_from(i).expect("few fields");
    }
    assert_eq!(to_wire(&domain, "c"), wire);
}

#[test]
fn a_schema_as_bytes_is_read_and_nonsense_is_refused() {
    assert_eq!(
        decode(&with(field("x", 5, &[])).encode_to_vec()),
        Ok(with(field("x", 5, &[])))
    );
    assert_eq!(
        decode(&[0xff, 1, 2]).expect_err("nonsense").code,
        Code::InvalidArgument
    );
}

#[test]
fn keys_have_to_be_keys() {
    let change = |f: wire::FieldSchema| schema(vec![f, vector()]);
    refused(&schema(vec![vector()]), "primary key is not specified");
    refused(
        &with(wire::FieldSchema {
            name: "id2".to_owned(),
            ..key()
        }),
        "there are more than one primary key, field name = id, id2",
    );
    refused(
        &change(wire::FieldSchema {
            data_type: 4,
            ..key()
        }),
        "primary key should be Int64 or VarChar",
    );
    refused(
        &change(wire::FieldSchema {
            nullable: true,
            ..key()
        }),
        "primary field not support null",
    );
    refused(
        &change(wire::FieldSchema {
            data_type: 21,
            ..key()
        }),
        "type param(max_length) should be specified",
    );
    refused(
        &change(wire::FieldSchema {
            is_partition_key: true,
            ..key()
        }),
        "partition key field must not be primary",
    );
    refused(
        &with(wire::FieldSchema {
            auto_id: true,
            ..field("x", 5, &[])
        }),
        "only primary field can specify AutoID",
    );
    let part = |name: &str| wire::FieldSchema {
        is_partition_key: true,
        ..field(name, 5, &[])
    };
    refused(
        &with(wire::FieldSchema {
            data_type: 1,
            ..part("p")
        }),
        "partition key should be Int64 or VarChar",
    );
    refused(
        &with(wire::FieldSchema {
            nullable: true,
            ..part("p")
        }),
        "not support nullable",
    );
    refused(
        &schema(vec![key(), vector(), part("p"), part("q")]),
        "there are more than one partition key, field name = p, q",
    );
    refused(
        &with(wire::FieldSchema {
            is_clustering_key: true,
            ..field("x", 23, &[])
        }),
        "clustering key can not be JSON",
    );
}

#[test]
fn dimensions_are_checked_per_type() {
    let dim = |t: i32, dim: &str| with(field("x", t, &[("dim", dim)]));
    refused(
        &with(field("x", 101, &[])),
        "check type param `dim` for vector field `x`",
    );
    for text in [
        "1",
        "0",
        "-2",
        "32769",
        "x",
        "",
        "2.5",
        "99999999999999999999",
    ] {
        refused(&dim(101, text), "invalid dimension");
        refused(&dim(105, text), "invalid dimension");
    }
    refused(&dim(100, "12"), "should be multiple of 8");
    refused(&dim(100, "262152"), "should be in range 2 ~ 262144");
    refused(
        &dim(104, "4"),
        "dim should not be specified for sparse vector field x",
    );
    assert!(to_domain(&dim(100, "262144")).is_ok());
}

#[test]
fn text_and_arrays_need_their_bounds() {
    for bad in ["0", "65536", "-1", "x"] {
        refused(
            &with(field("x", 21, &[("max_length", bad)])),
            "the maximum length specified for the field(x) should be in (0, 65535]",
        );
    }
    let array = |element_type, params| {
        with(wire::FieldSchema {
            element_type,
            ..field("x", 22, params)
        })
    };
    refused(&array(5, &[]), "type param(max_capacity)");
    refused(
        &array(5, &[("max_capacity", "4097")]),
        "should be in (0, 4096]",
    );
    refused(
        &array(21, &[("max_capacity", "4")]),
        "type param(max_length)",
    );
    refused(
        &array(23, &[("max_capacity", "4")]),
        "element type JSON is not supported",
    );
    refused(
        &array(101, &[("max_capacity", "4")]),
        "element type FloatVector is not supported",
    );
    refused(
        &array(0, &[("max_capacity", "4")]),
        "element_type 0 is not a data type",
    );
    refused(
        &with(field("x", 21, &[("max_length", "4"), ("max_length", "5")])),
        "duplicated type param key",
    );
}

#[test]
fn names_and_numbers_of_fields_are_checked() {
    refused(&with(field("v", 5, &[])), "duplicated field name v");
    refused(&with(field("", 5, &[])), "field name should not be empty");
    refused(&with(field("1x", 5, &[])), "first character");
    refused(&with(field("$meta", 5, &[])), "first character");
    refused(&schema(vec![key()]), "schema does not contain vector field");
    refused(&with(field("x", 20, &[])), "please use VarChar");
    refused(&with(field("x", 0, &[])), "data_type 0 is not a data type");
    refused(
        &with(field("x", 777, &[])),
        "data_type 777 is not a data type",
    );
    refused(
        &with(wire::FieldSchema {
            is_dynamic: true,
            ..field("x", 23, &[])
        }),
        "dynamic field",
    );
    let many = |n: usize, data_type: i32| {
        let mut fields = vec![key(), vector()];
        fields.extend((0..n).map(|i| field(&format!("f{i}"), data_type, &[("dim", "8")])));
        schema(fields)
    };
    assert!(to_domain(&many(62, 5)).is_ok());
    refused(
        &many(63, 5),
        "maximum field's number should be limited to 64",
    );
    assert!(to_domain(&many(9, 101)).is_ok());
    refused(
        &many(10, 101),
        "maximum vector field's number should be limited to 10",
    );
}

#[test]
fn defaults_are_of_the_field_s_type_and_in_range() {
    for good in [
        with_default(1, Data::BoolData(true)),
        with_default(3, Data::IntData(-32_768)),
        with_default(5, Data::LongData(i64::MIN)),
        with_default(2, Data::LongData(-128)),
        with_default(4, Data::LongData(1)),
        with_default(5, Data::IntData(1)),
        with_default(11, Data::DoubleData(1e300)),
        with_default(21, Data::StringData("abcd".to_owned())),
    ] {
        let domain = to_domain(&good).expect("a good default");
        assert!(domain.field("x").expect("declared").default.is_some());
    }
    refused(
        &with_default(2, Data::IntData(128)),
        "128 is out of range: [-128, 127]",
    );
    refused(&with_default(3, Data::IntData(-32_769)), "out of range");
    refused(
        &with_default(4, Data::LongData(1 << 40)),
        "1099511627776 is out of range",
    );
    refused(
        &with_default(5, Data::FloatData(1.0)),
        "type (Int64) of field (x)",
    );
    refused(
        &with_default(10, Data::DoubleData(1.0)),
        "type (Float) of field (x)",
    );
    refused(&with_default(10, Data::FloatData(f32::NAN)), "not a number");
    refused(
        &with_default(21, Data::StringData("abcde".to_owned())),
        "exceeds max length (4)",
    );
    for (data_type, name) in [(22, "Array"), (23, "JSON"), (101, "FloatVector")] {
        refused(
            &with_default(data_type, Data::StringData("x".to_owned())),
            &format!("type not support default_value: {name}"),
        );
    }
    let mut on_key = with(field("x", 5, &[]));
    on_key.fields[0].default_value = Some(wire::ValueField {
        data: Some(Data::LongData(1)),
    });
    refused(&on_key, "a primary key can not have one");
    let mut empty = with(field("x", 5, &[]));
    empty.fields[2].default_value = Some(wire::ValueField { data: None });
    assert_eq!(
        to_domain(&empty).expect("no default").fields[2].default,
        None
    );
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (number, name) in [
        (24, "Geometry"),
        (25, "Text"),
        (26, "Timestamptz"),
        (106, "ArrayOfVector"),
        (201, "Struct"),
    ] {
        not_built(
            &with(field("x", number, &[])),
            &format!("field x: {name} is not built"),
        );
    }
    not_built(
        &with(wire::FieldSchema {
            is_function_output: true,
            ..field("x", 104, &[])
        }),
        "field x",
    );
    not_built(
        &with(wire::FieldSchema {
            external_field: "e".to_owned(),
            ..field("x", 5, &[])
        }),
        "field x",
    );
    for key in ["enable_match", "enable_analyzer"] {
        not_built(
            &with(field("x", 21, &[("max_length", "5"), (key, "True")])),
            key,
        );
    }
    type Change = fn(&mut wire::CollectionSchema);
    let changes: [(Change, &str); 6] = [
        (
            |s| {
                s.functions = vec![wire::FunctionSchema {
                    name: "bm25".to_owned(),
                    ..Default::default()
                }];
            },
            "function bm25",
        ),
        (
            |s| {
                s.struct_array_fields = vec![wire::StructArrayFieldSchema {
                    name: "clips".to_owned(),
                    ..Default::default()
                }];
            },
            "field clips",
        ),
        (
            |s| s.external_source = "s3".to_owned(),
            "external collections",
        ),
        (|s| s.do_physical_backfill = true, "physical backfill"),
        (|s| s.file_resource_ids = vec![1], "file resources"),
        (|s| s.enable_namespace = true, "namespaces"),
    ];
    for (change, expect) in changes {
        let mut schema = with(field("x", 5, &[]));
        change(&mut schema);
        not_built(&schema, expect);
    }
}
