//! Index types over scalars, arrays and JSON paths.

use std::fmt::Write;

use holdfast_expr::PathStep;
use holdfast_meta::{IndexKind, JsonPathMeta};
use holdfast_types::{Code, CollectionSchema, DataType, Failure, FieldSchema};

use super::{
    AUTOINDEX, Flat, JSON_CAST_TYPE, JSON_PATH, Resolved, unknown_type, unsupported, vector,
    wrong_field,
};

/// What Holdfast builds over scalars.
const BUILT: [&str; 5] = [AUTOINDEX, "INVERTED", "BITMAP", "STL_SORT", "Trie"];
/// Exists elsewhere, for scalars, and is not built.
const UNSUPPORTED: [&str; 3] = ["NGRAM", "RTREE", "HYBRID"];
/// Casts that exist elsewhere.
const CASTS_UNSUPPORTED: [&str; 4] = ["ARRAY_BOOL", "ARRAY_DOUBLE", "ARRAY_VARCHAR", "JSON"];

/// Whether any scalar has indexes of this type.
pub(super) fn is_known(index_type: &str) -> bool {
    BUILT.contains(&index_type) || UNSUPPORTED.contains(&index_type)
}

pub(super) fn resolve(
    field: &FieldSchema,
    schema: &CollectionSchema,
    index_type: &str,
    flat: &Flat,
) -> Result<Resolved, Failure> {
    if UNSUPPORTED.contains(&index_type) {
        return Err(unsupported(index_type));
    }
    if !BUILT.contains(&index_type) {
        return Err(if vector::is_known(index_type) {
            wrong_field(field, index_type)
        } else {
            unknown_type(index_type)
        });
    }
    let kind = kind(field, index_type)?;
    let (json_path, suffix) = match field.data_type {
        DataType::Json => {
            let (path, suffix) = json_path(field, schema, flat)?;
            (Some(path), suffix)
        }
        _ => (None, String::new()),
    };
    Ok(Resolved {
        kind,
        metric: None,
        json_path,
        asked: Vec::new(),
        suffix,
    })
}

fn kind(field: &FieldSchema, index_type: &str) -> Result<IndexKind, Failure> {
    let data_type = field.data_type;
    // What is indexed: the elements of an array, else the field itself.
    let value = field.element_type.unwrap_or(data_type);
    let refuse = |why: &str| Err(Failure::invalid(why));
    match index_type {
        AUTOINDEX => Ok(match data_type {
            DataType::Bool => IndexKind::Bitmap,
            _ if data_type.is_numeric() => IndexKind::StlSort,
            _ => IndexKind::Inverted,
        }),
        "INVERTED" => Ok(IndexKind::Inverted),
        "BITMAP" => {
            if field.is_primary {
                return refuse("create bitmap index on primary key not supported");
            }
            if data_type == DataType::Json {
                return refuse(
                    "bitmap index are only supported on bool, int, string and array field",
                );
            }
            if value.is_floating() {
                return refuse(if data_type == DataType::Array {
                    "bitmap index are only supported on bool, int, string for array field"
                } else {
                    "bitmap index are only supported on bool, int, string and array field"
                });
            }
            Ok(IndexKind::Bitmap)
        }
        "STL_SORT" => {
            if !data_type.is_numeric() && data_type != DataType::VarChar {
                return refuse("STL_SORT are only supported on numeric or varchar field");
            }
            Ok(IndexKind::StlSort)
        }
        // What is left of the types that are built is Trie.
        _ => {
            if data_type != DataType::VarChar {
                return refuse("TRIE are only supported on varchar field");
            }
            Ok(IndexKind::Inverted)
        }
    }
}

/// The path into a JSON field, and the same as a pointer: `/a/0`.
fn json_path(
    field: &FieldSchema,
    schema: &CollectionSchema,
    flat: &Flat,
) -> Result<(JsonPathMeta, String), Failure> {
    let refuse = |why: String| Err(Failure::invalid(why));
    let given = |key: &str| flat.get(key).filter(|text| !text.is_empty());
    let Some(cast) = given(JSON_CAST_TYPE) else {
        return refuse(format!(
            "json index must specify cast type: {JSON_CAST_TYPE} is missing"
        ));
    };
    let cast = match cast.to_ascii_uppercase().as_str() {
        "BOOL" => DataType::Bool,
        "DOUBLE" => DataType::Double,
        "VARCHAR" => DataType::VarChar,
        other if CASTS_UNSUPPORTED.contains(&other) => {
            return Err(Failure::new(
                Code::Unsupported,
                format!("{JSON_CAST_TYPE} {other} is not supported by this server"),
            ));
        }
        other => {
            let shown: String = other.chars().take(64).collect();
            return refuse(format!("{JSON_CAST_TYPE} {shown} is not supported"));
        }
    };
    let Some(path) = given(JSON_PATH) else {
        return refuse(format!(
            "json index must specify the path: {JSON_PATH} is missing"
        ));
    };
    let access = holdfast_expr::parse_json_path(path, schema)
        .map_err(|e| Failure::invalid(format!("invalid {JSON_PATH} {path}: {e}")))?;
    if access.field != field.id {
        return refuse(format!(
            "invalid {JSON_PATH} {path}: it is not a path into field {}",
            field.name
        ));
    }
    if access.path.is_empty() {
        return refuse(format!(
            "invalid {JSON_PATH} {path}: it names the whole field, not a value in it"
        ));
    }
    let mut pointer = String::new();
    for step in &access.path {
        let written = match step {
            PathStep::Key(key) => write!(pointer, "/{key}"),
            PathStep::Index(index) => write!(pointer, "/{index}"),
        };
        written.expect("a String takes all text");
    }
    let path = JsonPathMeta {
        path: path.clone(),
        cast,
    };
    Ok((path, pointer))
}
