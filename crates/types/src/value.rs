//! One scalar value, and primary keys.

use std::{cmp::Ordering, fmt};

use arrow_array::{Array, ArrayRef, Int64Array, StringArray, cast::AsArray, types::Int64Type};
use xxhash_rust::xxh3::xxh3_64;

/// A scalar that is not stored in a column: a literal, a default, a template argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL-style null.
    Null,
    /// Truth.
    Bool(bool),
    /// Any integer width.
    Int(i64),
    /// Any float width.
    Float(f64),
    /// Text.
    Str(String),
    /// A list, possibly of mixed types.
    List(Vec<Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => b.fmt(f),
            Self::Int(i) => i.fmt(f),
            Self::Float(x) => write!(f, "{x:?}"),
            Self::Str(s) => write!(f, "{s:?}"),
            Self::List(values) => {
                f.write_str("[")?;
                for (i, v) in values.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    v.fmt(f)?;
                }
                f.write_str("]")
            }
        }
    }
}

/// One primary key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pk {
    /// An `Int64` key.
    Int(i64),
    /// A `VarChar` key.
    Str(Box<str>),
}

impl Pk {
    /// The hash that chooses the shard, stable for ever: rows already stored were placed by it.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        match self {
            Self::Int(i) => xxh3_64(&i.to_le_bytes()),
            Self::Str(s) => xxh3_64(s.as_bytes()),
        }
    }
}

impl PartialOrd for Pk {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Integers by value, text by bytes; the two kinds never meet in one collection.
impl Ord for Pk {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Str(a), Self::Str(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Int(_), Self::Str(_)) => Ordering::Less,
            (Self::Str(_), Self::Int(_)) => Ordering::Greater,
        }
    }
}

impl fmt::Display for Pk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(i) => i.fmt(f),
            Self::Str(s) => s.fmt(f),
        }
    }
}

/// Many primary keys of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PkList {
    /// `Int64` keys.
    Int(Vec<i64>),
    /// `VarChar` keys.
    Str(Vec<Box<str>>),
}

/// Collects keys of one kind, that of the first; no key at all makes an empty list of integers.
///
/// # Panics
/// When kinds are mixed: the keys of one collection never are.
impl FromIterator<Pk> for PkList {
    fn from_iter<I: IntoIterator<Item = Pk>>(keys: I) -> Self {
        let mut keys = keys.into_iter().peekable();
        match keys.peek() {
            Some(Pk::Str(_)) => Self::Str(
                keys.map(|key| match key {
                    Pk::Str(s) => s,
                    Pk::Int(_) => panic!("an integer among text keys"),
                })
                .collect(),
            ),
            Some(Pk::Int(_)) | None => Self::Int(
                keys.map(|key| match key {
                    Pk::Int(i) => i,
                    Pk::Str(_) => panic!("a text among integer keys"),
                })
                .collect(),
            ),
        }
    }
}

impl PkList {
    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Int(v) => v.len(),
            Self::Str(v) => v.len(),
        }
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the keys take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Int(v) => v.len() * size_of::<i64>(),
            Self::Str(v) => v.iter().map(|s| size_of::<Box<str>>() + s.len()).sum(),
        };
        bytes as u64
    }

    /// The key at `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`].
    #[must_use]
    pub fn get(&self, i: usize) -> Pk {
        match self {
            Self::Int(v) => Pk::Int(v[i]),
            Self::Str(v) => Pk::Str(v[i].clone()),
        }
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = Pk> + '_ {
        (0..self.len()).map(|i| self.get(i))
    }

    /// The keys as an Arrow column (`Int64` or `Utf8`).
    #[must_use]
    pub fn to_array(&self) -> ArrayRef {
        match self {
            Self::Int(v) => std::sync::Arc::new(Int64Array::from(v.clone())),
            Self::Str(v) => std::sync::Arc::new(StringArray::from_iter_values(v.iter())),
        }
    }

    /// The keys of an Arrow column; `None` unless it is `Int64` or `Utf8` without nulls.
    #[must_use]
    pub fn from_array(array: &dyn Array) -> Option<Self> {
        if array.null_count() > 0 {
            return None;
        }
        if let Some(ints) = array.as_primitive_opt::<Int64Type>() {
            return Some(Self::Int(ints.values().to_vec()));
        }
        let strings = array.as_string_opt::<i32>()?;
        Some(Self::Str(
            strings.iter().flatten().map(Into::into).collect(),
        ))
    }
}
