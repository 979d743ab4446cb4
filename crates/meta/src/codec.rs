//! Stored values to domain types and back: the only place that names the generated catalog messages.
//!
//! Everything is destructured, so that a new field does not compile until it is handled; what is not
//! understood is refused with its field path, never defaulted.

mod collection;
mod schema;

use bytes::Bytes;
use holdfast_proto::persisted::catalog as pb;
use holdfast_types::{CollectionId, DatabaseId, Epoch, Timestamp};
use prost::Message;

use crate::{CollectionMeta, DatabaseMeta, MetaError, envelope};

/// A field of a stored value that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub(crate) struct InvalidField {
    path: String,
    problem: String,
}

impl InvalidField {
    fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
        }
    }

    /// The same, seen from the message around it.
    fn within(mut self, parent: &str) -> Self {
        self.path = format!("{parent}.{}", self.path);
        self
    }

    /// The same, seen from the list around it.
    fn within_item(self, list: &str, index: usize) -> Self {
        self.within(&format!("{list}[{index}]"))
    }
}

/// Which collection a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameEntry {
    pub(crate) collection: CollectionId,
    pub(crate) is_alias: bool,
}

/// Who holds a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochClaim {
    /// The term.
    pub epoch: Epoch,
    /// Who took it, for a person to read.
    pub owner: String,
}

/// A type that is stored under a key.
pub(crate) trait Stored: Sized {
    type Wire: Message + Default;
    fn to_wire(&self) -> Self::Wire;
    fn from_wire(wire: Self::Wire) -> Result<Self, InvalidField>;
}

/// The bytes of `value` to be stored at `key`.
///
/// # Errors
/// [`MetaError::Refused`] for a value that could not be read back: it is not stored at all.
pub(crate) fn encode<T: Stored>(key: &str, value: &T) -> Result<Bytes, MetaError> {
    let payload = value.to_wire().encode_to_vec();
    let readable = T::Wire::decode(payload.as_slice())
        .map_err(|e| InvalidField::new("message", e.to_string()))
        .and_then(T::from_wire);
    match readable {
        Ok(_) => Ok(envelope::seal(key, &payload)),
        Err(field) => Err(MetaError::Refused(format!("{key}: {field}"))),
    }
}

/// The value stored at `key`.
///
/// # Errors
/// [`MetaError::Damaged`] with the key and the path of the field.
pub(crate) fn decode<T: Stored>(key: &str, value: &Bytes) -> Result<T, MetaError> {
    let payload = envelope::open(key, value)?;
    let wire = T::Wire::decode(payload)
        .map_err(|e| MetaError::damaged(key, format!("not a message: {e}")))?;
    T::from_wire(wire).map_err(|field| MetaError::damaged(key, field.to_string()))
}

impl Stored for DatabaseMeta {
    type Wire = pb::Database;

    fn to_wire(&self) -> pb::Database {
        let Self {
            id,
            name,
            properties,
            created,
        } = self;
        pb::Database {
            id: id.0,
            name: name.clone(),
            properties: pairs_to_wire(properties.iter().map(|(k, v)| (k, v))),
            created: created.0,
        }
    }

    fn from_wire(wire: pb::Database) -> Result<Self, InvalidField> {
        let pb::Database {
            id,
            name,
            properties,
            created,
        } = wire;
        Ok(Self {
            id: DatabaseId(positive("id", id)?),
            name,
            properties: pairs_from_wire(properties),
            created: Timestamp(created),
        })
    }
}

impl Stored for CollectionMeta {
    type Wire = pb::Collection;

    fn to_wire(&self) -> pb::Collection {
        collection::to_wire(self)
    }

    fn from_wire(wire: pb::Collection) -> Result<Self, InvalidField> {
        collection::from_wire(wire)
    }
}

impl Stored for NameEntry {
    type Wire = pb::Name;

    fn to_wire(&self) -> pb::Name {
        let Self {
            collection,
            is_alias,
        } = *self;
        pb::Name {
            collection: collection.0,
            is_alias,
        }
    }

    fn from_wire(wire: pb::Name) -> Result<Self, InvalidField> {
        let pb::Name {
            collection,
            is_alias,
        } = wire;
        Ok(Self {
            collection: CollectionId(positive("collection", collection)?),
            is_alias,
        })
    }
}

/// The first id nobody has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextId(pub(crate) i64);

impl Stored for NextId {
    type Wire = pb::NextId;

    fn to_wire(&self) -> pb::NextId {
        pb::NextId { next: self.0 }
    }

    fn from_wire(wire: pb::NextId) -> Result<Self, InvalidField> {
        let pb::NextId { next } = wire;
        Ok(Self(positive("next", next)?))
    }
}

impl Stored for EpochClaim {
    type Wire = pb::EpochClaim;

    fn to_wire(&self) -> pb::EpochClaim {
        let Self { epoch, owner } = self;
        pb::EpochClaim {
            epoch: epoch.0,
            owner: owner.clone(),
        }
    }

    fn from_wire(wire: pb::EpochClaim) -> Result<Self, InvalidField> {
        let pb::EpochClaim { epoch, owner } = wire;
        if epoch == 0 {
            return Err(InvalidField::new("epoch", "0 is no epoch"));
        }
        Ok(Self {
            epoch: Epoch(epoch),
            owner,
        })
    }
}

fn positive(path: &str, id: i64) -> Result<i64, InvalidField> {
    if id < 1 {
        return Err(InvalidField::new(path, format!("{id} is not positive")));
    }
    Ok(id)
}

fn pairs_to_wire<'a>(
    pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Vec<pb::Property> {
    let property = |(key, value): (&String, &String)| pb::Property {
        key: key.clone(),
        value: value.clone(),
    };
    pairs.into_iter().map(property).collect()
}

fn pairs_from_wire<C: FromIterator<(String, String)>>(pairs: Vec<pb::Property>) -> C {
    let pair = |property: pb::Property| {
        let pb::Property { key, value } = property;
        (key, value)
    };
    pairs.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests;
