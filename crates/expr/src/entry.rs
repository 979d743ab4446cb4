//! The way in.

use std::collections::HashMap;

use holdfast_types::{CollectionSchema, Value, limits};

use crate::{Access, ExprError, Predicate, check, parser};

/// Most levels of nesting of a filter and of its predicate. A chain of `and` or `or` is one level.
pub const MAX_DEPTH: usize = 128;
/// Most values of one list.
pub const MAX_LIST_VALUES: usize = 1_000_000;
/// Most values and names in one filter, list values included.
pub const MAX_OPERANDS: usize = 2_000_000;
/// Longest filter, in bytes: as long as the message that carries it.
pub const MAX_TEXT_BYTES: usize = limits::MAX_MESSAGE_BYTES;

/// Parses and types a filter over the fields of `schema`.
///
/// `params` holds the values of the templates (`{name}`) in the text. A blank text holds of every row.
/// Takes time linear in the text, but for the sorting of lists.
///
/// # Errors
/// The text does not parse, names what does not exist, compares what cannot be compared, or is beyond a
/// limit; with `Code::Unsupported`, uses what Milvus has and Holdfast has not.
pub fn parse(
    text: &str,
    schema: &CollectionSchema,
    params: &HashMap<String, Value>,
) -> Result<Predicate, ExprError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(ExprError::new(
            MAX_TEXT_BYTES,
            format!("the expression is longer than {MAX_TEXT_BYTES} bytes"),
        ));
    }
    if text.trim().is_empty() {
        return Ok(Predicate::Const(true));
    }
    let expr = parser::parse(text, params)?;
    check::check(expr, schema)
}

/// Reads a field, or a path into a JSON or array field, such as `meta["a"][0]` or the bare name of a
/// dynamic key.
///
/// # Errors
/// The text is no path, or not one into the fields of `schema`.
pub fn parse_json_path(text: &str, schema: &CollectionSchema) -> Result<Access, ExprError> {
    let (name, steps) = parser::parse_path(text)?;
    check::resolve(schema, 0, &name, steps)
}
