//! Table tests of the way in; those of the way out are in [`output`], property tests in [`property`].

mod output;
mod property;

use std::sync::Arc;

use arrow_array::{
    Array, BooleanArray, FixedSizeListArray, Float32Array, Int8Array, Int64Array, StringArray,
    cast::AsArray,
};
use bytes::Bytes;
use half::{bf16, f16};
use holdfast_types::{Code, FieldId, Value, schema::DYNAMIC_FIELD};

use super::*;
use crate::{
    milvus::schema::{
        ArrayArray, BoolArray, DoubleArray, FloatArray, IntArray, JsonArray, LongArray,
        ScalarField, SparseFloatArray, StringArray as Strings, VectorField,
        scalar_field::Data as Scalars, vector_field::Data as Vectors,
    },
    schema::dynamic_field,
    testing::{array_of, field, nullable},
};

fn scalars(data_type: DataType, data: Scalars, valid: &[bool]) -> FieldData {
    FieldData {
        r#type: data_type.wire_number(),
        field_name: "f".to_owned(),
        valid_data: valid.to_vec(),
        field: Some(Field::Scalars(ScalarField {
            data: Some(data),
            valid_data: Vec::new(),
        })),
        ..FieldData::default()
    }
}

fn vectors(data_type: DataType, dim: i64, data: Vectors, valid: &[bool]) -> FieldData {
    FieldData {
        r#type: data_type.wire_number(),
        field_name: "f".to_owned(),
        valid_data: valid.to_vec(),
        field: Some(Field::Vectors(VectorField {
            dim,
            data: Some(data),
            valid_data: Vec::new(),
        })),
        ..FieldData::default()
    }
}

fn longs(data: &[i64]) -> Scalars {
    Scalars::LongData(LongArray {
        data: data.to_vec(),
    })
}

fn ints(data: &[i32]) -> Scalars {
    Scalars::IntData(IntArray {
        data: data.to_vec(),
    })
}

fn texts(data: &[&str]) -> Scalars {
    Scalars::StringData(Strings {
        data: data.iter().map(|t| (*t).to_owned()).collect(),
    })
}

fn jsons(data: &[&str]) -> Scalars {
    Scalars::JsonData(JsonArray {
        data: data
            .iter()
            .map(|t| Bytes::copy_from_slice(t.as_bytes()))
            .collect(),
    })
}

fn floats(data: &[f32]) -> Vectors {
    Vectors::FloatVector(FloatArray {
        data: data.to_vec(),
    })
}

fn sparse(rows: &[&[(u32, f32)]]) -> Vectors {
    let contents = rows
        .iter()
        .map(|row| {
            row.iter()
                .flat_map(|(i, v)| [i.to_le_bytes(), v.to_le_bytes()].concat())
                .collect()
        })
        .collect();
    Vectors::SparseFloatVector(SparseFloatArray { contents, dim: 0 })
}

fn arrays(rows: Vec<Scalars>, element_type: i32) -> Scalars {
    Scalars::ArrayData(ArrayArray {
        data: rows
            .into_iter()
            .map(|data| ScalarField {
                data: Some(data),
                valid_data: Vec::new(),
            })
            .collect(),
        element_type,
    })
}

fn with_default(data_type: DataType, value: Value) -> FieldSchema {
    FieldSchema {
        default: Some(value),
        ..field(data_type)
    }
}

#[track_caller]
fn refused(data: &FieldData, field: &FieldSchema, rows: usize, expect: &str) {
    let failure = to_column(data, field, rows).expect_err("the data is wrong");
    assert_eq!(failure.code, Code::InvalidArgument, "{failure}");
    assert!(failure.message.contains(expect), "{failure}");
    assert!(failure.message.contains('f'), "{failure}");
}

#[test]
fn rows_without_a_value_may_be_left_out_or_held_open() {
    let field = nullable(field(DataType::Int64));
    let expect: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let valid = [true, false, true];
    for payload in [longs(&[1, 3]), longs(&[1, 99, 3])] {
        let column = to_column(&scalars(DataType::Int64, payload, &valid), &field, 3);
        assert_eq!(column.expect("valid").as_ref(), expect.as_ref());
    }
    let mut none = scalars(DataType::Int64, longs(&[]), &[false; 2]);
    assert_eq!(
        to_column(&none, &field, 2).expect("all null").null_count(),
        2
    );
    none.field = None;
    assert_eq!(
        to_column(&none, &field, 2)
            .expect("no payload")
            .null_count(),
        2
    );
}

#[test]
fn presence_is_found_in_every_place_clients_put_it() {
    let valid = vec![true, false];
    let mut inner = scalars(DataType::Int64, longs(&[7]), &[]);
    if let Some(Field::Scalars(s)) = &mut inner.field {
        s.valid_data.clone_from(&valid);
    }
    let int = nullable(field(DataType::Int64));
    assert_eq!(to_column(&inner, &int, 2).expect("inner").null_count(), 1);
    inner.valid_data.clone_from(&valid);
    assert_eq!(to_column(&inner, &int, 2).expect("both").null_count(), 1);
    inner.valid_data = vec![false, true];
    refused(&inner, &int, 2, "valid_data is given twice and differs");

    let mut vector = vectors(DataType::FloatVector, 4, floats(&[1.0; 4]), &[]);
    if let Some(Field::Vectors(v)) = &mut vector.field {
        v.valid_data = valid;
    }
    let float = nullable(field(DataType::FloatVector));
    assert_eq!(
        to_column(&vector, &float, 2).expect("inner").null_count(),
        1
    );
}

#[test]
fn defaults_fill_the_gaps() {
    let data = scalars(DataType::Int8, ints(&[5]), &[false, true]);
    let column = to_column(&data, &with_default(DataType::Int8, Value::Int(-1)), 2);
    let expect = Int8Array::from(vec![-1, 5]);
    assert_eq!(column.expect("filled").as_primitive(), &expect);

    let absent = |t, v| absent_column(&with_default(t, v), 2).expect("a default");
    let text = absent(DataType::VarChar, Value::Str("ab".to_owned()));
    assert_eq!(
        text.as_string::<i32>(),
        &StringArray::from(vec!["ab", "ab"])
    );
    let truth = absent(DataType::Bool, Value::Bool(true));
    assert_eq!(truth.as_boolean(), &BooleanArray::from(vec![true, true]));
    let real = absent(DataType::Float, Value::Float(0.5));
    assert_eq!(real.as_primitive(), &Float32Array::from(vec![0.5, 0.5]));
    let dynamic = absent_column(&dynamic_field(FieldId(9)), 1).expect("a default");
    assert_eq!(dynamic.as_string::<i32>(), &StringArray::from(vec!["{}"]));
}

#[test]
fn a_field_left_out_is_null_or_an_error() {
    for data_type in DataType::ALL {
        let column = absent_column(&nullable(field(data_type)), 3).expect("nullable");
        assert_eq!((column.len(), column.null_count()), (3, 3), "{data_type}");
        assert_eq!(column.data_type(), &arrow_type(&field(data_type)));
        let failure = absent_column(&field(data_type), 3).expect_err("required");
        assert_eq!(
            failure.message,
            "field f is required, but the request has no data for it"
        );
    }
}

#[test]
fn a_few_bytes_do_not_ask_for_gigabytes() {
    let wide = FieldSchema {
        dim: Some(32_768),
        ..nullable(field(DataType::FloatVector))
    };
    let nothing = vec![false; 10_000];
    let data = vectors(DataType::FloatVector, 0, floats(&[]), &nothing);
    refused(&data, &wide, nothing.len(), "send fewer rows");
    let many = usize::try_from(u32::MAX).expect("64 bits");
    for data_type in DataType::ALL {
        let failure = absent_column(&nullable(field(data_type)), many).expect_err("huge");
        assert!(failure.message.contains("send fewer rows"), "{failure}");
    }
    let long = with_default(DataType::VarChar, Value::Str("x".repeat(60_000)));
    let failure = absent_column(&long, 100_000).expect_err("huge");
    assert!(failure.message.contains("send fewer rows"), "{failure}");
}

#[test]
fn numbers_of_rows_and_types_have_to_match() {
    let int = field(DataType::Int64);
    let data = |payload| scalars(DataType::Int64, payload, &[]);
    refused(
        &data(longs(&[1, 2])),
        &int,
        3,
        "the num_rows (2) of field (f) is not equal to passed num_rows (3)",
    );
    refused(&data(longs(&[])), &int, 1, "the num_rows (0)");
    refused(&data(ints(&[1])), &int, 1, "the data is not that of Int64");
    refused(
        &scalars(DataType::Int32, ints(&[1]), &[]),
        &int,
        1,
        "data type mismatch[expected=Int64][actual=Int32]",
    );
    refused(
        &FieldData {
            r#type: 777,
            ..data(longs(&[1]))
        },
        &int,
        1,
        "[actual=777]",
    );
    refused(
        &vectors(DataType::Int64, 4, floats(&[1.0; 4]), &[]),
        &int,
        1,
        "the data is not that of Int64",
    );
    refused(
        &scalars(DataType::FloatVector, longs(&[1]), &[]),
        &field(DataType::FloatVector),
        1,
        "not that of FloatVector",
    );
    refused(
        &scalars(DataType::Int64, longs(&[1]), &[true]),
        &int,
        2,
        "the length of valid_data of field(f) is wrong",
    );
    refused(
        &scalars(DataType::Int64, longs(&[1]), &[true, false]),
        &int,
        2,
        "null value is not allowed[field=f][row number=1]",
    );
    let null = nullable(int.clone());
    refused(
        &scalars(DataType::Int64, longs(&[1, 2]), &[true, false, false]),
        &null,
        3,
        "the num_rows (2)",
    );
    assert!(to_column(&scalars(DataType::Int64, longs(&[1]), &[true]), &int, 1).is_ok());
}

#[test]
fn scalars_out_of_bounds_are_refused() {
    let check = |t: DataType, payload, expect: &str| {
        refused(&scalars(t, payload, &[]), &field(t), 2, expect);
    };
    check(
        DataType::Int8,
        ints(&[0, 128]),
        "value 128 out of range: [-128, 127][field=f][row number=1]",
    );
    check(
        DataType::Int16,
        ints(&[-32_769, 0]),
        "value -32769 out of range: [-32768, 32767]",
    );
    check(
        DataType::Float,
        Scalars::FloatData(FloatArray {
            data: vec![0.0, f32::NAN],
        }),
        "not a number or infinity",
    );
    check(
        DataType::Double,
        Scalars::DoubleData(DoubleArray {
            data: vec![f64::INFINITY, 0.0],
        }),
        "not a number or infinity",
    );
    check(
        DataType::VarChar,
        texts(&["", "éééé!"]),
        "length of varchar exceeds max length, length: 9, max length: 8",
    );
    check(DataType::Json, jsons(&["{}", "{"]), "json is invalid");
    check(DataType::Json, jsons(&["1", ""]), "json is invalid");
    check(DataType::Json, jsons(&["1", "1 2"]), "json is invalid");
    check(
        DataType::Json,
        jsons(&["1", &"[".repeat(200)]),
        "json is invalid",
    );
    check(
        DataType::Json,
        jsons(&["1", &format!("\"{}\"", "x".repeat(65_535))]),
        "the length (65537) of json exceeds max length (65536)",
    );
    let not_text = Scalars::JsonData(JsonArray {
        data: vec![Bytes::from_static(b"\"\xff\""), "1".into()],
    });
    check(DataType::Json, not_text, "json is invalid");
}

#[test]
fn arrays_are_checked_by_length_and_by_element() {
    let check = |element: DataType, rows: Vec<Scalars>, expect: &str| {
        let n = rows.len();
        refused(
            &scalars(DataType::Array, arrays(rows, 0), &[]),
            &array_of(element),
            n,
            expect,
        );
    };
    check(
        DataType::Int64,
        vec![longs(&[1, 2, 3, 4])],
        "the length (4) of array exceeds max capacity (3)[field=f][row number=0]",
    );
    check(
        DataType::Int64,
        vec![longs(&[]), ints(&[1])],
        "array element type mismatch[field=f][row number=1]",
    );
    check(DataType::Int8, vec![ints(&[-129])], "out of range");
    check(
        DataType::VarChar,
        vec![texts(&["123456789"])],
        "length of varchar exceeds max length",
    );
    check(
        DataType::Float,
        vec![Scalars::FloatData(FloatArray {
            data: vec![f32::NAN],
        })],
        "not a number",
    );
    let wrong = scalars(DataType::Array, arrays(vec![longs(&[1])], 4), &[]);
    refused(
        &wrong,
        &array_of(DataType::Int64),
        1,
        "element type mismatch[expected=5][actual=4]",
    );

    let empty = ScalarField::default();
    let mut data = scalars(DataType::Array, arrays(vec![longs(&[1, 2])], 5), &[]);
    if let Some(Field::Scalars(ScalarField {
        data: Some(Scalars::ArrayData(a)),
        ..
    })) = &mut data.field
    {
        a.data.push(empty);
    }
    let column = to_column(&data, &array_of(DataType::Int64), 2).expect("an empty array");
    assert_eq!(column.as_list::<i32>().value_length(0), 2);
    assert_eq!(column.as_list::<i32>().value_length(1), 0);
}

#[test]
fn vectors_are_checked_by_dimension_and_by_element() {
    let float = field(DataType::FloatVector);
    let data = |dim, values: &[f32]| vectors(DataType::FloatVector, dim, floats(values), &[]);
    refused(
        &data(3, &[0.0; 3]),
        &float,
        1,
        "the dim (3) of field data(f) is not equal to schema dim (4)",
    );
    refused(&data(-4, &[0.0; 4]), &float, 1, "the dim (-4)");
    refused(&data(0, &[0.0; 4]), &float, 1, "the dim (0)");
    refused(&data(4, &[0.0; 5]), &float, 1, "multiple of 4");
    refused(&data(4, &[0.0; 4]), &float, 2, "the num_rows (1)");
    let mut late = [0.0; 8];
    late[6] = f32::NEG_INFINITY;
    refused(
        &data(4, &late),
        &float,
        2,
        "value '-inf' is not a number or infinity[field=f][row number=1]",
    );
    let gap = vectors(
        DataType::FloatVector,
        4,
        floats(&late),
        &[true, false, true],
    );
    refused(&gap, &nullable(float), 3, "[row number=2]");

    let half = field(DataType::Float16Vector);
    let bytes = |n: usize| Vectors::Float16Vector(Bytes::from(vec![0; n]));
    refused(
        &vectors(DataType::Float16Vector, 4, bytes(7), &[]),
        &half,
        1,
        "multiple of 8",
    );
    refused(
        &vectors(DataType::Float16Vector, 4, bytes(9), &[]),
        &half,
        1,
        "multiple of 8",
    );
    let infinite = Vectors::Float16Vector(f16::INFINITY.to_le_bytes().repeat(4).into());
    refused(
        &vectors(DataType::Float16Vector, 4, infinite, &[]),
        &half,
        1,
        "not a number or infinity",
    );
    let bits = |n: usize| Vectors::BinaryVector(Bytes::from(vec![0; n]));
    refused(
        &vectors(DataType::BinaryVector, 16, bits(3), &[]),
        &field(DataType::BinaryVector),
        1,
        "multiple of 2",
    );
    refused(
        &vectors(DataType::BinaryVector, 16, bytes(2), &[]),
        &field(DataType::BinaryVector),
        1,
        "not that of BinaryVector",
    );
    let small = Vectors::Int8Vector(Bytes::from(vec![0; 5]));
    refused(
        &vectors(DataType::Int8Vector, 4, small, &[]),
        &field(DataType::Int8Vector),
        1,
        "multiple of 4",
    );

    let check_sparse = |rows: &[&[(u32, f32)]], expect: &str| {
        let data = vectors(DataType::SparseFloatVector, 0, sparse(rows), &[]);
        refused(
            &data,
            &field(DataType::SparseFloatVector),
            rows.len(),
            expect,
        );
    };
    check_sparse(
        &[&[(1, 1.0)], &[(2, 1.0), (1, 1.0)]],
        "unsorted or same indices in sparse float vector: 1[field=f][row number=1]",
    );
    check_sparse(&[&[(1, -0.5)]], "negative value");
    check_sparse(&[&[(1, f32::NAN)]], "not a number");
}

#[test]
fn f32_data_is_narrowed_for_16_bit_fields() {
    let x = [1.0, -0.5, 65_504.0, 0.0];
    for data_type in [DataType::Float16Vector, DataType::BFloat16Vector] {
        for named in [data_type, DataType::FloatVector] {
            let data = vectors(named, 4, floats(&x), &[]);
            let wire = from_column(
                &to_column(&data, &field(data_type), 1).expect("in range"),
                &field(data_type),
            );
            let Some(Field::Vectors(v)) = wire.expect("same type").field else {
                panic!("vectors");
            };
            let expect: Vec<u8> = match data_type {
                DataType::Float16Vector => x
                    .iter()
                    .flat_map(|x| f16::from_f32(*x).to_le_bytes())
                    .collect(),
                _ => x
                    .iter()
                    .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
                    .collect(),
            };
            match v.data {
                Some(Vectors::Float16Vector(b) | Vectors::Bfloat16Vector(b)) => {
                    assert_eq!(b, expect);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let large = vectors(
        DataType::Float16Vector,
        4,
        floats(&[0.0, 1e6, 0.0, 0.0]),
        &[],
    );
    refused(
        &large,
        &field(DataType::Float16Vector),
        1,
        "value 1000000 is out of the range of float16[field=f][row number=0]",
    );
    refused(
        &vectors(DataType::FloatVector, 4, floats(&[0.0; 4]), &[]),
        &field(DataType::Int8Vector),
        1,
        "data type mismatch",
    );
}

#[test]
fn the_dynamic_field_holds_objects_whose_keys_are_free() {
    let schema = CollectionSchema {
        description: String::new(),
        fields: vec![field(DataType::Int64), dynamic_field(FieldId(101))],
        enable_dynamic_field: true,
        version: 0,
    };
    let data = |text: &str| FieldData {
        field_name: DYNAMIC_FIELD.to_owned(),
        is_dynamic: true,
        ..scalars(DataType::Json, jsons(&[text]), &[])
    };
    let good = r#"{"a": 1, "g": {"f": 2}}"#;
    let column = dynamic_to_column(&data(good), &schema, 1).expect("free keys");
    assert_eq!(column.as_string::<i32>().value(0), good);
    for (text, expect) in [
        ("[1]", "should only contain JSON objects"),
        (r#"{"$meta": 1}"#, "cannot set key $meta"),
        (r#"{"f": 1}"#, "can not include the static field name: f"),
    ] {
        let failure = dynamic_to_column(&data(text), &schema, 1).expect_err(text);
        assert!(failure.message.contains(expect), "{failure}");
    }
    let closed = CollectionSchema {
        fields: vec![field(DataType::Int64)],
        ..schema
    };
    assert!(dynamic_to_column(&data(good), &closed, 1).is_err());
}
