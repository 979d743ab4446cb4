//! Which names databases, collections, aliases, partitions, fields and indexes may have.

use std::fmt;

use holdfast_types::{Failure, limits::MAX_NAME_LENGTH};

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOf {
    /// A database.
    Database,
    /// A collection.
    Collection,
    /// An alias of a collection.
    Alias,
    /// A partition.
    Partition,
    /// A field.
    Field,
    /// An index.
    Index,
}

impl fmt::Display for NameOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "database name",
            Self::Collection => "collection name",
            Self::Alias => "collection alias",
            Self::Partition => "partition name",
            Self::Field => "field name",
            Self::Index => "index name",
        })
    }
}

/// Refuses a name that does not begin with an ASCII letter or an underscore, holds anything but ASCII
/// letters, digits and underscores, or is longer than 255 bytes. The texts are those Milvus clients know.
///
/// # Errors
/// `InvalidArgument`.
pub fn check_name(of: NameOf, name: &str) -> Result<(), Failure> {
    // `chars` bounds what a hostile name can put into the message.
    let refuse = |why: String| {
        let shown: String = name.chars().take(MAX_NAME_LENGTH).collect();
        Err(Failure::invalid(format!("Invalid {of}: {shown}. {why}")))
    };
    let Some(first) = name.bytes().next() else {
        return refuse(format!("the {of} should not be empty"));
    };
    if name.len() > MAX_NAME_LENGTH {
        return refuse(format!(
            "the length of a {of} must be less than {MAX_NAME_LENGTH} characters"
        ));
    }
    if first != b'_' && !first.is_ascii_alphabetic() {
        return refuse(format!(
            "the first character of a {of} must be an underscore or letter"
        ));
    }
    if !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
        return refuse(format!(
            "{of} can only contain numbers, letters and underscores"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(of: NameOf, name: &str, expect: &str) {
        let failure = check_name(of, name).unwrap_err();
        assert_eq!(failure.message, expect);
    }

    #[test]
    fn letters_digits_and_underscores_are_accepted() {
        for name in ["a", "_", "_a1", "Z9_", &"x".repeat(255)] {
            assert_eq!(check_name(NameOf::Collection, name), Ok(()), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_in_words_clients_know() {
        let first = "the first character of a collection name must be an underscore or letter";
        check(
            NameOf::Collection,
            "1a",
            &format!("Invalid collection name: 1a. {first}"),
        );
        check(
            NameOf::Collection,
            "é",
            &format!("Invalid collection name: é. {first}"),
        );
        check(
            NameOf::Collection,
            "",
            "Invalid collection name: . the collection name should not be empty",
        );
        check(
            NameOf::Alias,
            "a-b",
            "Invalid collection alias: a-b. collection alias can only contain numbers, letters and underscores",
        );
        check(
            NameOf::Partition,
            "a/b",
            "Invalid partition name: a/b. partition name can only contain numbers, letters and underscores",
        );
        let long = "x".repeat(256);
        check(
            NameOf::Database,
            &long,
            &format!(
                "Invalid database name: {}. the length of a database name must be less than 255 characters",
                "x".repeat(255)
            ),
        );
    }
}
