//! The log on one machine's disk: one directory per channel, one writing thread per channel.
//!
//! | module       | responsibility                                                        |
//! |--------------|-----------------------------------------------------------------------|
//! | `format`     | the bytes of a log file                                               |
//! | `log_file`   | reading and verifying one file: torn or rotten                        |
//! | `files`      | which files there are; rolling, preparing, recycling, trimming        |
//! | `epoch`      | the highest epoch, durable                                            |
//! | `journal`    | writing batches: the one place that changes a log                     |
//! | `channel`    | queue and threads around a journal                                    |
//! | `ring`       | the newest records in memory                                          |
//! | `reader`     | reading on through files                                              |
//! | `tail`       | following a log                                                       |

mod channel;
mod epoch;
mod files;
mod format;
mod journal;
mod log_file;
mod reader;
mod ring;
mod tail;

#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use holdfast_disk::{DirLock, Disk, RealDisk};
use holdfast_types::{ChannelId, Epoch, Lsn};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use self::{
    channel::{Channel, OpenChannel, lock, never_answered},
    format::BLOCK,
    log_file::failed,
};
use crate::wal::{TailStream, Wal, WalError, WalWriter};

/// Settings of the local log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Length of a log file; a multiple of 4096, at least 65536. A larger record gets a file of its own.
    pub segment_bytes: u64,
    /// What the log leaves free on its disk, for the metadata that must still be written when it is full.
    pub reserve_bytes: u64,
    /// About how much one sync makes durable at most.
    pub batch_bytes_max: usize,
    /// Records waiting to be written, in bytes; beyond it appends are refused as busy.
    pub queue_bytes_max: usize,
    /// Newest records kept in memory for readers, per channel, in bytes.
    pub ring_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            reserve_bytes: 64 << 20,
            batch_bytes_max: 8 << 20,
            queue_bytes_max: 64 << 20,
            ring_bytes_max: 64 << 20,
        }
    }
}

impl Options {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// [`WalError::Options`] names the first one.
    pub fn validate(&self) -> Result<(), WalError> {
        let refuse = |field, problem: String| Err(WalError::Options { field, problem });
        let segment = self.segment_bytes;
        if !segment.is_multiple_of(BLOCK) || !(64 << 10..=64 << 30).contains(&segment) {
            let problem = format!("{segment} is not a multiple of 4096 in 64 KiB..=64 GiB");
            return refuse("segment_bytes", problem);
        }
        if !(1..=1 << 30).contains(&self.batch_bytes_max) {
            let problem = format!("{} is not in 1..=1 GiB", self.batch_bytes_max);
            return refuse("batch_bytes_max", problem);
        }
        if self.queue_bytes_max == 0 {
            return refuse("queue_bytes_max", "0 would refuse every append".to_owned());
        }
        Ok(())
    }
}

/// The logs in one directory. Dropping it writes what is queued, ends their readers and blocks until
/// that is done; appends of writers that outlive it are refused.
#[derive(Debug)]
pub struct LocalWal {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    options: Options,
    channels: Mutex<HashMap<ChannelId, Arc<OnceCell<OpenChannel>>>>,
    /// Held so that no second process writes here. Blocking work holds it too: that may outlive a
    /// caller who went away.
    lock: Option<Arc<DirLock>>,
}

impl LocalWal {
    /// Opens the directory, making it when it is missing. Channels are recovered when first used.
    /// Blocks for a few system calls.
    ///
    /// # Errors
    /// [`WalError::Locked`] when another process has it, [`WalError::Options`], or [`WalError::Io`].
    pub fn open(root: impl AsRef<Path>, options: Options) -> Result<Self, WalError> {
        let root = root.as_ref();
        RealDisk.create_dir(root).map_err(failed("create", root))?;
        let Some(lock) = DirLock::take(root).map_err(failed("lock", root))? else {
            let path = root.to_owned();
            return Err(WalError::Locked { path });
        };
        Self::on_disk(
            Arc::new(RealDisk),
            root.to_owned(),
            options,
            Some(Arc::new(lock)),
        )
    }

    fn on_disk(
        disk: Arc<dyn Disk>,
        root: PathBuf,
        options: Options,
        lock: Option<Arc<DirLock>>,
    ) -> Result<Self, WalError> {
        options.validate()?;
        Ok(Self {
            disk,
            root,
            options,
            channels: Mutex::new(HashMap::new()),
            lock,
        })
    }

    /// The channel, recovered if this is its first use.
    async fn channel(&self, id: ChannelId) -> Result<Arc<Channel>, WalError> {
        let cell = Arc::clone(lock(&self.channels).entry(id).or_default());
        let opened = cell.get_or_try_init(|| {
            let (disk, root) = (Arc::clone(&self.disk), self.root.clone());
            let options = self.options.clone();
            self.blocking(move || Channel::open(&disk, &root, id, &options))
        });
        Ok(Arc::clone(opened.await?.channel()))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, WalError> + Send + 'static,
    ) -> Result<T, WalError> {
        let lock = self.lock.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _lock = lock;
            work()
        })
        .await;
        done.map_err(|_| never_answered(&self.root))?
    }
}

#[async_trait]
impl Wal for LocalWal {
    async fn open_writer(
        &self,
        channel: ChannelId,
        epoch: Epoch,
    ) -> Result<(Box<dyn WalWriter>, Lsn), WalError> {
        let channel = self.channel(channel).await?;
        let (writer, last) = self.blocking(move || channel.take_over(epoch)).await?;
        Ok((Box::new(writer), last))
    }

    async fn tail(&self, channel: ChannelId, from: Lsn) -> Result<TailStream, WalError> {
        tail::follow(self.channel(channel).await?, from)
    }

    async fn committed(&self, channel: ChannelId) -> Result<Lsn, WalError> {
        Ok(self.channel(channel).await?.view().borrow().committed)
    }

    async fn trim(&self, channel: ChannelId, upto: Lsn) -> Result<(), WalError> {
        let channel = self.channel(channel).await?;
        // A record that is not durable yet cannot be one that nobody needs.
        let upto = upto.min(channel.view().borrow().committed);
        self.blocking(move || channel.files.trim(upto)).await
    }
}
