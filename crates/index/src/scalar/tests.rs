//! Tests of `scalar`.

use arrow_array::{
    Array, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    ListArray, StringArray, UInt64Array, types::Int32Type,
};
use proptest::prelude::*;

use super::*;
use crate::{BuildError, file::damage};

const KINDS: [ScalarIndexKind; 3] = [
    ScalarIndexKind::Inverted,
    ScalarIndexKind::Bitmap,
    ScalarIndexKind::Sorted,
];

fn index(column: &dyn Array) -> ScalarIndex {
    ScalarIndex::open(
        build_scalar(ScalarIndexKind::Inverted, column)
            .unwrap()
            .into(),
        column.len(),
    )
    .unwrap()
}

fn rows(answer: Option<RoaringBitmap>) -> Option<Vec<u32>> {
    answer.map(|rows| rows.iter().collect())
}

fn some(rows: &[u32]) -> Option<Vec<u32>> {
    Some(rows.to_vec())
}

#[test]
fn integers_of_every_width_answer() {
    let columns: [Box<dyn Array>; 4] = [
        Box::new(Int8Array::from(vec![Some(3), None, Some(-1), Some(3)])),
        Box::new(Int16Array::from(vec![Some(3), None, Some(-1), Some(3)])),
        Box::new(Int32Array::from(vec![Some(3), None, Some(-1), Some(3)])),
        Box::new(Int64Array::from(vec![Some(3), None, Some(-1), Some(3)])),
    ];
    for column in &columns {
        for kind in KINDS {
            let file = build_scalar(kind, column.as_ref()).unwrap();
            let index = ScalarIndex::open(file.into(), 4).unwrap();
            assert_eq!((index.kind(), index.len()), (kind, 4));
            assert_eq!(rows(index.equal(&Value::Int(3))), some(&[0, 3]));
            assert_eq!(rows(index.equal(&Value::Float(3.0))), some(&[0, 3]));
            assert_eq!(rows(index.equal(&Value::Float(3.5))), some(&[]));
            assert_eq!(
                rows(index.in_list(&[Value::Int(-1), Value::Int(7), Value::Int(3)])),
                some(&[0, 2, 3])
            );
            assert_eq!(
                rows(index.range(
                    Bound::Excluded(&Value::Float(-1.5)),
                    Bound::Excluded(&Value::Int(3))
                )),
                some(&[2])
            );
            assert_eq!(
                rows(index.range(
                    Bound::Included(&Value::Int(5)),
                    Bound::Included(&Value::Int(-5))
                )),
                some(&[])
            );
            assert_eq!(rows(Some(index.is_null())), some(&[1]));
            assert_eq!(index.equal(&Value::Str("3".into())), None);
            assert_eq!(index.equal(&Value::Null), None);
            assert_eq!(index.prefix("3"), None);
            assert_eq!(index.contains(&Value::Int(3)), None);
        }
    }
}

#[test]
fn nan_is_in_no_answer_and_both_zeros_are_one() {
    let wide = Float64Array::from(vec![0.0, -0.0, f64::NAN, f64::INFINITY, -1.5]);
    let narrow = Float32Array::from(vec![0.0, -0.0, f32::NAN, f32::INFINITY, -1.5]);
    let columns: [&dyn Array; 2] = [&wide, &narrow];
    for column in columns {
        let index = index(column);
        assert_eq!(rows(index.equal(&Value::Float(-0.0))), some(&[0, 1]));
        assert_eq!(rows(index.equal(&Value::Int(0))), some(&[0, 1]));
        assert_eq!(rows(index.equal(&Value::Float(f64::NAN))), some(&[]));
        assert_eq!(
            rows(index.range(Bound::Unbounded, Bound::Unbounded)),
            some(&[0, 1, 3, 4])
        );
        assert_eq!(
            rows(index.range(Bound::Excluded(&Value::Int(-1)), Bound::Unbounded)),
            some(&[0, 1, 3])
        );
        assert_eq!(
            rows(index.range(Bound::Included(&Value::Float(f64::NAN)), Bound::Unbounded)),
            some(&[])
        );
    }
}

#[test]
fn text_answers_prefixes_and_patterns() {
    let column = StringArray::from(vec![
        Some("beta"),
        Some(""),
        None,
        Some("alpha"),
        Some("bet"),
        Some("Å"),
    ]);
    let index = index(&column);
    assert_eq!(rows(index.prefix("bet")), some(&[0, 4]));
    assert_eq!(rows(index.prefix("")), some(&[0, 1, 3, 4, 5]));
    assert_eq!(rows(index.prefix("Å")), some(&[5]));
    assert_eq!(rows(index.equal(&Value::Str(String::new()))), some(&[1]));
    assert_eq!(
        rows(index.matching(|text| text.ends_with('a'))),
        some(&[0, 3])
    );
    let from = Value::Str("alpha".into());
    assert_eq!(
        rows(index.range(Bound::Excluded(&from), Bound::Unbounded)),
        some(&[0, 4, 5])
    );
    assert_eq!(index.equal(&Value::Int(1)), None);
}

#[test]
fn booleans_answer_only_to_booleans() {
    let index = index(&BooleanArray::from(vec![
        Some(true),
        Some(false),
        None,
        Some(true),
    ]));
    assert_eq!(rows(index.equal(&Value::Bool(true))), some(&[0, 3]));
    assert_eq!(rows(index.equal(&Value::Bool(false))), some(&[1]));
    assert_eq!(index.equal(&Value::Int(1)), None);
}

#[test]
fn arrays_answer_what_they_contain() {
    let column = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), Some(2), Some(1)]),
        None,
        Some(vec![]),
        Some(vec![Some(2)]),
    ]);
    let index = index(&column);
    assert!(index.is_over_arrays());
    assert_eq!(rows(index.contains(&Value::Int(1))), some(&[0]));
    assert_eq!(rows(index.contains(&Value::Int(2))), some(&[0, 3]));
    assert_eq!(rows(index.contains(&Value::Int(9))), some(&[]));
    assert_eq!(rows(Some(index.is_null())), some(&[1]));
    assert_eq!(index.equal(&Value::Int(1)), None);
    let tail = column.slice(2, 2);
    assert_eq!(
        rows(super::tests::index(&tail).contains(&Value::Int(2))),
        some(&[1])
    );
}

#[test]
fn empty_columns_answer_nothing_and_strange_ones_are_refused() {
    let empty = index(&Int64Array::from(Vec::<i64>::new()));
    assert!(empty.is_empty());
    assert_eq!(
        rows(empty.range(Bound::Unbounded, Bound::Unbounded)),
        some(&[])
    );
    let refused = build_scalar(ScalarIndexKind::Bitmap, &UInt64Array::from(vec![1]));
    assert!(matches!(refused, Err(BuildError::Unsupported { .. })));
}

#[test]
fn damage_is_refused() {
    let of = |rows| move |bytes| ScalarIndex::open(bytes, rows);
    let text = StringArray::from(vec![Some("b"), Some("ab"), None, Some("b")]);
    let text = build_scalar(ScalarIndexKind::Inverted, &text).unwrap();
    damage::is_refused(&text, of(4));
    let ints = build_scalar(ScalarIndexKind::Sorted, &Int8Array::from(vec![1, 0, 1])).unwrap();
    damage::is_refused(&ints, of(3));
    let floats =
        build_scalar(ScalarIndexKind::Sorted, &Float32Array::from(vec![1.0, 0.5])).unwrap();

    let forged = |good: &[u8], tag, at: usize, bytes: &[u8]| {
        let rows = [(&text, 4), (&ints, 3), (&floats, 2)];
        let (_, rows) = rows.iter().find(|(file, _)| **file == *good).unwrap();
        let bad = damage::forge(good, Kind::Scalar, tag, |b| {
            b[at..at + bytes.len()].copy_from_slice(bytes);
        });
        of(*rows)(bad).unwrap_err().problem
    };
    // Every number but this fits; a bit for each row would be 512 MiB for each question.
    assert_eq!(
        forged(&text, tag::META, meta::ROWS * 4, &u32::MAX.to_le_bytes()),
        "built over 4294967295 rows, not 4"
    );
    assert_eq!(forged(&text, tag::KEYS, 0, &[0xff]), "not UTF-8");
    assert_eq!(forged(&text, tag::KEYS, 0, b"c"), "values do not ascend");
    assert_eq!(forged(&text, tag::NULLS, 0, &[9]), "9 is not below 4");
    assert_eq!(forged(&ints, tag::KEYS, 0, &[2]), "values do not ascend");
    assert_eq!(forged(&ints, tag::ROWS, 0, &[3]), "3 is not below 3");
    assert_eq!(forged(&ints, tag::ROWS, 4, &[2]), "rows do not ascend");
    assert_eq!(forged(&ints, tag::OFFSETS, 4, &[0]), "a value without rows");
    assert_eq!(
        forged(&ints, tag::META, 4, &[9]),
        "unknown family of values"
    );
    assert_eq!(
        forged(&floats, tag::KEYS, 0, &f64::NAN.to_le_bytes()),
        "not a number"
    );
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-6_i64..6).prop_map(Value::Int),
        (-12_i32..12).prop_map(|x| Value::Float(f64::from(x) / 2.0)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(3),
        ..ProptestConfig::default()
    })]

    #[test]
    fn ranges_agree_with_reading_the_column(
        column in proptest::collection::vec(proptest::option::of(-5_i64..5), 0..60),
        from in value(),
        to in value(),
        shut in any::<(bool, bool)>(),
    ) {
        let number = |v: &Value| match v {
            Value::Int(i) => *i as f64,
            Value::Float(x) => *x,
            _ => f64::NAN,
        };
        let bound = |v, shut| if shut { Bound::Included(v) } else { Bound::Excluded(v) };
        let passes = |x: f64| {
            let (a, b) = (number(&from), number(&to));
            (if shut.0 { x >= a } else { x > a }) && (if shut.1 { x <= b } else { x < b })
        };
        let expected: Vec<u32> = (0..column.len() as u32)
            .filter(|&row| column[row as usize].is_some_and(|x| passes(x as f64)))
            .collect();
        let floats: Float64Array = column.iter().map(|x| x.map(|x| x as f64)).collect();
        let ints = Int64Array::from(column);
        let columns: [&dyn Array; 2] = [&ints, &floats];
        for column in columns {
            let answer = index(column).range(bound(&from, shut.0), bound(&to, shut.1));
            prop_assert_eq!(rows(answer), Some(expected.clone()));
        }
    }
}
