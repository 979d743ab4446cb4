//! What each file of a sealed segment holds, and its name.

use std::{fmt, str::FromStr};

use crate::FieldId;

/// What a file of a segment holds. Prints as the file's name within the segment's folder, and is read back
/// from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileRole {
    /// All scalar fields and `$ts`: an Arrow IPC file.
    Columns,
    /// One vector field: an Arrow IPC file of one column.
    Vector(FieldId),
    /// Sorted primary keys and a Bloom filter.
    Keys,
    /// Rows deleted before the segment was written, with the stamps of their deletes.
    Deletes,
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns => f.write_str("columns.arrow"),
            Self::Vector(field) => write!(f, "vector-{field}.arrow"),
            Self::Keys => f.write_str("keys"),
            Self::Deletes => f.write_str("deletes"),
        }
    }
}

/// The text is the name of no file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no file of a segment has this name")]
pub struct NoFileRole;

impl FromStr for FileRole {
    type Err = NoFileRole;

    fn from_str(name: &str) -> Result<Self, NoFileRole> {
        match name {
            "columns.arrow" => Ok(Self::Columns),
            "keys" => Ok(Self::Keys),
            "deletes" => Ok(Self::Deletes),
            _ => name
                .strip_prefix("vector-")
                .and_then(|rest| rest.strip_suffix(".arrow"))
                .and_then(|field| field.parse().ok())
                .map(|field| Self::Vector(FieldId(field)))
                .ok_or(NoFileRole),
        }
    }
}
