//! What objects are called, and whose they are.
//!
//! ```text
//! <cluster>/wal/<log>/<segment>/<disk>-<start>-<attempt>/0, 1, ..., manifest
//! <cluster>/wal/<log>/lists/<list before>-<writer>-<start>-<attempt>
//! ```
//!
//! The cluster comes first, so that whoever is given another cluster's metadata by mistake takes nothing for garbage. The
//! uploader's disk counts its starts and its process counts its attempts, so that no two attempts share a folder.

use std::fmt;

use holdfast_qlog::{
    StorageId,
    messages::{ClusterId, Owner},
    meta::ManifestRef,
};
use holdfast_types::{ChannelId, LogSegment};

/// Name of a manifest in its folder.
pub const MANIFEST: &str = "manifest";

const LISTS: &str = "lists";

/// One attempt to store a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The uploader's disk.
    pub storage: StorageId,
    /// Which start of it.
    pub generation: u64,
    /// Which attempt since.
    pub number: u64,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.storage, self.generation, self.number)
    }
}

/// The beginning of the names of one attempt's objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    /// The log.
    pub log: ChannelId,
    /// The segment.
    pub segment: LogSegment,
    /// All up to and with the last slash.
    pub path: String,
}

/// The beginning of all names of a cluster's logs.
#[must_use]
pub fn root(cluster: ClusterId) -> String {
    format!("{cluster}/wal")
}

/// What the name of a list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListName {
    /// The log.
    pub log: ChannelId,
    /// Stands for the list that it was to take the place of.
    instead_of: String,
}

impl ListName {
    /// Whether the metadata may yet name a list of this name, while it names `current`: a list is recorded in the place of
    /// the one before only, and that never comes back.
    #[must_use]
    pub fn may_follow(&self, current: Option<&ManifestRef>) -> bool {
        self.instead_of == stands_for(current)
    }

    /// Of an object; `None` when its name is not that of a list.
    pub(crate) fn of(cluster: ClusterId, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(&root(cluster))?.strip_prefix('/')?;
        let (log, rest) = rest.split_once('/')?;
        let attempt = rest.strip_prefix(LISTS)?.strip_prefix('/')?;
        let (instead_of, by) = attempt.split_once('-')?;
        let ours = !by.is_empty() && !by.contains('/');
        let log = log.parse().ok().filter(|_| ours)?;
        Some(Self {
            log: ChannelId(log),
            instead_of: instead_of.to_owned(),
        })
    }
}

fn stands_for(list: Option<&ManifestRef>) -> String {
    match list {
        Some(list) => format!("{:08x}", crc32c::crc32c(list.key.as_bytes())),
        None => "first".to_owned(),
    }
}

/// The name of a list that is to take the place of `before`. Its writer's name may have characters that names of objects have
/// not.
#[must_use]
pub(crate) fn list(
    cluster: ClusterId,
    log: ChannelId,
    before: Option<&ManifestRef>,
    writer: &Owner,
    attempt: u64,
) -> String {
    let Owner { node, incarnation } = writer;
    let (root, before) = (root(cluster), stands_for(before));
    let node = crc32c::crc32c(node.as_bytes());
    format!("{root}/{log}/{LISTS}/{before}-{node:08x}-{incarnation:x}-{attempt}")
}

impl Folder {
    /// Of an attempt.
    #[must_use]
    pub fn new(cluster: ClusterId, log: ChannelId, segment: LogSegment, attempt: Attempt) -> Self {
        Self {
            log,
            segment,
            path: format!("{}/{log}/{:020}/{attempt}/", root(cluster), segment.0),
        }
    }

    /// The folder that an object is in; `None` when its name is not one of ours.
    #[must_use]
    pub fn of(cluster: ClusterId, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(&root(cluster))?.strip_prefix('/')?;
        let mut parts = rest.split('/');
        let (log, segment) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (attempt, object) = (parts.next()?, parts.next()?);
        let ours = object == MANIFEST || object.bytes().all(|b| b.is_ascii_digit());
        if !ours || attempt.is_empty() || object.is_empty() || parts.next().is_some() {
            return None;
        }
        let path = name.strip_suffix(object)?.to_owned();
        Some(Self {
            log: ChannelId(log),
            segment: LogSegment(segment),
            path,
        })
    }

    /// Name of a part.
    #[must_use]
    pub fn part(&self, number: usize) -> String {
        format!("{}{number}", self.path)
    }

    /// Name of the manifest.
    #[must_use]
    pub fn manifest(&self) -> String {
        format!("{}{MANIFEST}", self.path)
    }
}
