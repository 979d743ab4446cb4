//! Durable create-once puts, verified reads, memory-mapped reads.

use std::{
    fmt,
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem,
    path::Path as Location,
};

use crate::{
    ObjectPath, StorageError,
    cache::{Cache, CacheOptions},
    map::MappedFile,
    store::directories::Directories,
};

mod directories;
mod owner;

/// Most bytes of one object: what every object store takes in one put.
pub const MAX_OBJECT_BYTES: u64 = 5 << 30;

/// Above this many bytes hashing moves off the async thread.
const HASH_INLINE_BYTES: usize = 256 << 10;

/// The BLAKE3 hash of an object's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An object that was written: its name and what its bytes must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub path: ObjectPath,
    /// Its bytes.
    pub size: u64,
    /// Hash of its bytes.
    pub blake3: Digest,
}

impl ObjectInfo {
    /// Checks that mapped bytes are those that were written: a whole file of another object in its place passes
    /// every check of its own format. To be called when the format was found in order, because that check
    /// knows the place of a damage. Hashes all bytes, about 1.4 GB a second: not on an async thread.
    ///
    /// # Errors
    /// [`StorageError::Damaged`].
    pub fn check(&self, bytes: &[u8]) -> Result<(), StorageError> {
        check_hash(self, Digest::of(bytes))
    }
}

/// An object as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub path: ObjectPath,
    /// Its bytes.
    pub size: u64,
    /// When it was written by the store's clock, in Unix milliseconds.
    pub modified_ms: u64,
}

/// All objects of a cluster: immutable, checksummed, uniquely named.
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    backing: Backing,
}

enum Backing {
    /// Objects are files under `root`.
    Local {
        files: Arc<LocalFileSystem>,
        directories: Directories,
    },
    Remote {
        cache: Cache,
        /// Turned off for good when the bucket does not know conditional puts.
        conditional: AtomicBool,
    },
}

impl Store {
    /// The objects under a local directory, which is made when it is absent. Blocks briefly.
    ///
    /// A put is on disk when it returns: the file, its folder and every folder above it.
    ///
    /// # Errors
    /// The directory cannot be made or opened.
    pub fn open_local(root: &Path) -> Result<Self, StorageError> {
        Self::open_local_through(root, |files| files)
    }

    /// Like [`Self::open_local`], with a layer around the files (faults, throttling). `map` goes
    /// straight to the files.
    ///
    /// # Errors
    /// The directory cannot be made or opened.
    pub fn open_local_through(
        root: &Path,
        layer: impl FnOnce(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore>,
    ) -> Result<Self, StorageError> {
        let at = root.display();
        std::fs::create_dir_all(root).map_err(|e| StorageError::of_io("open", &at, e))?;
        // Empty folders go with their last file; `directories` knows that folders come and go.
        let files = LocalFileSystem::new_with_prefix(root)
            .map_err(|e| StorageError::of_store("open", &at, e))?
            .with_automatic_cleanup(true)
            .with_fsync(true);
        let files = Arc::new(files);
        let directories =
            Directories::open(root).map_err(|e| StorageError::of_io("open", &at, e))?;
        Ok(Self {
            objects: layer(Arc::clone(&files) as Arc<dyn ObjectStore>),
            backing: Backing::Local { files, directories },
        })
    }

    /// The objects of a remote store. Copies for [`Self::map`] are kept in the cache's folder, where
    /// those of an earlier process are found again. Blocks briefly.
    ///
    /// # Errors
    /// The cache's folder cannot be made or read.
    pub fn new(objects: Arc<dyn ObjectStore>, cache: &CacheOptions) -> Result<Self, StorageError> {
        Ok(Self {
            objects,
            backing: Backing::Remote {
                cache: Cache::open(cache)?,
                conditional: AtomicBool::new(true),
            },
        })
    }

    /// The same, without conditional puts: for a bucket that takes them and ignores the condition.
    #[must_use]
    pub fn without_conditional_puts(self) -> Self {
        if let Backing::Remote { conditional, .. } = &self.backing {
            conditional.store(false, Ordering::Relaxed);
        }
        self
    }

    /// Writes a new object. Durable when it returns.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`], [`StorageError::Full`], [`StorageError::TooLarge`]: nothing was
    /// written. [`StorageError::Unavailable`]: there may or may not be an object of this name now. In
    /// every case the name is used up; try again under the next attempt's name.
    ///
    /// # Cancel safety
    /// As for `Unavailable`.
    pub async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<ObjectInfo, StorageError> {
        let size = bytes.len() as u64;
        if size > MAX_OBJECT_BYTES {
            return Err(StorageError::TooLarge {
                path: path.to_string(),
                size,
                max: MAX_OBJECT_BYTES,
            });
        }
        let blake3 = hash(path, &bytes).await?;
        let info = ObjectInfo {
            path: path.clone(),
            size,
            blake3,
        };
        match &self.backing {
            Backing::Local { directories, .. } => {
                self.create(path, bytes)
                    .await
                    .map_err(|e| StorageError::of_store("put", path, e))?;
                let directories = directories.clone();
                let file = path.clone();
                blocking("sync", path, move || directories.sync_above(&file)).await?;
            }
            Backing::Remote { conditional, .. } => {
                self.put_remote(&info, bytes, conditional).await?;
            }
        }
        tracing::trace!(%path, size, "object written");
        Ok(info)
    }

    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> object_store::Result<()> {
        self.put_as(path, bytes, PutMode::Create).await
    }

    async fn put_as(
        &self,
        path: &ObjectPath,
        bytes: Bytes,
        mode: PutMode,
    ) -> object_store::Result<()> {
        let options = PutOptions::from(mode);
        self.objects
            .put_opts(&location(path), bytes.into(), options)
            .await
            .map(drop)
    }

    async fn put_remote(
        &self,
        info: &ObjectInfo,
        bytes: Bytes,
        conditional: &AtomicBool,
    ) -> Result<(), StorageError> {
        let path = &info.path;
        if conditional.load(Ordering::Relaxed) {
            match self.create(path, bytes.clone()).await {
                Ok(()) => return Ok(()),
                Err(object_store::Error::NotImplemented { .. }) => {
                    tracing::warn!(
                        "the bucket has no conditional put; names alone keep objects apart"
                    );
                    conditional.store(false, Ordering::Relaxed);
                }
                Err(e) => return Err(StorageError::of_store("put", path, e)),
            }
        }
        match self.objects.head(&location(path)).await {
            Ok(_) => Err(StorageError::AlreadyExists {
                path: path.to_string(),
            }),
            Err(object_store::Error::NotFound { .. }) => self
                .put_as(path, bytes, PutMode::Overwrite)
                .await
                .map_err(|e| StorageError::of_store("put", path, e)),
            Err(e) => Err(StorageError::of_store("put", path, e)),
        }
    }

    /// The object's bytes, mapped rather than read: pages come in when they are touched.
    ///
    /// A local object is mapped where it lies, only its size is checked: its own format's checksums are
    /// for whoever opens it, and then [`ObjectInfo::check`]. A remote one is copied to the cache first, and size
    /// and hash are checked. The bytes stay valid when the object is deleted.
    ///
    /// # Errors
    /// The object is missing, damaged or out of reach, or the cache is full.
    pub async fn map(&self, info: &ObjectInfo) -> Result<Bytes, StorageError> {
        match &self.backing {
            Backing::Local { files, .. } => {
                let file = files
                    .path_to_filesystem(&location(&info.path))
                    .map_err(|e| StorageError::of_store("map", &info.path, e))?;
                let size = info.size;
                let mapped = blocking("map", &info.path, move || map_file(&file, size)).await?;
                Ok(Bytes::from_owner(mapped))
            }
            Backing::Remote { cache, .. } => cache.get(self.objects.as_ref(), info).await,
        }
    }

    /// The object's bytes in memory, size and hash checked. For small objects.
    ///
    /// # Errors
    /// The object is missing, damaged or out of reach.
    pub async fn read(&self, info: &ObjectInfo) -> Result<Bytes, StorageError> {
        let getting = |e| StorageError::of_store("get", &info.path, e);
        let found = self.objects.get(&location(&info.path)).await;
        let found = found.map_err(getting)?;
        check_size(info, found.meta.size)?;
        let bytes = found.bytes().await.map_err(getting)?;
        check_size(info, bytes.len() as u64)?;
        let hash = hash(&info.path, &bytes).await?;
        check_hash(info, hash).map(|()| bytes)
    }

    /// Reads the whole object and checks size and hash. Uses little memory, and not the cache: it is the
    /// stored bytes that are in question.
    ///
    /// # Errors
    /// The object is missing, damaged or out of reach.
    pub async fn verify(&self, info: &ObjectInfo) -> Result<(), StorageError> {
        match &self.backing {
            Backing::Local { .. } => {
                let bytes = self.map(info).await?;
                check_hash(info, hash(&info.path, &bytes).await?)
            }
            Backing::Remote { .. } => {
                let chunks = verified(self.objects.as_ref(), info).await?;
                chunks.try_for_each(|_| async { Ok(()) }).await
            }
        }
    }

    /// Whether there is an object of this name.
    ///
    /// # Errors
    /// The store is out of reach.
    pub(crate) async fn exists(&self, path: &ObjectPath) -> Result<bool, StorageError> {
        match self.objects.head(&location(path)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(StorageError::of_store("head", path, e)),
        }
    }

    /// Deletes an object; one that is gone already is no error. Only garbage collection calls this.
    ///
    /// # Errors
    /// The store is out of reach; the object may or may not be gone.
    pub(crate) async fn delete(&self, path: &ObjectPath) -> Result<(), StorageError> {
        match self.objects.delete(&location(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(StorageError::of_store("delete", path, e)),
        }
        if let Backing::Local { directories, .. } = &self.backing {
            directories.forget_above(path);
        }
        Ok(())
    }

    /// Every object under a folder of [`crate::paths::FOLDERS`], in no order. Files whose names are not
    /// ours are left out.
    ///
    /// # Errors
    /// The store is out of reach. What was listed before is right, but not all.
    pub(crate) fn list(
        &self,
        folder: &'static str,
    ) -> impl Stream<Item = Result<Listed, StorageError>> + '_ {
        self.objects
            .list(Some(&Location::from(folder)))
            .filter_map(move |found| async move {
                match found {
                    Ok(meta) => ObjectPath::parse(meta.location.as_ref()).ok().map(|path| {
                        Ok(Listed {
                            path,
                            size: meta.size,
                            modified_ms: u64::try_from(meta.last_modified.timestamp_millis())
                                .unwrap_or(0),
                        })
                    }),
                    // A folder that nobody has written to yet, or that lost its last file just now.
                    Err(object_store::Error::NotFound { .. }) => None,
                    Err(e) => Some(Err(StorageError::of_store("list", &folder, e))),
                }
            })
    }

    /// Removes what puts cut short by a crash left behind, once it is older than `age`. Local only: a
    /// remote store shows nothing of a put that did not end. Returns the number of files removed.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) async fn sweep_staged(
        &self,
        now_ms: u64,
        age: Duration,
    ) -> Result<usize, StorageError> {
        match &self.backing {
            Backing::Local { directories, .. } => {
                let directories = directories.clone();
                blocking("sweep", &"staged files", move || {
                    directories.sweep_staged(now_ms, age)
                })
                .await
            }
            Backing::Remote { .. } => Ok(0),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store")
            .field(&self.objects.to_string())
            .finish()
    }
}

/// The place of an object in the underlying store: the same text.
pub(crate) fn location(path: &ObjectPath) -> Location {
    Location::from(path.as_str())
}

/// The object's bytes in chunks; an error after the last one when size or hash are not as recorded.
pub(crate) async fn verified<'a>(
    objects: &dyn ObjectStore,
    info: &'a ObjectInfo,
) -> Result<impl Stream<Item = Result<Bytes, StorageError>> + Send + use<'a>, StorageError> {
    let found = objects
        .get(&location(&info.path))
        .await
        .map_err(|e| StorageError::of_store("get", &info.path, e))?;
    check_size(info, found.meta.size)?;
    let state = (found.into_stream(), blake3::Hasher::new(), 0u64);
    Ok(futures::stream::try_unfold(
        state,
        move |(mut chunks, mut hasher, mut seen)| async move {
            let next = chunks.try_next().await;
            match next.map_err(|e| StorageError::of_store("get", &info.path, e))? {
                Some(chunk) => {
                    hasher.update(&chunk);
                    seen += chunk.len() as u64;
                    if seen > info.size {
                        check_size(info, seen)?;
                    }
                    Ok(Some((chunk, (chunks, hasher, seen))))
                }
                None => {
                    check_size(info, seen)?;
                    check_hash(info, Digest(*hasher.finalize().as_bytes()))?;
                    Ok(None)
                }
            }
        },
    ))
}

fn check_size(info: &ObjectInfo, found: u64) -> Result<(), StorageError> {
    if found == info.size {
        return Ok(());
    }
    let problem = format!("it has {found} bytes, not {}", info.size);
    Err(StorageError::damaged(&info.path, problem))
}

fn check_hash(info: &ObjectInfo, found: Digest) -> Result<(), StorageError> {
    if found == info.blake3 {
        return Ok(());
    }
    let problem = format!("its BLAKE3 is {found}, not {}", info.blake3);
    Err(StorageError::damaged(&info.path, problem))
}

async fn hash(path: &ObjectPath, bytes: &Bytes) -> Result<Digest, StorageError> {
    if bytes.len() <= HASH_INLINE_BYTES {
        return Ok(Digest::of(bytes));
    }
    let bytes = bytes.clone();
    blocking("hash", path, move || Ok(Digest::of(&bytes))).await
}

/// Maps a file of known size.
pub(crate) fn map_file(file: &Path, size: u64) -> io::Result<MappedFile> {
    MappedFile::open(&File::open(file)?, size)
}

/// Runs file-system work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    path: &impl ToString,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StorageError> {
    let done = match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => Err(io::Error::other(stopped)),
    };
    done.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => StorageError::NotFound {
            path: path.to_string(),
        },
        io::ErrorKind::InvalidData => StorageError::damaged(path, e.to_string()),
        _ => StorageError::of_io(operation, path, e),
    })
}

#[cfg(test)]
mod tests;
