//! A segment into object storage, or to another log-node.

use std::sync::Arc;

use holdfast_journal::ReadError;
use holdfast_log_store::{Attempt, LogStore, LogStoreError, Upload};
use holdfast_qlog::{
    Copies, Entry,
    heal::MendOptions,
    messages::{Read, Visibility},
    meta::{SegmentDescriptor, SegmentState, TxnOutcome, tiered},
};
use holdfast_quorum_wal::{mending::mend, survey::Reader};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    keeper::{Keeper, Memory},
    look::Look,
    metrics,
};

/// About the most bytes that are read at once.
pub(crate) const READ_BYTES: usize = 4 << 20;
/// About the most bytes of one message between log-nodes.
const BATCH_BYTES: usize = 1 << 20;
/// Entries that are written again for one that is damaged: it is seldom alone.
const MENDED_MAX: usize = 256;

/// Why a segment was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The object storage, or what it was given.
    #[error(transparent)]
    Store(#[from] LogStoreError),
    /// This disk.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// This copy is short.
    #[error("the copy here ends before entry {0}")]
    Short(Lsn),
}

impl UploadError {
    /// Whether nothing else can be stored either.
    pub(crate) fn is_the_stores(&self) -> bool {
        match self {
            Self::Store(LogStoreError::NotWhole(_)) | Self::Read(_) | Self::Short(_) => false,
            Self::Store(
                LogStoreError::Unavailable { .. }
                | LogStoreError::Missing { .. }
                | LogStoreError::Damaged { .. },
            ) => true,
        }
    }
}

impl Keeper {
    /// Stores a segment from this disk and has that recorded, unless somebody else changed its descriptor meanwhile.
    pub(crate) async fn upload(
        &self,
        memory: &mut Memory,
        look: &Look,
        log: ChannelId,
        segment: LogSegment,
        descriptor: &SegmentDescriptor,
    ) -> Result<(), UploadError> {
        let (Some(objects), Some(end)) = (&self.objects, descriptor.end()) else {
            return Ok(());
        };
        memory.attempts += 1;
        let attempt = Attempt {
            storage: self.storage,
            generation: self.generation,
            number: memory.attempts,
        };
        let mut upload = objects.upload(log, segment, descriptor, end, attempt);
        let stored = async {
            while !upload.is_complete() {
                let from = upload.next();
                let entries = self.read_whole(look, log, segment, from).await?;
                if entries.is_empty() {
                    return Err(UploadError::Short(from));
                }
                upload.push(entries).await?;
            }
            Ok(upload.finish().await?)
        };
        let manifest = match stored.await {
            Ok(manifest) => manifest,
            Err(error) => {
                discard(upload).await;
                return Err(error);
            }
        };
        let Some((_, txn)) = tiered(log, segment, descriptor, manifest) else {
            return Ok(());
        };
        match self.registry.txn(&txn).await {
            TxnOutcome::Applied => {
                tracing::info!(%log, %segment, %end, "a segment is in object storage");
                ::metrics::counter!(metrics::UPLOADED).increment(1);
                Ok(())
            }
            TxnOutcome::Refused => {
                tracing::debug!(%log, %segment, "somebody else was faster");
                discard(upload).await;
                Ok(())
            }
            // It may be the one that counts: the next look knows, and what does not count is cleared up.
            TxnOutcome::Unknown => Ok(()),
        }
    }

    /// Copies a segment to where it is to be.
    pub(crate) async fn copy(
        &self,
        look: &Look,
        log: ChannelId,
        segment: LogSegment,
        descriptor: SegmentDescriptor,
        copies: Copies,
    ) {
        let names = |copies: &Copies| {
            let names: Vec<&str> = copies.holders.iter().map(|h| &*h.node).collect();
            names.join(" ")
        };
        let (from, to) = (names(&descriptor.copies), names(&copies));
        let options = MendOptions {
            cluster: self.cluster,
            owner: self.owner.clone(),
            log,
            segment,
            descriptor,
            copies,
            batch_bytes: BATCH_BYTES,
            resend_after: self.options.resend_after,
        };
        let connect = Arc::clone(&self.connect);
        let done = mend(&self.registry, connect, look.nodes.clone(), options).await;
        if done {
            tracing::info!(%log, %segment, from, to, "a segment has all its copies again");
            ::metrics::counter!(metrics::COPIED).increment(1);
        } else {
            tracing::warn!(%log, %segment, from, to, "a segment is not copied yet");
        }
    }

    /// Entries of this disk from `from` on. What is damaged is written again from another copy first.
    pub(crate) async fn read_whole(
        &self,
        look: &Look,
        log: ChannelId,
        segment: LogSegment,
        from: Lsn,
    ) -> Result<Vec<Entry>, ReadError> {
        let read = Read {
            log,
            segment,
            from,
            visibility: Visibility::Durable,
            bytes_max: READ_BYTES,
        };
        match self.device.read(read).await {
            Err(error @ ReadError::Damaged { .. }) => {
                ::metrics::counter!(metrics::DAMAGED).increment(1);
                tracing::error!(%error, "an entry is damaged on this disk");
                match self.mend_here(look, log, segment, from).await {
                    true => self.device.read(read).await,
                    false => Err(error),
                }
            }
            read => read,
        }
    }

    /// Writes entries from `from` on again, as they are elsewhere. False when nobody has them.
    async fn mend_here(&self, look: &Look, log: ChannelId, segment: LogSegment, from: Lsn) -> bool {
        let view = look.logs.get(&log);
        let Some(descriptor) = view.and_then(|view| view.segments.get(&segment)) else {
            return false;
        };
        let Some(end) = descriptor.end() else {
            return false;
        };
        let mut found = self.others_have(look, log, segment, descriptor, from).await;
        if found.is_empty()
            && let Some(objects) = &self.objects
        {
            found = objects_have(objects, log, descriptor, from).await;
        }
        found.truncate(MENDED_MAX);
        let good = found.iter().zip(from.0..).take_while(|(entry, lsn)| {
            entry.lsn.0 == *lsn && entry.lsn <= end && entry.is_intact(log)
        });
        let good: Vec<Entry> = good.map(|(entry, _)| entry.clone()).collect();
        if good.is_empty() {
            tracing::error!(%log, %segment, %from, "no intact copy of a damaged entry answers");
            return false;
        }
        let count = good.len();
        match self.device.mend(log, segment, good).await {
            Ok(()) => {
                tracing::info!(%log, %segment, %from, count, "entries were written again");
                ::metrics::counter!(metrics::MENDED).increment(count as u64);
                true
            }
            Err(error) => {
                tracing::error!(%log, %segment, %from, %error, "entries cannot be written again");
                false
            }
        }
    }

    async fn others_have(
        &self,
        look: &Look,
        log: ChannelId,
        segment: LogSegment,
        descriptor: &SegmentDescriptor,
        from: Lsn,
    ) -> Vec<Entry> {
        let connect = Arc::clone(&self.connect);
        let owner = self.owner.clone();
        let reader = Reader::new(connect, look.nodes.clone(), self.cluster, owner);
        let others = descriptor.copies.holders.iter();
        for holder in others.filter(|holder| holder.storage != self.storage) {
            match reader.entries(log, segment, from, holder).await {
                Ok(entries) if !entries.is_empty() => return entries,
                Ok(_) => {}
                Err(problem) => {
                    let node = &*holder.node;
                    tracing::info!(%log, %segment, node, problem, "another copy cannot be read");
                }
            }
        }
        Vec::new()
    }
}

async fn objects_have(
    objects: &LogStore,
    log: ChannelId,
    descriptor: &SegmentDescriptor,
    from: Lsn,
) -> Vec<Entry> {
    let SegmentState::Tiered { manifest, .. } = &descriptor.state else {
        return Vec::new();
    };
    let read = async {
        let mut stored = objects.open_segment(log, manifest).await?;
        stored.read(from).await
    };
    read.await.unwrap_or_else(|error| {
        tracing::warn!(%log, %from, %error, "object storage does not have an entry");
        Vec::new()
    })
}

/// Takes away what an attempt wrote that certainly does not count.
async fn discard(upload: Upload) {
    if let Err(error) = upload.discard().await {
        tracing::debug!(%error, "objects are left over");
    }
}
