//! What collections, partitions, aliases and fields may be called.

use holdfast_types::{Failure, limits::MAX_NAME_LENGTH};

/// Words of the filter language: a field of this name could not be filtered by.
const KEYWORDS: [&str; 15] = [
    "and",
    "or",
    "not",
    "in",
    "like",
    "exists",
    "true",
    "false",
    "json_contains",
    "json_contains_all",
    "json_contains_any",
    "array_contains",
    "array_contains_all",
    "array_contains_any",
    "array_length",
];

/// Checks a name: letters, digits and underscores, not beginning with a digit. `what` is the noun of the
/// message: `collection`, `partition`, ...
///
/// # Errors
/// [`holdfast_types::Code::InvalidArgument`] saying which rule was broken.
pub fn check_name(what: &str, name: &str) -> Result<(), Failure> {
    let invalid = |problem: String| {
        Err(Failure::invalid(format!(
            "Invalid {what} name: {name}. {problem}"
        )))
    };
    if name.is_empty() {
        return Err(Failure::invalid(format!("{what} name should not be empty")));
    }
    if name.len() > MAX_NAME_LENGTH {
        return Err(Failure::invalid(format!(
            "the length of {what} name must be not greater than limit, {} bytes are more than {MAX_NAME_LENGTH}",
            name.len()
        )));
    }
    if !name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()) {
        return invalid(format!(
            "The first character of a {what} name must be an underscore or letter"
        ));
    }
    if !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
        return invalid(format!(
            "{what} name can only contain numbers, letters and underscores"
        ));
    }
    Ok(())
}

/// [`check_name`], and not a word of the filter language.
pub(super) fn check_field_name(name: &str) -> Result<(), Failure> {
    check_name("field", name)?;
    let lower = name.to_ascii_lowercase();
    // The filter language knows its words in one case only, but a name that needs such care is a trap.
    if KEYWORDS.contains(&lower.as_str()) {
        return Err(Failure::invalid(format!(
            "Invalid field name: {name}. it is a word of the filter language"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_and_underscores() {
        for good in ["a", "_", "A1_b", &"x".repeat(MAX_NAME_LENGTH)] {
            assert_eq!(check_name("collection", good), Ok(()), "{good}");
            assert_eq!(check_field_name(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "1a",
            "a-b",
            "a b",
            "ä",
            "$meta",
            "a.b",
            &"x".repeat(MAX_NAME_LENGTH + 1),
        ] {
            assert!(check_name("collection", bad).is_err(), "{bad}");
        }
        for keyword in ["and", "AND", "in", "true", "array_length"] {
            assert!(check_field_name(keyword).is_err(), "{keyword}");
            assert!(check_name("collection", keyword).is_ok(), "{keyword}");
        }
    }
}
