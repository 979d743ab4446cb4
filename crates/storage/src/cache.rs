//! Local copies of remote objects within a byte budget.
//!
//! A copy is named `<hash of its bytes>.<serial>`, so it can be found again by a later process and can
//! never be mistaken for another; the serial keeps a new copy apart from one being evicted. It is written under a temporary name and renamed; nothing is synced,
//! because a copy can always be fetched again. For the same reason a copy left by an earlier process
//! is trusted only after its hash was checked once.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStore;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;

use crate::{
    Digest, ObjectInfo, StorageError,
    map::MappedFile,
    store::{blocking, map_file, verified},
};

/// Where copies are kept, and how many.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// Folder of the copies; it belongs to one process at a time.
    pub folder: PathBuf,
    /// Most bytes of all copies together.
    pub bytes_max: u64,
}

const TEMPORARY: &str = ".partial";
const STRIPES: usize = 64;

/// The copies.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
    /// One fetch per object at a time: who comes second finds the copy. By the hash's first byte.
    fetching: Vec<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    bytes_max: u64,
    bytes: u64,
    /// Counts uses, and numbers copies.
    uses: u64,
    copies: HashMap<Digest, Copy>,
}

#[derive(Debug)]
struct Copy {
    serial: u64,
    size: u64,
    last_use: u64,
    condition: Condition,
}

#[derive(Debug)]
enum Condition {
    /// Being written: counted, not to be used or evicted.
    Partial,
    /// Left by an earlier process.
    Unverified,
    /// Verified; in use as long as somebody holds the mapping.
    Whole(Weak<MappedFile>),
}

/// A mapping that several `Bytes` share.
struct Shared(Arc<MappedFile>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Cache {
    /// Takes over the folder: left-over temporary files go, copies are remembered, as many as fit.
    pub(crate) fn open(options: &CacheOptions) -> Result<Self, StorageError> {
        let CacheOptions { folder, bytes_max } = options;
        let mut state = State {
            bytes_max: *bytes_max,
            ..State::default()
        };
        state
            .take_over(folder)
            .map_err(|e| StorageError::of_io("open cache", &folder.display(), e))?;
        Ok(Self {
            folder: folder.clone(),
            state: Arc::new(Mutex::new(state)),
            fetching: (0..STRIPES).map(|_| tokio::sync::Mutex::new(())).collect(),
        })
    }

    /// The object's bytes, fetched when there is no copy yet.
    pub(crate) async fn get(
        &self,
        objects: &dyn ObjectStore,
        info: &ObjectInfo,
    ) -> Result<Bytes, StorageError> {
        if let Some(bytes) = self.in_use(info) {
            return Ok(bytes);
        }
        let stripe = usize::from(info.blake3.0[0]) % STRIPES;
        let _fetching = self.fetching[stripe].lock().await;
        if let Some(bytes) = self.in_use(info) {
            return Ok(bytes);
        }
        if let Some(bytes) = self.existing(info).await {
            return Ok(bytes);
        }
        self.fetch(objects, info).await
    }

    /// A copy that somebody has mapped right now.
    fn in_use(&self, info: &ObjectInfo) -> Option<Bytes> {
        let mut state = self.state.lock();
        let copy = state.touch(&info.blake3)?;
        let Condition::Whole(mapped) = &copy.condition else {
            return None;
        };
        (copy.size == info.size)
            .then(|| mapped.upgrade())?
            .map(|mapped| Bytes::from_owner(Shared(mapped)))
    }

    /// A copy on disk that nobody uses. One that turns out to be unusable is dropped.
    async fn existing(&self, info: &ObjectInfo) -> Option<Bytes> {
        let (trusted, serial) = {
            let mut state = self.state.lock();
            let copy = state.touch(&info.blake3)?;
            (matches!(copy.condition, Condition::Whole(_)), copy.serial)
        };
        let file = self.file(&info.blake3, serial);
        let (size, wanted) = (info.size, info.blake3);
        let opened = blocking("map", &info.path, move || {
            let mapped = map_file(&file, size).and_then(|mapped| {
                if trusted || Digest::of(mapped.as_ref()) == wanted {
                    return Ok(mapped);
                }
                let problem = "the cached copy has another hash";
                Err(io::Error::new(io::ErrorKind::InvalidData, problem))
            });
            mapped.map_err(|unusable| match fs::remove_file(&file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => e,
                _ => unusable,
            })
        })
        .await;
        match opened {
            Ok(mapped) => Some(self.publish(info, mapped)),
            Err(error) => {
                tracing::warn!(path = %info.path, error = %error, "cached copy is unusable, fetching again");
                self.state.lock().forget(&info.blake3);
                None
            }
        }
    }

    async fn fetch(
        &self,
        objects: &dyn ObjectStore,
        info: &ObjectInfo,
    ) -> Result<Bytes, StorageError> {
        let (serial, evicted) = self.state.lock().reserve(info)?;
        let partial = Partial {
            state: Arc::clone(&self.state),
            digest: info.blake3,
            file: self.file(&info.blake3, serial),
            whole: false,
        };
        for (digest, serial) in evicted {
            match tokio::fs::remove_file(self.file(&digest, serial)).await {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::of_io("evict", &info.path, e));
                }
                _ => {}
            }
        }
        let copying = |e| StorageError::of_io("copy", &info.path, e);
        let mut out = tokio::fs::File::create(partial.temporary())
            .await
            .map_err(copying)?;
        let mut chunks = std::pin::pin!(verified(objects, info).await?);
        while let Some(chunk) = chunks.try_next().await? {
            out.write_all(&chunk).await.map_err(copying)?;
        }
        out.flush().await.map_err(copying)?;
        drop(out);
        let size = info.size;
        // The guard goes along: when the caller stops waiting, the copy made meanwhile is removed too.
        let (mapped, mut partial) = blocking("copy", &info.path, move || {
            fs::rename(partial.temporary(), &partial.file)?;
            Ok((map_file(&partial.file, size)?, partial))
        })
        .await?;
        partial.whole = true;
        Ok(self.publish(info, mapped))
    }

    fn publish(&self, info: &ObjectInfo, mapped: MappedFile) -> Bytes {
        let mapped = Arc::new(mapped);
        let mut state = self.state.lock();
        if let Some(copy) = state.copies.get_mut(&info.blake3) {
            copy.condition = Condition::Whole(Arc::downgrade(&mapped));
        }
        drop(state);
        Bytes::from_owner(Shared(mapped))
    }

    fn file(&self, digest: &Digest, serial: u64) -> PathBuf {
        self.folder.join(format!("{digest}.{serial}"))
    }
}

impl State {
    fn take_over(&mut self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some((digest, serial)) = copy_name(name) {
                let size = entry.metadata()?.len();
                if size > self.bytes_max - self.bytes || self.copies.contains_key(&digest) {
                    fs::remove_file(entry.path())?;
                    continue;
                }
                self.bytes += size;
                self.uses = self.uses.max(serial);
                self.copies.insert(
                    digest,
                    Copy {
                        serial,
                        size,
                        last_use: 0,
                        condition: Condition::Unverified,
                    },
                );
            } else if name.strip_suffix(TEMPORARY).and_then(copy_name).is_some() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn touch(&mut self, digest: &Digest) -> Option<&Copy> {
        self.uses += 1;
        let copy = self.copies.get_mut(digest)?;
        copy.last_use = self.uses;
        Some(copy)
    }

    /// Makes room for the object and counts it. Returns the serial of its copy, and the copies that must
    /// be removed from disk. Changes nothing when there is no room.
    fn reserve(&mut self, info: &ObjectInfo) -> Result<(u64, Vec<(Digest, u64)>), StorageError> {
        let mut idle: Vec<(u64, Digest, u64, u64)> = self
            .copies
            .iter()
            .filter(|(_, c)| match &c.condition {
                Condition::Partial => false,
                Condition::Unverified => true,
                Condition::Whole(mapped) => mapped.strong_count() == 0,
            })
            .map(|(digest, c)| (c.last_use, *digest, c.serial, c.size))
            .collect();
        idle.sort_unstable();
        let mut bytes = self.bytes;
        let mut evicted = Vec::new();
        for (_, digest, serial, size) in idle {
            if bytes.saturating_add(info.size) <= self.bytes_max {
                break;
            }
            bytes -= size;
            evicted.push((digest, serial));
        }
        if bytes.saturating_add(info.size) > self.bytes_max {
            return Err(StorageError::CacheFull {
                path: info.path.to_string(),
                needed: info.size,
                budget: self.bytes_max,
            });
        }
        for (digest, _) in &evicted {
            self.forget(digest);
        }
        self.forget(&info.blake3);
        self.bytes += info.size;
        self.uses += 1;
        self.copies.insert(
            info.blake3,
            Copy {
                serial: self.uses,
                size: info.size,
                last_use: self.uses,
                condition: Condition::Partial,
            },
        );
        Ok((self.uses, evicted))
    }

    fn forget(&mut self, digest: &Digest) {
        if let Some(copy) = self.copies.remove(digest) {
            self.bytes -= copy.size;
        }
    }
}

/// Gives the room back and removes the files unless the copy became whole, also when the
/// caller stops waiting.
struct Partial {
    state: Arc<Mutex<State>>,
    digest: Digest,
    file: PathBuf,
    whole: bool,
}

impl Partial {
    fn temporary(&self) -> PathBuf {
        let mut name = self.file.clone().into_os_string();
        name.push(TEMPORARY);
        name.into()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        self.state.lock().forget(&self.digest);
        for file in [&self.temporary(), &self.file] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(file = %file.display(), %error, "left-over of a fetch stays until the next start");
                }
                _ => {}
            }
        }
    }
}

/// The hash and the serial that a copy's name spells.
fn copy_name(name: &str) -> Option<(Digest, u64)> {
    let (hex, serial) = name.split_once('.')?;
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut digest = Digest([0; 32]);
    for (i, byte) in digest.0.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    let serial = serial.parse().ok()?;
    (format!("{digest}.{serial}") == name).then_some((digest, serial))
}

#[cfg(test)]
mod tests;
