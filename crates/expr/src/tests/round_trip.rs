//! Random trees written as text read back as themselves.

use holdfast_types::{DataType, FieldSchema, Value};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{dynamic_schema, schema};
use crate::{
    Access, ArithOp, CompareOp, ContainsMode, InList, LikePattern, Operand, PathStep, Predicate,
    parse,
};

fn columns(wanted: fn(&FieldSchema) -> bool) -> impl Strategy<Value = Access> {
    let fields: Vec<Access> = schema()
        .fields
        .iter()
        .filter(|f| wanted(f))
        .map(Access::column)
        .collect();
    select(fields)
}

fn json_path() -> impl Strategy<Value = Access> {
    let json = dynamic_schema()
        .fields
        .iter()
        .filter(|f| f.data_type == DataType::Json)
        .map(Access::column)
        .collect::<Vec<_>>();
    let step = prop_oneof![
        "\\PC{1,6}".prop_map(PathStep::Key),
        (0usize..1000).prop_map(PathStep::Index)
    ];
    (select(json), vec(step, 1..4)).prop_map(|(mut access, path)| {
        access.path = path;
        access
    })
}

fn finite() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,8}", "[\\x00-\\x7f]{0,8}", ".{0,4}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        finite().prop_map(Value::Float),
        text().prop_map(Value::Str),
    ]
}

fn compare_op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    select(&[Eq, Ne, Lt, Le, Gt, Ge])
}

/// Arithmetic over `i64` or a JSON path, with integer literals that divide.
fn arith() -> impl Strategy<Value = Operand> {
    let op = select(&[
        ArithOp::Add,
        ArithOp::Sub,
        ArithOp::Mul,
        ArithOp::Div,
        ArithOp::Mod,
    ]);
    let leaf = prop_oneof![
        columns(|f| f.data_type == DataType::Int64).prop_map(Operand::Column),
        json_path().prop_map(Operand::Column),
        columns(|f| f.data_type == DataType::Array).prop_map(Operand::ArrayLength),
    ];
    let literal = option::of(prop_oneof![1i64.., ..0i64]);
    (leaf.clone(), op, leaf, literal).prop_map(|(left, op, right, literal)| Operand::Arith {
        op,
        left: Box::new(left),
        right: Box::new(literal.map_or(right, |int| Operand::Literal(Value::Int(int)))),
    })
}

fn compare(
    left: impl Strategy<Value = Operand>,
    right: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Predicate> {
    (left, compare_op(), right).prop_map(|(left, op, right)| Predicate::Compare {
        left,
        op,
        right: Operand::Literal(right),
    })
}

fn leaf() -> impl Strategy<Value = Predicate> {
    let int_column = || columns(|f| f.data_type.is_integer()).prop_map(Operand::Column);
    let double_column = || columns(|f| f.data_type == DataType::Double).prop_map(Operand::Column);
    let text_column = || {
        prop_oneof![columns(|f| f.data_type == DataType::VarChar), json_path()]
            .prop_map(Operand::Column)
    };
    let number = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        finite().prop_map(Value::Float)
    ];
    let int_or_text = prop_oneof![number.clone(), text().prop_map(Value::Str)];
    prop_oneof![
        compare(int_column(), any::<i64>().prop_map(Value::Int)),
        compare(double_column(), finite().prop_map(Value::Float)),
        compare(text_column(), text().prop_map(Value::Str)),
        compare(json_path().prop_map(Operand::Column), int_or_text),
        compare(
            arith().prop_filter("typed arithmetic rewrites fractions", |a| a
                .result_type()
                .is_none()),
            number
        ),
        (arith(), compare_op(), arith()).prop_map(|(left, op, right)| Predicate::Compare {
            left,
            op,
            right
        }),
        (int_column(), vec(any::<i64>().prop_map(Value::Int), 0..6)).prop_map(
            |(operand, values)| Predicate::In {
                operand,
                values: InList::new(values),
            }
        ),
        (json_path(), vec(scalar(), 0..6)).prop_map(|(access, values)| Predicate::In {
            operand: Operand::Column(access),
            values: InList::new(values),
        }),
        (text_column(), text()).prop_map(|(operand, pattern)| Predicate::Like {
            operand,
            pattern: LikePattern::new(&pattern),
        }),
        prop_oneof![columns(|_| true), json_path()].prop_map(|access| Predicate::IsNull { access }),
        json_path().prop_map(|access| Predicate::Exists { access }),
        (json_path(), scalar()).prop_map(|(access, value)| Predicate::Contains {
            access,
            mode: ContainsMode::One,
            values: vec![value],
        }),
        (json_path(), any::<bool>(), vec(scalar(), 0..4)).prop_map(|(access, all, values)| {
            Predicate::Contains {
                access,
                mode: if all {
                    ContainsMode::All
                } else {
                    ContainsMode::Any
                },
                values,
            }
        }),
        prop_oneof![columns(|f| f.data_type == DataType::Bool), json_path()]
            .prop_map(Predicate::Truth),
    ]
}

/// Trees in the form that parsing promises: see [`Predicate`].
fn predicate() -> impl Strategy<Value = Predicate> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let not_and = inner
            .clone()
            .prop_filter("flat", |p| !matches!(p, Predicate::And(_)));
        let not_or = inner
            .clone()
            .prop_filter("flat", |p| !matches!(p, Predicate::Or(_)));
        let not_not = inner.prop_filter("flat", |p| !matches!(p, Predicate::Not(_)));
        prop_oneof![
            vec(not_and, 2..4).prop_map(Predicate::And),
            vec(not_or, 2..4).prop_map(Predicate::Or),
            not_not.prop_map(|p| Predicate::Not(Box::new(p))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_reads_back_from_its_text(predicate in predicate()) {
        let schema = dynamic_schema();
        let text = predicate.to_text(&schema).to_string();
        prop_assert_eq!(parse(&text, &schema, &Default::default()), Ok(predicate), "{}", text);
    }
}
