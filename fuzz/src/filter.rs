//! Filter texts.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use holdfast_expr::{parse, parse_json_path};
use holdfast_types::{CollectionSchema, Value};

use crate::sample;

static SCHEMA: LazyLock<Arc<CollectionSchema>> = LazyLock::new(sample::every_type);
static PARAMS: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    let list = |values: &[i64]| Value::List(values.iter().map(|v| Value::Int(*v)).collect());
    [
        ("n", Value::Int(i64::MIN)),
        ("x", Value::Float(0.5)),
        ("s", Value::Str("a%_\\".to_owned())),
        ("t", Value::Bool(true)),
        ("l", list(&[3, 1, 2, 1])),
        ("e", Value::List(Vec::new())),
        ("nested", Value::List(vec![list(&[1]), Value::Null])),
        ("null", Value::Null),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
});

/// Parses the input as a filter and as a path, over a schema with every type, with parameters. What was
/// accepted is asked everything that planners ask; an error must point into the text.
pub fn expression(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match parse(text, &SCHEMA, &PARAMS) {
        Ok(predicate) => {
            let fields = predicate.fields();
            assert!(
                fields.iter().all(|f| SCHEMA.field_by_id(*f).is_some()),
                "{text}"
            );
            drop(predicate.pk_equals(sample::KEY));
            let _bound = predicate.pk_lower_bound(sample::KEY);
            assert!(
                !predicate.conjuncts().is_empty() || text.trim().is_empty(),
                "{text}"
            );
        }
        Err(error) => assert!(error.position <= text.len(), "{text}: {error}"),
    }
    drop(parse_json_path(text, &SCHEMA));
}
