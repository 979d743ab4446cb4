//! The name of every object, and the only way to make one.
//!
//! ```text
//! data/<collection>/<shard>/<segment>.<epoch>.<attempt>/<file>      columns.arrow, vector-<field>.arrow, keys, deletes
//! idx/<collection>/<shard>/<segment>.<index>.<build>                one index of one segment
//! del/<collection>/<shard>/<first lsn>-<last lsn>.<epoch>.<attempt> a delete log
//! man/<collection>/<shard>/<version>.<epoch>.<nonce>                a manifest
//! man/<collection>/dropped                                          proof that the collection is gone
//! ```
//!
//! All parts are decimal numbers and fixed words, except the nonce (16 hexadecimal digits). Versions
//! and LSNs have 20 digits, so that names sort as they count. A text that is not exactly what
//! [`ObjectName`] prints is no path: no name can climb out of the store or have two spellings.

use std::{fmt, sync::Arc};

use holdfast_types::{
    CollectionId, Epoch, FileRole, IndexId, Lsn, ManifestVersion, SegmentId, ShardId,
};

/// What an object is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectName {
    /// One file of a segment.
    SegmentFile {
        /// The shard.
        shard: ShardId,
        /// The segment.
        segment: SegmentId,
        /// Epoch of the writer.
        epoch: Epoch,
        /// Counts the writer's tries to write this segment: a try that failed half-way leaves
        /// objects behind, and no name is used twice.
        attempt: u32,
        /// What the file holds.
        role: FileRole,
    },
    /// One index of one segment.
    Index {
        /// The shard.
        shard: ShardId,
        /// The segment.
        segment: SegmentId,
        /// The index definition.
        index: IndexId,
        /// The build, unique in the cluster.
        build: u64,
    },
    /// The deletes of a range of the log.
    DeleteLog {
        /// The shard.
        shard: ShardId,
        /// First position covered.
        first: Lsn,
        /// Last position covered.
        last: Lsn,
        /// Epoch of the writer.
        epoch: Epoch,
        /// As for a segment.
        attempt: u32,
    },
    /// A manifest.
    Manifest {
        /// The shard.
        shard: ShardId,
        /// The version.
        version: ManifestVersion,
        /// Epoch of the writer.
        epoch: Epoch,
        /// Tells two commits of the same version apart; only one becomes the shard's.
        nonce: u64,
    },
    /// Proof that a collection was dropped, without which nothing of it may be collected.
    Dropped {
        /// The collection.
        collection: CollectionId,
    },
}

/// Folders that hold a collection's objects. Nothing else is ever listed or deleted.
pub const FOLDERS: [&str; 4] = ["data", "idx", "del", "man"];

impl ObjectName {
    /// The collection that the object belongs to.
    #[must_use]
    pub fn collection(&self) -> CollectionId {
        match *self {
            Self::SegmentFile { shard, .. }
            | Self::Index { shard, .. }
            | Self::DeleteLog { shard, .. }
            | Self::Manifest { shard, .. } => shard.collection,
            Self::Dropped { collection } => collection,
        }
    }

    /// The shard that the object belongs to; `None` when it belongs to the whole collection.
    #[must_use]
    pub fn shard(&self) -> Option<ShardId> {
        match *self {
            Self::SegmentFile { shard, .. }
            | Self::Index { shard, .. }
            | Self::DeleteLog { shard, .. }
            | Self::Manifest { shard, .. } => Some(shard),
            Self::Dropped { .. } => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(6, '/').collect();
        let name = match *parts.as_slice() {
            ["man", collection, "dropped"] => Self::Dropped {
                collection: CollectionId(collection.parse().ok()?),
            },
            ["data", collection, shard, directory, file] => {
                let [segment, epoch, attempt] = dotted(directory)?;
                Self::SegmentFile {
                    shard: shard_id(collection, shard)?,
                    segment: SegmentId(segment.parse().ok()?),
                    epoch: Epoch(epoch.parse().ok()?),
                    attempt: attempt.parse().ok()?,
                    role: file.parse().ok()?,
                }
            }
            ["idx", collection, shard, file] => {
                let [segment, index, build] = dotted(file)?;
                Self::Index {
                    shard: shard_id(collection, shard)?,
                    segment: SegmentId(segment.parse().ok()?),
                    index: IndexId(index.parse().ok()?),
                    build: build.parse().ok()?,
                }
            }
            ["del", collection, shard, file] => {
                let [range, epoch, attempt] = dotted(file)?;
                let (first, last) = range.split_once('-')?;
                Self::DeleteLog {
                    shard: shard_id(collection, shard)?,
                    first: Lsn(first.parse().ok()?),
                    last: Lsn(last.parse().ok()?),
                    epoch: Epoch(epoch.parse().ok()?),
                    attempt: attempt.parse().ok()?,
                }
            }
            ["man", collection, shard, file] => {
                let [version, epoch, nonce] = dotted(file)?;
                Self::Manifest {
                    shard: shard_id(collection, shard)?,
                    version: ManifestVersion(version.parse().ok()?),
                    epoch: Epoch(epoch.parse().ok()?),
                    nonce: u64::from_str_radix(nonce, 16).ok()?,
                }
            }
            _ => return None,
        };
        // One spelling only: `+7`, `007` and upper-case digits parse but are not what we write.
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SegmentFile {
                shard,
                segment,
                epoch,
                attempt,
                role,
            } => {
                write!(f, "data/{shard}/{segment}.{epoch}.{attempt}/{role}")
            }
            Self::Index {
                shard,
                segment,
                index,
                build,
            } => write!(f, "idx/{shard}/{segment}.{index}.{build}"),
            Self::DeleteLog {
                shard,
                first,
                last,
                epoch,
                attempt,
            } => write!(
                f,
                "del/{shard}/{:020}-{:020}.{epoch}.{attempt}",
                first.0, last.0
            ),
            Self::Manifest {
                shard,
                version,
                epoch,
                nonce,
            } => write!(f, "man/{shard}/{:020}.{epoch}.{nonce:016x}", version.0),
            Self::Dropped { collection } => write!(f, "man/{collection}/dropped"),
        }
    }
}

fn shard_id(collection: &str, index: &str) -> Option<ShardId> {
    Some(ShardId {
        collection: CollectionId(collection.parse().ok()?),
        index: index.parse().ok()?,
    })
}

fn dotted(text: &str) -> Option<[&str; 3]> {
    let mut parts = text.splitn(3, '.');
    Some([parts.next()?, parts.next()?, parts.next()?])
}

/// The name of an object as text. Always one that [`ObjectName`] prints.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectPath(Arc<str>);

/// The text is not the name of an object of this store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of an object of this store")]
pub struct NotAPath(pub String);

impl ObjectPath {
    /// Takes a text that was stored or listed.
    ///
    /// # Errors
    /// [`NotAPath`] unless the text is exactly the name of an object.
    pub fn parse(text: &str) -> Result<Self, NotAPath> {
        match ObjectName::parse(text) {
            Some(_) => Ok(Self(text.into())),
            None => Err(NotAPath(text.chars().take(200).collect())),
        }
    }

    /// What the object is.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        ObjectName::parse(&self.0).expect("a path is made from a name or checked to be one")
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<ObjectName> for ObjectPath {
    fn from(name: ObjectName) -> Self {
        Self(name.to_string().into())
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of one file of a segment.
#[must_use]
pub fn segment_file(
    shard: ShardId,
    segment: SegmentId,
    epoch: Epoch,
    attempt: u32,
    role: FileRole,
) -> ObjectPath {
    ObjectName::SegmentFile {
        shard,
        segment,
        epoch,
        attempt,
        role,
    }
    .into()
}

/// The name of one index of one segment. `build` is unique in the cluster.
#[must_use]
pub fn index_file(shard: ShardId, segment: SegmentId, index: IndexId, build: u64) -> ObjectPath {
    ObjectName::Index {
        shard,
        segment,
        index,
        build,
    }
    .into()
}

/// The name of a delete log that covers `first` to `last`, both included.
#[must_use]
pub fn delete_log(shard: ShardId, first: Lsn, last: Lsn, epoch: Epoch, attempt: u32) -> ObjectPath {
    ObjectName::DeleteLog {
        shard,
        first,
        last,
        epoch,
        attempt,
    }
    .into()
}

/// The name of a manifest. Minted by [`crate::Manifests`] only.
pub(crate) fn manifest(
    shard: ShardId,
    version: ManifestVersion,
    epoch: Epoch,
    nonce: u64,
) -> ObjectPath {
    ObjectName::Manifest {
        shard,
        version,
        epoch,
        nonce,
    }
    .into()
}

/// The name of the proof that a collection was dropped.
pub(crate) fn dropped(collection: CollectionId) -> ObjectPath {
    ObjectName::Dropped { collection }.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use holdfast_types::FieldId;

    use super::*;

    fn shards() -> impl Strategy<Value = ShardId> {
        (any::<i64>(), any::<u32>()).prop_map(|(collection, index)| ShardId {
            collection: CollectionId(collection),
            index,
        })
    }

    fn roles() -> impl Strategy<Value = FileRole> {
        prop_oneof![
            Just(FileRole::Columns),
            any::<i64>().prop_map(|f| FileRole::Vector(FieldId(f))),
            Just(FileRole::Keys),
            Just(FileRole::Deletes),
        ]
    }

    fn names() -> impl Strategy<Value = ObjectName> {
        let n = any::<u64>;
        prop_oneof![
            (shards(), any::<i64>(), n(), any::<u32>(), roles()).prop_map(
                |(s, seg, e, a, role)| {
                    ObjectName::SegmentFile {
                        shard: s,
                        segment: SegmentId(seg),
                        epoch: Epoch(e),
                        attempt: a,
                        role,
                    }
                }
            ),
            (shards(), any::<i64>(), any::<i64>(), n()).prop_map(|(shard, seg, index, build)| {
                ObjectName::Index {
                    shard,
                    segment: SegmentId(seg),
                    index: IndexId(index),
                    build,
                }
            }),
            (shards(), n(), n(), n(), any::<u32>()).prop_map(|(shard, a, b, e, attempt)| {
                ObjectName::DeleteLog {
                    shard,
                    first: Lsn(a),
                    last: Lsn(b),
                    epoch: Epoch(e),
                    attempt,
                }
            }),
            (shards(), n(), n(), n()).prop_map(|(shard, v, e, nonce)| ObjectName::Manifest {
                shard,
                version: ManifestVersion(v),
                epoch: Epoch(e),
                nonce,
            }),
            any::<i64>().prop_map(|c| ObjectName::Dropped {
                collection: CollectionId(c)
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_name_survives_being_printed_and_parsed(name in names()) {
            let path = ObjectPath::from(name);
            prop_assert_eq!(ObjectPath::parse(path.as_str()), Ok(path.clone()));
            prop_assert_eq!(path.name(), name);
            // The underlying store must not see another path than we do.
            let theirs = object_store::path::Path::parse(path.as_str()).unwrap();
            prop_assert_eq!(theirs.as_ref(), path.as_str());
        }

        #[test]
        fn no_text_climbs_out(text in "(data|man|idx|del)?[/.0-9a-f+#%\\\\-]{0,40}") {
            if let Ok(path) = ObjectPath::parse(&text) {
                prop_assert_eq!(path.name().to_string(), text.clone());
                prop_assert!(!text.split('/').any(|p| p.is_empty() || p == ".." || p == "."));
            }
        }
    }

    #[test]
    fn names_read_as_documented() {
        let shard = ShardId {
            collection: CollectionId(7),
            index: 1,
        };
        let (segment, epoch) = (SegmentId(42), Epoch(3));
        let listed = [
            segment_file(shard, segment, epoch, 0, FileRole::Columns),
            segment_file(shard, segment, epoch, 2, FileRole::Vector(FieldId(101))),
            index_file(shard, segment, IndexId(5), 9),
            delete_log(shard, Lsn(11), Lsn(20), epoch, 0),
            manifest(shard, ManifestVersion(6), epoch, 0xab),
            dropped(shard.collection),
        ]
        .map(|p| p.to_string());
        assert_eq!(
            listed,
            [
                "data/7/1/42.3.0/columns.arrow",
                "data/7/1/42.3.2/vector-101.arrow",
                "idx/7/1/42.5.9",
                "del/7/1/00000000000000000011-00000000000000000020.3.0",
                "man/7/1/00000000000000000006.3.00000000000000ab",
                "man/7/dropped",
            ]
        );
    }

    #[test]
    fn other_spellings_and_strangers_are_refused() {
        for text in [
            "",
            "/",
            "data",
            "data/7/1/42.3.0/../../../../etc/passwd",
            "../data/7/1/42.3.0/keys",
            "/data/7/1/42.3.0/keys",
            "data/7/1/42.3.0/keys/",
            "data//1/42.3.0/keys",
            "data/+7/1/42.3.0/keys",
            "data/07/1/42.3.0/keys",
            "data/7/1/42.3/keys",
            "data/7/1/42.3.0.1/keys",
            "data/7/1/42.3.0/secret",
            "data/7/1/42.3.0/vector-.arrow",
            "data/7/1/42.3.0/keys#1",
            "data/99999999999999999999/1/42.3.0/keys",
            "man/7/1/6.3.ab",
            "man/7/1/00000000000000000006.3.00000000000000AB",
            "man/7/Dropped",
            "other/7/1/42.3.0/keys",
        ] {
            assert!(ObjectPath::parse(text).is_err(), "{text}");
        }
    }
}
