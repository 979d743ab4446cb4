//! Whose objects these are: one small object that names the cluster.
//!
//! Names of objects are unique within a cluster, by epochs that its metadata store gives out. Two clusters in one place
//! would use the same names; so would one whose metadata were lost and begun anew.

use bytes::Bytes;
use object_store::{
    Error, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path as Location,
};

use super::Store;
use crate::StorageError;

/// The object. It is in none of the folders that are listed, so nothing ever collects it.
const OWNER: &str = "cluster";
/// Most bytes of a cluster's name.
const NAME_BYTES_MAX: usize = 128;

impl Store {
    /// Makes sure that the objects here are this cluster's, or that there are none yet.
    ///
    /// In a bucket without conditional puts two clusters that begin at the same moment may miss each other.
    ///
    /// # Errors
    /// [`StorageError::Foreign`], or the store is out of reach.
    pub async fn claim(&self, cluster: &str) -> Result<(), StorageError> {
        let place = Location::from(OWNER);
        let failed = |operation| move |e| StorageError::of_store(operation, &OWNER, e);
        let wanted = Bytes::from(cluster.to_owned().into_bytes());
        debug_assert!(wanted.len() <= NAME_BYTES_MAX, "{cluster:?} is too long");
        loop {
            match self.objects.get(&place).await {
                Ok(found) if found.meta.size > NAME_BYTES_MAX as u64 => {
                    let problem = format!("{} bytes are no cluster's name", found.meta.size);
                    return Err(StorageError::damaged(&OWNER, problem));
                }
                Ok(found) => {
                    let owner = found.bytes().await.map_err(failed("get"))?;
                    if owner == wanted {
                        return Ok(());
                    }
                    return Err(StorageError::Foreign {
                        owner: String::from_utf8_lossy(&owner).into_owned(),
                        cluster: cluster.to_owned(),
                    });
                }
                Err(Error::NotFound { .. }) => {}
                Err(e) => return Err(failed("get")(e)),
            }
            let put = |mode| {
                let payload = PutPayload::from(wanted.clone());
                self.objects
                    .put_opts(&place, payload, PutOptions::from(mode))
            };
            let done = match put(PutMode::Create).await {
                Err(Error::NotImplemented { .. }) => put(PutMode::Overwrite).await,
                done => done,
            };
            match done {
                // What stands there now counts, whoever wrote it.
                Ok(_) | Err(Error::AlreadyExists { .. }) => {}
                Err(e) => return Err(failed("put")(e)),
            }
        }
    }
}
