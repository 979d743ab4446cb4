//! Durable puts, lists and deletes. Every call has an end.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt;
use holdfast_qlog::messages::ClusterId;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem,
    path::Path as Location,
};

use crate::{
    error::LogStoreError,
    names::{Folder, ListName, root},
    options::Options,
};

/// Where a cluster's ended segments are. Clones are the same one.
#[derive(Clone)]
pub struct LogStore {
    objects: Arc<dyn ObjectStore>,
    pub(crate) cluster: ClusterId,
    pub(crate) options: Options,
    /// The directory, where it is one.
    files: Option<PathBuf>,
}

/// The objects of a cluster's logs.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Attempts to store a segment, with the names of their objects.
    pub folders: BTreeMap<Folder, Vec<String>>,
    /// Lists of segments.
    pub lists: BTreeMap<String, ListName>,
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore")
            .field("objects", &self.objects.to_string())
            .finish_non_exhaustive()
    }
}

impl LogStore {
    /// In any object storage whose puts are durable.
    #[must_use]
    pub fn new(objects: Arc<dyn ObjectStore>, cluster: ClusterId, options: Options) -> Self {
        Self {
            objects,
            cluster,
            options,
            files: None,
        }
    }

    /// In the directory that the settings name; `None` when they name none. It must be there: one that is made here would
    /// hide that nothing is mounted. Blocks briefly.
    ///
    /// # Errors
    /// The directory is not there, or cannot be read.
    pub fn open(options: &Options, cluster: ClusterId) -> io::Result<Option<Self>> {
        if options.dir.as_os_str().is_empty() {
            return Ok(None);
        }
        let root = options.dir.canonicalize()?;
        let files = LocalFileSystem::new_with_prefix(&root)?
            .with_automatic_cleanup(true)
            .with_fsync(true);
        Ok(Some(Self {
            files: Some(root),
            ..Self::new(Arc::new(files), cluster, options.clone())
        }))
    }

    /// Runs one call, not for ever.
    async fn call<T>(
        &self,
        key: &str,
        what: &'static str,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, LogStoreError> {
        let failed = |source: Arc<dyn std::error::Error + Send + Sync>| {
            let key = key.to_owned();
            LogStoreError::Unavailable { key, what, source }
        };
        match tokio::time::timeout(self.options.patience, call).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(object_store::Error::NotFound { .. })) => {
                let key = key.to_owned();
                Err(LogStoreError::Missing { key })
            }
            Ok(Err(error)) => Err(failed(Arc::new(error))),
            Err(late) => Err(failed(Arc::new(late))),
        }
    }

    /// Writes a new object. Durable when it returns.
    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), LogStoreError> {
        let location = Location::from(key);
        let create = PutOptions::from(PutMode::Create);
        let put = self.objects.put_opts(&location, bytes.into(), create);
        self.call(key, "written", put).await?;
        let Some(root) = self.files.clone() else {
            return Ok(());
        };
        // The put syncs the folders that it made, and not those that somebody else makes at the same time.
        let folders = PathBuf::from(key);
        let sync = tokio::task::spawn_blocking(move || sync_above(&root, &folders));
        let synced = async {
            let done = sync.await.map_err(io::Error::other).and_then(|done| done);
            done.map_err(|source| object_store::Error::Generic {
                store: "directory",
                source: Box::new(source),
            })
        };
        self.call(key, "written", synced).await
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Bytes, LogStoreError> {
        let location = Location::from(key);
        let get = async { self.objects.get(&location).await?.bytes().await };
        self.call(key, "read", get).await
    }

    pub(crate) async fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<Bytes, LogStoreError> {
        let location = Location::from(key);
        let get = self.objects.get_range(&location, range);
        self.call(key, "read", get).await
    }

    /// Length of an object.
    pub(crate) async fn len(&self, key: &str) -> Result<u64, LogStoreError> {
        let location = Location::from(key);
        let head = self.objects.head(&location);
        Ok(self.call(key, "read", head).await?.size)
    }

    /// All that is there. Objects whose names are not ours are left out.
    ///
    /// # Errors
    /// [`LogStoreError::Unavailable`].
    pub async fn list(&self) -> Result<Listed, LogStoreError> {
        let prefix = root(self.cluster);
        let location = Location::from(prefix.as_str());
        let listing = self.objects.list(Some(&location)).try_collect::<Vec<_>>();
        let mut listed = Listed::default();
        for object in self.call(&prefix, "listed", listing).await? {
            let name = object.location.to_string();
            if let Some(folder) = Folder::of(self.cluster, &name) {
                listed.folders.entry(folder).or_default().push(name);
            } else if let Some(list) = ListName::of(self.cluster, &name) {
                listed.lists.insert(name, list);
            }
        }
        Ok(listed)
    }

    /// Deletes an object; one that is gone already is no error.
    ///
    /// # Errors
    /// [`LogStoreError::Unavailable`].
    pub async fn delete(&self, key: &str) -> Result<(), LogStoreError> {
        let location = Location::from(key);
        let delete = self.objects.delete(&location);
        match self.call(key, "deleted", delete).await {
            Ok(()) | Err(LogStoreError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn sync_above(root: &Path, file: &Path) -> io::Result<()> {
    let folders = file.ancestors().skip(1);
    folders
        .map(|folder| root.join(folder))
        .try_for_each(|folder| File::open(folder)?.sync_all())
}
