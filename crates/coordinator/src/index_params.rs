//! What a client asks of an index, and what is built for it.
//!
//! Clients name index types of other engines; each is accepted, its parameters are checked as its own
//! engine would, and the nearest kind that Holdfast builds serves it. What was asked is kept to be shown.
//!
//! | module   | what it knows                                       |
//! |----------|-----------------------------------------------------|
//! | `vector` | index types over vectors, their parameters, metrics |
//! | `scalar` | index types over scalars, arrays and JSON paths     |

use std::collections::BTreeMap;

use holdfast_meta::{IndexKind, JsonPathMeta};
use holdfast_types::{Code, CollectionSchema, Failure, FieldSchema, Metric};

use crate::properties::{MMAP, WARMUP, check_bool};

mod scalar;
mod vector;

#[cfg(test)]
mod tests;

pub(crate) const INDEX_TYPE: &str = "index_type";
pub(crate) const METRIC_TYPE: &str = "metric_type";
/// A JSON object with build parameters.
const PARAMS: &str = "params";
pub(crate) const AUTOINDEX: &str = "AUTOINDEX";
pub(crate) const JSON_PATH: &str = "json_path";
pub(crate) const JSON_CAST_TYPE: &str = "json_cast_type";
/// Longest text of all parameters of one index together, in bytes.
const PARAMS_BYTES_MAX: usize = 64 << 10;

/// Parameters by name: those inside `params` and those beside it.
pub(crate) type Flat = BTreeMap<String, String>;

/// An index that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) kind: IndexKind,
    pub(crate) metric: Option<Metric>,
    pub(crate) json_path: Option<JsonPathMeta>,
    /// As the client gave them, with the index type and the metric it left out.
    pub(crate) asked: Vec<(String, String)>,
    /// What is added to the field's name to name the index: the JSON path as a pointer.
    pub(crate) suffix: String,
}

/// Checks what a client asks and chooses what is built.
pub(crate) fn resolve(
    field: &FieldSchema,
    schema: &CollectionSchema,
    asked: &[(String, String)],
) -> Result<Resolved, Failure> {
    let flat = flatten(asked)?;
    for key in [MMAP] {
        if let Some(value) = flat.get(key) {
            check_bool(key, value)?;
        }
    }
    let named = flat.get(INDEX_TYPE).map_or("", |name| name.as_str());
    let index_type = if named.is_empty() { AUTOINDEX } else { named };
    let mut resolved = if field.data_type.is_vector() {
        vector::resolve(field, index_type, &flat)?
    } else {
        scalar::resolve(field, schema, index_type, &flat)?
    };
    asked.clone_into(&mut resolved.asked);
    let mut show = |key: &str, value: String| {
        resolved.asked.retain(|(k, v)| k != key || !v.is_empty());
        if !resolved.asked.iter().any(|(k, _)| k == key) {
            resolved.asked.push((key.to_owned(), value));
        }
    };
    if named.is_empty() {
        show(INDEX_TYPE, AUTOINDEX.to_owned());
    }
    if let Some(metric) = resolved.metric
        && flat.get(METRIC_TYPE).is_none_or(String::is_empty)
    {
        show(METRIC_TYPE, metric.to_string());
    }
    Ok(resolved)
}

/// Whether two clients asked for the same: the order, and whether a parameter stands inside `params`,
/// make no difference, and neither does what may be altered later.
pub(crate) fn same_asked(a: &[(String, String)], b: &[(String, String)]) -> bool {
    let (Ok(mut a), Ok(mut b)) = (flatten(a), flatten(b)) else {
        return false;
    };
    for flat in [&mut a, &mut b] {
        flat.retain(|key, _| !is_alterable(key));
    }
    a == b
}

/// Whether a parameter may be changed after the index was made.
pub(crate) fn is_alterable(key: &str) -> bool {
    [MMAP, WARMUP].contains(&key)
}

/// All parameters by name; those beside `params` win over those inside.
fn flatten(asked: &[(String, String)]) -> Result<Flat, Failure> {
    let bytes: usize = asked.iter().map(|(k, v)| k.len() + v.len()).sum();
    if bytes > PARAMS_BYTES_MAX {
        return Err(Failure::invalid(format!(
            "index params of {bytes} bytes are more than {PARAMS_BYTES_MAX}"
        )));
    }
    let mut flat = Flat::new();
    for (_, text) in asked
        .iter()
        .filter(|(key, text)| key == PARAMS && !text.is_empty())
    {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
            .map_err(|e| {
                Failure::invalid(format!(
                    "invalid index params: {PARAMS} is not a JSON object: {e}"
                ))
            })?;
        flat.extend(object.into_iter().map(|(key, value)| match value {
            serde_json::Value::String(text) => (key, text),
            other => (key, other.to_string()),
        }));
    }
    for (key, value) in asked.iter().filter(|(key, _)| key != PARAMS) {
        flat.insert(key.clone(), value.clone());
    }
    Ok(flat)
}

/// The index type is one that no type of field has.
fn unknown_type(index_type: &str) -> Failure {
    let shown: String = index_type.chars().take(64).collect();
    Failure::invalid(format!("invalid index type: {shown}"))
}

/// The index type exists, for other fields.
fn wrong_field(field: &FieldSchema, index_type: &str) -> Failure {
    Failure::invalid(format!(
        "data type {} can't build with this index {index_type}",
        field.data_type
    ))
}

fn unsupported(index_type: &str) -> Failure {
    Failure::new(
        Code::Unsupported,
        format!("index type {index_type} is not supported by this server"),
    )
}

/// An integer parameter within bounds, if it is given.
fn integer(flat: &Flat, key: &str, least: i64, most: i64) -> Result<Option<i64>, Failure> {
    let Some(text) = flat.get(key) else {
        return Ok(None);
    };
    let value: i64 = text.trim().parse().map_err(|_| {
        Failure::invalid(format!(
            "wrong data type in json, key: '{key}', value: '{text}', expected: integer"
        ))
    })?;
    if !(least..=most).contains(&value) {
        return Err(Failure::invalid(format!(
            "param '{key}' ({value}) should be in range [{least}, {most}]"
        )));
    }
    Ok(Some(value))
}

/// Refuses a parameter that is given and is none of `names`, in any case of letters.
fn one_of(flat: &Flat, key: &str, names: &[&str]) -> Result<(), Failure> {
    match flat.get(key) {
        Some(value) if !names.iter().any(|n| n.eq_ignore_ascii_case(value)) => {
            Err(Failure::invalid(format!(
                "param '{key}' ({value}) should be one of [{}]",
                names.join(", ")
            )))
        }
        _ => Ok(()),
    }
}
