//! Lists of segments that have no keys of their own.

use holdfast_qlog::{
    fold::SegmentList,
    messages::Owner,
    meta::{Folded, ManifestRef},
};
use holdfast_types::ChannelId;

use crate::{error::LogStoreError, names, store::LogStore, stored::damaged};

impl LogStore {
    /// Writes a list that is to take the place of `before`, and of no other. No two attempts of one writer have the same
    /// number. Returns what the metadata is to say of it, unless the list is empty.
    ///
    /// # Errors
    /// [`LogStoreError`].
    pub async fn put_list(
        &self,
        log: ChannelId,
        list: &SegmentList,
        before: Option<&ManifestRef>,
        (writer, attempt): (&Owner, u64),
    ) -> Result<Option<Folded>, LogStoreError> {
        let key = names::list(self.cluster, log, before, writer, attempt);
        let bytes = list.encode(log, &key);
        let named = ManifestRef {
            bytes: bytes.len() as u64,
            checksum: crc32c::crc32c(&bytes),
            key: key.as_str().into(),
        };
        let Some(folded) = list.folded(named) else {
            return Ok(None);
        };
        self.put(&key, bytes.clone()).await?;
        if self.get(&key).await? != bytes {
            return Err(damaged(&key, "what is read back is not what was written"));
        }
        Ok(Some(folded))
    }

    /// The list that the metadata names.
    ///
    /// # Errors
    /// [`LogStoreError`].
    pub async fn read_list(
        &self,
        log: ChannelId,
        named: &ManifestRef,
    ) -> Result<SegmentList, LogStoreError> {
        let bytes = self.read_named(named).await?;
        SegmentList::decode(log, &named.key, &bytes).map_err(|bad| damaged(&bad.key, bad.problem))
    }
}
