//! One attempt to store a segment.

use bytes::Bytes;
use holdfast_journal::{
    manifest::{Manifest, Part},
    object::{FOOTER_LEN, Footer, ObjectHead, encode},
};
use holdfast_qlog::{
    Entry,
    meta::{ManifestRef, SegmentDescriptor},
};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    error::LogStoreError,
    names::{Attempt, Folder},
    store::LogStore,
};

/// An attempt that goes on. What it wrote stays when it is dropped; [`Upload::discard`] takes it away, and so does, later,
/// whoever clears up.
#[derive(Debug)]
pub struct Upload {
    store: LogStore,
    folder: Folder,
    segment: ObjectHead,
    parts: Vec<Part>,
    waiting: Vec<Entry>,
    waiting_bytes: usize,
    next: Lsn,
}

impl LogStore {
    /// Begins to store a segment that ended at `end`.
    #[must_use]
    pub fn upload(
        &self,
        log: ChannelId,
        segment: LogSegment,
        descriptor: &SegmentDescriptor,
        end: Lsn,
        attempt: Attempt,
    ) -> Upload {
        Upload {
            folder: Folder::new(self.cluster, log, segment, attempt),
            store: self.clone(),
            segment: ObjectHead {
                log,
                segment,
                epoch: descriptor.epoch,
                first: descriptor.first,
                last: end,
            },
            parts: Vec::new(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            next: descriptor.first,
        }
    }
}

impl Upload {
    /// The next entry that is wanted.
    #[must_use]
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// Whether all entries were given.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.next > self.segment.last
    }

    /// Takes the next entries; those beyond the segment's end are left out. Writes an object when there are enough.
    ///
    /// # Errors
    /// [`LogStoreError`]; the attempt is over then.
    pub async fn push(&mut self, entries: Vec<Entry>) -> Result<(), LogStoreError> {
        let last = self.segment.last;
        for entry in entries.into_iter().filter(|entry| entry.lsn <= last) {
            self.next = entry.lsn.next();
            self.waiting_bytes += entry.payload.len();
            self.waiting.push(entry);
            if self.waiting_bytes >= self.store.options.object_bytes {
                self.write().await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), LogStoreError> {
        let entries = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(());
        };
        let head = ObjectHead {
            first: first.lsn,
            last: last.lsn,
            ..self.segment
        };
        let key = self.folder.part(self.parts.len());
        let block_bytes = self.store.options.block_bytes;
        let encoding = tokio::task::spawn_blocking(move || encode(&head, &entries, block_bytes));
        let encoded = encoding.await;
        let bytes = encoded.map_err(|e| crate::stored::damaged(&key, e.to_string()))??;
        let wanted = Footer::read(
            &head,
            bytes.len() as u64,
            &bytes[bytes.len() - FOOTER_LEN..],
        )?;
        self.store.put(&key, Bytes::from(bytes)).await?;
        let (found, len) = self.store.footer(&key, &head).await?;
        if found != wanted {
            let problem = "what is read back is not what was written";
            return Err(crate::stored::damaged(&key, problem));
        }
        self.parts.push(Part {
            first: head.first,
            last: head.last,
            bytes: len,
            digest: found.digest,
        });
        Ok(())
    }

    /// Writes what is left, and the manifest. Returns what the metadata is to name.
    ///
    /// # Errors
    /// [`LogStoreError::NotWhole`] when entries are missing; others as they come.
    pub async fn finish(&mut self) -> Result<ManifestRef, LogStoreError> {
        self.write().await?;
        let manifest = Manifest::new(self.segment, self.parts.clone())?;
        let bytes = Bytes::from(manifest.encode());
        let key = self.folder.manifest();
        self.store.put(&key, bytes.clone()).await?;
        if self.store.get(&key).await? != bytes {
            let problem = "what is read back is not what was written";
            return Err(crate::stored::damaged(&key, problem));
        }
        Ok(ManifestRef {
            bytes: bytes.len() as u64,
            checksum: crc32c::crc32c(&bytes),
            key: key.into(),
        })
    }

    /// Takes away what this attempt wrote: the metadata certainly does not name it, and never will.
    ///
    /// # Errors
    /// [`LogStoreError::Unavailable`]: some of it stays until somebody clears up.
    pub async fn discard(self) -> Result<(), LogStoreError> {
        self.store.delete(&self.folder.manifest()).await?;
        for number in 0..=self.parts.len() {
            self.store.delete(&self.folder.part(number)).await?;
        }
        Ok(())
    }
}
