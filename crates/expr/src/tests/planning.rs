//! What planners read off predicates.

use std::ops::Bound;

use holdfast_types::{FieldId, Pk, PkList, Value};

use super::{ID, TENANT, parsed};

#[test]
fn exact_key_filters_give_their_keys() {
    for (text, keys) in [
        ("id == 5", Some(vec![5])),
        ("5 == id", Some(vec![5])),
        ("id == 5.0", Some(vec![5])),
        ("id in [3, 1, 3]", Some(vec![1, 3])),
        ("id in []", Some(vec![])),
        ("id in {ids}", Some(vec![1, 3])),
        ("true and (id in [1])", Some(vec![1])),
        ("id == 5.5", None),
        ("id != 5", None),
        ("id > 5", None),
        ("id not in [1]", None),
        ("id in [1] and b", None),
        ("id in [1] or id in [2]", None),
        ("id + 0 == 5", None),
        ("i64 == 5", None),
        ("", None),
    ] {
        assert_eq!(parsed(text).pk_equals(ID), keys.map(PkList::Int), "{text}");
    }
    assert_eq!(
        parsed("tenant in ['b', 'a']").pk_equals(TENANT),
        Some(PkList::Str(vec!["a".into(), "b".into()]))
    );
}

#[test]
fn required_keys_come_from_the_shortest_conjunct() {
    assert_eq!(
        parsed("id in [1, 2] and b and id in [2]").required_keys(ID),
        Some(PkList::Int(vec![2]))
    );
    assert_eq!(parsed("id in [1, 2] or b").required_keys(ID), None);
}

#[test]
fn lower_bounds_of_keys_are_the_tightest() {
    for (text, bound) in [
        ("id > 5 and b", Bound::Excluded(Pk::Int(5))),
        (
            "id >= 5 and id > 5 and id >= 3",
            Bound::Excluded(Pk::Int(5)),
        ),
        ("id > 5 and id >= 6", Bound::Included(Pk::Int(6))),
        ("5 < id < 9", Bound::Excluded(Pk::Int(5))),
        ("id > 5.5", Bound::Included(Pk::Int(6))),
        ("id > 5 or b", Bound::Unbounded),
        ("id < 5", Bound::Unbounded),
    ] {
        assert_eq!(parsed(text).pk_lower_bound(ID), bound, "{text}");
    }
    assert_eq!(
        parsed("tenant > 'a'").pk_lower_bound(TENANT),
        Bound::Excluded(Pk::Str("a".into()))
    );
}

#[test]
fn equal_values_bound_a_field_from_above() {
    let values = |texts: &[&str]| {
        Some(
            texts
                .iter()
                .map(|t| Value::Str((*t).into()))
                .collect::<Vec<_>>(),
        )
    };
    for (text, expected) in [
        ("tenant == 'a'", values(&["a"])),
        ("tenant in ['b', 'a'] and i64 > 1", values(&["a", "b"])),
        ("tenant in ['b', 'a'] and tenant == 'a'", values(&["a"])),
        ("tenant == 'a' and b or tenant == 'b'", values(&["a", "b"])),
        ("tenant == 'a' or b", None),
        ("not (tenant == 'a')", None),
        ("tenant != 'a'", None),
        ("tenant like 'a'", None),
        ("b", None),
        ("", None),
        ("1 > 2", values(&[])),
        ("json['tenant'] == 'a'", None),
    ] {
        assert_eq!(parsed(text).equal_values(TENANT), expected, "{text}");
    }
    assert_eq!(
        parsed("b and i64 > 1").equal_values(FieldId(107)),
        Some(vec![Value::Bool(true)])
    );
}

#[test]
fn fields_are_listed_once_and_conjuncts_apart() {
    let predicate = parsed(
        "i64 + i8 > 1 and (b or not (s like 'x')) and json_contains(color, 1) and i64 is null",
    );
    let ids: Vec<i64> = predicate.fields().iter().map(|f| f.0).collect();
    assert_eq!(ids, [102, 104, 107, 108, 116]);
    assert_eq!(predicate.conjuncts().len(), 4);
    assert_eq!(parsed("b").conjuncts().len(), 1);
    assert!(parsed("").fields().is_empty());
    assert!(parsed("1 > 2").is_always_false());
}
