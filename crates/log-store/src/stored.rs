//! Reading a segment that was stored.

use bytes::Bytes;
use holdfast_journal::{
    manifest::Manifest,
    object::{FOOTER_LEN, Footer, ObjectHead, ObjectIndex},
};
use holdfast_qlog::{Entry, meta::ManifestRef};
use holdfast_types::{ChannelId, Lsn};

use crate::{error::LogStoreError, names::Folder, store::LogStore};

pub(crate) fn damaged(key: &str, problem: impl Into<String>) -> LogStoreError {
    LogStoreError::Damaged {
        key: key.to_owned(),
        problem: problem.into(),
    }
}

/// A segment in object storage.
#[derive(Debug)]
pub struct StoredSegment {
    store: LogStore,
    folder: Folder,
    manifest: Manifest,
    /// The object that was read last, and where things are in it.
    open: Option<(usize, ObjectIndex)>,
}

impl LogStore {
    /// The segment whose manifest the metadata names.
    ///
    /// # Errors
    /// [`LogStoreError`].
    pub async fn open_segment(
        &self,
        log: ChannelId,
        named: &ManifestRef,
    ) -> Result<StoredSegment, LogStoreError> {
        let key = &*named.key;
        let folder = Folder::of(self.cluster, key).filter(|f| f.log == log && f.manifest() == key);
        let folder =
            folder.ok_or_else(|| damaged(key, "its name is not that of a segment's manifest"))?;
        let bytes = self.read_named(named).await?;
        let manifest = Manifest::decode(&bytes).map_err(|problem| damaged(key, problem))?;
        if (manifest.segment().log, manifest.segment().segment) != (log, folder.segment) {
            return Err(damaged(key, "it is of another segment"));
        }
        Ok(StoredSegment {
            store: self.clone(),
            folder,
            manifest,
            open: None,
        })
    }

    /// The bytes of an object that the metadata names: exactly those.
    ///
    /// # Errors
    /// [`LogStoreError`].
    pub async fn read_named(&self, named: &ManifestRef) -> Result<Bytes, LogStoreError> {
        let bytes = self.get(&named.key).await?;
        if bytes.len() as u64 != named.bytes || crc32c::crc32c(&bytes) != named.checksum {
            return Err(damaged(&named.key, "it is not what the metadata names"));
        }
        Ok(bytes)
    }

    /// The footer of an object, and the object's length.
    pub(crate) async fn footer(
        &self,
        key: &str,
        head: &ObjectHead,
    ) -> Result<(Footer, u64), LogStoreError> {
        let len = self.len(key).await?;
        let Some(at) = len.checked_sub(FOOTER_LEN as u64) else {
            return Err(damaged(key, "cut short"));
        };
        let bytes = self.get_range(key, at..len).await?;
        let footer = Footer::read(head, len, &bytes).map_err(|e| damaged(key, e.problem))?;
        Ok((footer, len))
    }
}

impl StoredSegment {
    /// Bytes of all its objects.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.manifest.bytes()
    }

    /// Whether it is what this manifest names.
    #[must_use]
    pub fn is(&self, named: &ManifestRef) -> bool {
        *named.key == self.folder.manifest()
    }

    /// Its last entry.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.manifest.segment().last
    }

    /// Some entries, the first of them the one at `from`. None when it is not in this segment.
    ///
    /// # Errors
    /// [`LogStoreError`].
    pub async fn read(&mut self, from: Lsn) -> Result<Vec<Entry>, LogStoreError> {
        let Some((number, head)) = self.manifest.find(from) else {
            return Ok(Vec::new());
        };
        let key = self.folder.part(number);
        let wrong = |e: holdfast_journal::object::ObjectError| damaged(&key, e.problem);
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let (footer, len) = self.store.footer(&key, &head).await?;
            let part = &self.manifest.parts()[number];
            if len != part.bytes || footer.digest != part.digest {
                return Err(damaged(&key, "it is not what the manifest names"));
            }
            let index = self.store.get_range(&key, footer.index.clone()).await?;
            self.open = Some((number, footer.index(&index).map_err(wrong)?));
        }
        let Some((_, index)) = &self.open else {
            return Ok(Vec::new());
        };
        let Some(block) = index.find(from) else {
            return Ok(Vec::new());
        };
        let range = index.blocks[block].range.clone();
        let bytes = self.store.get_range(&key, range).await?;
        let mut entries = index.entries(block, &bytes).map_err(wrong)?;
        entries.retain(|entry| entry.lsn >= from);
        if let Some(bad) = entries.iter().find(|e| !e.is_intact(head.log)) {
            return Err(damaged(&key, format!("entry {} is not intact", bad.lsn)));
        }
        Ok(entries)
    }
}
