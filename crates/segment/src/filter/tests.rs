use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int64Array, RecordBatch,
    StringArray,
    builder::{Int64Builder, ListBuilder},
};
use arrow_schema::Field;
use holdfast_expr::{ArithOp, CompareOp, Operand};
use holdfast_types::{FieldSchema, Value};

use super::*;
use crate::fixture::{self, ID, every_type, field, predicate, schema_of};

fn nullable(field: FieldSchema) -> FieldSchema {
    FieldSchema {
        nullable: true,
        ..field
    }
}

fn schema() -> Arc<CollectionSchema> {
    let list = FieldSchema {
        element_type: Some(DataType::Int64),
        max_capacity: Some(8),
        ..nullable(field(106, "l", DataType::Array))
    };
    schema_of(vec![
        field(ID.0, "id", DataType::Int64),
        nullable(field(101, "n", DataType::Int64)),
        nullable(field(102, "x", DataType::Double)),
        nullable(field(103, "f", DataType::Float)),
        nullable(field(104, "s", DataType::VarChar)),
        nullable(field(105, "j", DataType::Json)),
        list,
        nullable(field(107, "b", DataType::Bool)),
        nullable(field(108, "i8", DataType::Int8)),
        fixture::vector(120, "v", DataType::FloatVector, 2),
    ])
}

const BIG: i64 = 1 << 53;

fn batch() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![
        Some(1),
        Some(-2),
        None,
        Some(BIG + 1),
        Some(i64::MAX),
        Some(0),
    ]));
    let x: ArrayRef = Arc::new(Float64Array::from(vec![
        Some(1.0),
        None,
        Some(2.5),
        Some(BIG as f64),
        Some(-0.0),
        Some(1e300),
    ]));
    let f: ArrayRef = Arc::new(Float32Array::from(vec![
        Some(0.1),
        Some(0.2),
        None,
        Some(1.5),
        Some(-0.0),
        Some(3.0),
    ]));
    let s: ArrayRef = Arc::new(StringArray::from(vec![
        Some("apple"),
        Some("banana"),
        None,
        Some("app_le"),
        Some(""),
        Some("été"),
    ]));
    let j: ArrayRef = Arc::new(StringArray::from(vec![
        Some(r#"{"a":1,"t":true,"l":[1,2,"x"]}"#),
        Some(r#"{"a":9007199254740993,"n":{"s":"deep"}}"#),
        None,
        Some(r#"{"a":"1","t":false,"l":[]}"#),
        Some(r#"{"a":null,"l":[[1,2],2.0]}"#),
        Some(r#"{"a":2.5,"l":7}"#),
    ]));
    let item = Arc::new(Field::new("item", arrow_schema::DataType::Int64, false));
    let mut l = ListBuilder::new(Int64Builder::new()).with_field(item);
    for values in [
        Some(vec![1, 2, 3]),
        Some(vec![]),
        None,
        Some(vec![3]),
        Some(vec![2, 2]),
        Some(vec![5]),
    ] {
        for value in values.iter().flatten() {
            l.values().append_value(*value);
        }
        l.append(values.is_some());
    }
    let l: ArrayRef = Arc::new(l.finish());
    let b: ArrayRef = Arc::new(BooleanArray::from(vec![
        Some(true),
        Some(false),
        None,
        Some(true),
        Some(false),
        None,
    ]));
    let i8s: ArrayRef = Arc::new(Int8Array::from(vec![
        Some(1),
        Some(127),
        None,
        Some(-128),
        Some(0),
        Some(5),
    ]));
    let schema = schema();
    let arrow = holdfast_types::columns::row_schema(&schema);
    let arrow = arrow.project(&[0, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    RecordBatch::try_new(arrow.into(), vec![ids, n, x, f, s, j, l, b, i8s]).unwrap()
}

/// One letter per row: true, false or unknown.
#[track_caller]
fn check(text: &str, expect: &str) {
    let schema = schema();
    check_tree(&predicate(&schema, text), text, expect);
}

#[track_caller]
fn check_tree(predicate: &Predicate, text: &str, expect: &str) {
    let (schema, batch) = (schema(), batch());
    let truth = eval(predicate, &batch, &schema).unwrap();
    let letters = |truth: &Truth, rows: std::ops::Range<usize>| -> String {
        rows.map(|i| match truth.get(i) {
            Some(true) => 't',
            Some(false) => 'f',
            None => '?',
        })
        .collect()
    };
    assert_eq!(letters(&truth, 0..6), expect, "{text}");
    // The same from rows looked at one by one: every row alone is open in its turn, among many.
    let copies = vec![batch.clone(); 40];
    let many = arrow_select::concat::concat_batches(batch.schema_ref(), &copies).unwrap();
    for row in 0..6 {
        let mut open = vec![0_u64; many.num_rows().div_ceil(64)];
        let at = 120 + row;
        open[at / 64] |= 1 << (at % 64);
        let truth = eval_open(predicate, &many, &schema, &open, &Cancel::new()).unwrap();
        assert_eq!(
            letters(&truth, at..at + 1),
            expect[row..=row],
            "{text}, row {row} alone"
        );
    }
}

#[test]
fn comparisons_with_null_are_unknown() {
    check("n > 0", "tf?ttf");
    check("n == 1", "tf?fff");
    check("n != 1", "ft?ttt");
    check("not (n > 0)", "ft?fft");
    check("i8 >= 5", "ft?fft");
    check("i8 < 300", "tt?ttt");
    check("b", "tf?tf?");
    check("not b", "ft?ft?");
    check("b == false", "ft?ft?");
    check("n is null", "fftfff");
    check("n is not null", "ttfttt");
}

#[test]
fn integers_and_floats_compare_without_rounding() {
    check("n > 9007199254740992.0", "ff?ttf");
    check("n == 9007199254740992.0", "ff?fff");
    let x = Operand::Column(Access::column(schema().field("x").unwrap()));
    let equals = |literal| Predicate::Compare {
        left: x.clone(),
        op: CompareOp::Eq,
        right: Operand::Literal(literal),
    };
    check_tree(&equals(Value::Int(BIG + 1)), "x == 2^53 + 1", "f?ffff");
    check_tree(&equals(Value::Float(BIG as f64)), "x == 2^53", "f?ftff");
    check("x == 0", "f?fftf");
    check("x > 1", "f?ttft");
    check("n < x", "f??fft");
    check("n == x", "t??fff");
}

#[test]
fn a_float_column_meets_literals_as_binary32() {
    check("f == 0.1", "tf?fff");
    check("f in [0.1, 0.2, 3]", "tt?fft");
    check("f > 0.1", "ft?tft");
    check("f >= 0.2", "ft?tft");
    check("f == 0", "ff?ftf");
}

#[test]
fn unknown_spreads_through_and_or_not_as_kleene_says() {
    check("n > 0 and s == \"apple\"", "tf?fff");
    check("n > 0 or s == \"banana\"", "tt?ttf");
    check("n is null and x == 2.5", "fftfff");
    check("n > 0 and x > 0", "tf?tff");
    check("x > 0 or b", "t?ttft");
    check("not (x > 0 and b)", "ft?ft?");
}

#[test]
fn text_is_matched() {
    check("s like \"app%\"", "tf?tff");
    check("s like \"%an%\"", "ft?fff");
    check("s like \"%e\"", "tf?tff");
    check("s like \"app\\\\_le\"", "ff?tff");
    check("s like \"_t_\"", "ff?fft");
    check("s in [\"apple\", \"\"]", "tf?ftf");
    check("s not in [\"apple\", \"\"]", "ft?tft");
    check("s > \"b\"", "ft?fft");
}

#[test]
fn arithmetic_that_overflows_or_divides_by_zero_is_unknown() {
    check("n + 1 > 0", "tf?t?t");
    check("n * 2 > 0", "tf?t?f");
    check("10 / n > 0", "tf?ff?");
    check("n % 2 == 0", "ft?fft");
    check("x * 1e300 > 0", "t?t?f?");
    let zero = |op| Predicate::Compare {
        left: Operand::Arith {
            op,
            left: Box::new(Operand::Column(Access::column(
                schema().field("n").unwrap(),
            ))),
            right: Box::new(Operand::Literal(Value::Int(0))),
        },
        op: CompareOp::Eq,
        right: Operand::Literal(Value::Int(0)),
    };
    check_tree(&zero(ArithOp::Div), "n / 0", "??????");
    check_tree(&zero(ArithOp::Mod), "n % 0", "??????");
}

#[test]
fn json_paths_compare_by_kind() {
    check("j[\"a\"] == 1", "tf?f?f");
    check("j[\"a\"] != 1", "ft?t?t");
    check("j[\"a\"] > 9007199254740992", "ft?f?f");
    check("j[\"a\"] == \"1\"", "ff?t?f");
    check("j[\"a\"] in [1, 2.5]", "tf?f?t");
    check("j[\"a\"] not in [1, 2.5]", "ft?t?f");
    check("j[\"a\"] in [1, \"1\"]", "tf?t?f");
    check("j[\"a\"] + 1 == 2", "tf???f");
    check("j[\"a\"] like \"1%\"", "ff?t?f");
    check("j[\"t\"]", "t??f??");
    check("j[\"l\"] == []", "f??tff");
    check("j[\"l\"] != 7", "t??ttf");
    check("j[\"n\"][\"s\"] like \"de%\"", "?t????");
    check("j[\"l\"][1] == 2", "t???t?");
    check("exists j[\"a\"]", "ttftft");
    check("j[\"a\"] is null", "fftftf");
    check("j is null", "fftfff");
    check("j[\"missing\"] == 1", "??????");
    check("not (j[\"missing\"] == 1)", "??????");
}

#[test]
fn arrays_are_searched() {
    check("array_contains(l, 3)", "tf?tff");
    check("array_contains_all(l, [1, 3])", "tf?fff");
    check("array_contains_any(l, [1, 5])", "tf?fft");
    check("array_length(l) == 1", "ff?tft");
    check("l[0] == 2", "f??ftf");
    check("l == [2, 2]", "ff?ftf");
    check("json_contains(j[\"l\"], 2)", "t??ftf");
    check("json_contains(j[\"l\"], [1, 2])", "f??ftf");
    check("json_contains_any(j[\"l\"], [\"x\", 9])", "t??fff");
    check("json_contains_all(j[\"l\"], [1, \"x\"])", "t??fff");
    check("array_length(j[\"l\"]) == 3", "t??ff?");
}

#[test]
fn fields_younger_than_the_rows_read_as_default_or_null() {
    let mut fields = schema().fields.clone();
    fields.push(FieldSchema {
        default: Some(Value::Int(7)),
        ..field(130, "young", DataType::Int32)
    });
    fields.push(nullable(field(131, "bare", DataType::VarChar)));
    let schema = schema_of(fields);
    let truth = |text: &str| eval(&predicate(&schema, text), &batch(), &schema).unwrap();
    assert_eq!(truth("young == 7"), Truth::constant(6, true));
    assert_eq!(truth("bare == \"x\""), Truth::unknown(6));
    assert_eq!(truth("bare is null"), Truth::constant(6, true));
}

#[test]
fn long_batches_are_evaluated_in_slices() {
    let schema = every_type(DataType::Int64);
    let keys: Vec<i64> = (0..5_000).collect();
    let batch = fixture::rows(&schema, &keys, 1);
    let truth =
        |text: &str, batch: &RecordBatch| eval(&predicate(&schema, text), batch, &schema).unwrap();
    for text in [
        "doc[\"a\"] > 3 and i8 > 0",
        "doc[\"s\"] == \"x1\" or array_contains(ints, 3)",
        "id % 3 == 1",
    ] {
        let whole = truth(text, &batch);
        assert_eq!(whole.len(), 5_000);
        for row in (0..5_000).step_by(371) {
            let alone = truth(text, &batch.slice(row, 1));
            assert_eq!(alone.get(0), whole.get(row), "{text}, row {row}");
        }
    }
}

#[test]
fn a_cancelled_evaluation_ends() {
    let (schema, cancel) = (schema(), Cancel::new());
    cancel.cancel();
    let open = truth::full(6);
    let result = eval_open(
        &predicate(&schema, "n > 0"),
        &batch(),
        &schema,
        &open,
        &cancel,
    );
    assert_eq!(result, Err(SegmentError::Cancelled));
}
