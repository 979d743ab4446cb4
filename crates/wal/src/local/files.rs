//! The files of one channel: which there are, which come next, which may go.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use holdfast_disk::{Disk, FileSizes, Spare, Spares, is_full, write_all_at};
use holdfast_types::{ChannelId, Epoch, Lsn};

use super::{
    format::{BLOCK, FileHeader},
    log_file::{LogFile, Position, corrupt, failed},
};
use crate::wal::WalError;

const LOG_SUFFIX: &str = ".wal";
const NEWEST_PREFIX: &str = "newest-";
/// Files prepared ahead or kept from trimming.
const SPARES_MAX: usize = 2;

/// Why there is no next file.
#[derive(Debug)]
pub(super) enum WriteError {
    /// No room. Nothing of what was to be written is in the log or ever will be.
    Full(io::Error),
    /// The disk is broken, and what it holds of the last write is unknown.
    Fatal(io::Error),
}

/// The files of one channel, shared by its writer, its readers and trimming.
#[derive(Debug)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    channel: ChannelId,
    sizes: FileSizes,
    set: Mutex<Set>,
    spares: Spares,
    /// Held while files are being trimmed.
    trimming: Mutex<Trimming>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trimming {
    Allowed,
    Refused,
}

#[derive(Debug)]
struct Set {
    /// Oldest first; the last is being written.
    log: VecDeque<Arc<LogFile>>,
    /// Which file a name in the directory says is there.
    newest_named: Option<Lsn>,
}

/// Where a recovered log ends.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The file to go on writing and where; none in a log that was never written.
    pub(super) active: Option<(Arc<LogFile>, Position)>,
    /// The last LSN.
    pub(super) last: Lsn,
    /// The epoch of the last batch.
    pub(super) epoch: Epoch,
}

impl Files {
    /// Finds the channel's files and verifies the newest one; older ones are verified as they are
    /// read. What is found counts as durable afterwards.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        channel: ChannelId,
        sizes: FileSizes,
    ) -> Result<(Self, Recovered), WalError> {
        // A rename whose sync failed in an earlier life may be seen without being durable.
        disk.sync_dir(&dir).map_err(failed("sync", &dir))?;
        let mut set = Set {
            log: VecDeque::new(),
            newest_named: None,
        };
        let spares = Spares::new(Arc::clone(&disk), &dir, sizes, SPARES_MAX);
        let (mut firsts, mut named) = (Vec::new(), Vec::new());
        for name in disk.list(&dir).map_err(failed("list", &dir))? {
            if let Some(first) = first_lsn(&name) {
                firsts.push(first);
            } else if let Some(first) = named_newest(&name) {
                named.push(first);
            } else if Spares::is_one(&name) {
                spares
                    .adopt(&name)
                    .map_err(failed("adopt", &dir.join(&name)))?;
            }
        }
        firsts.sort_unstable();
        for first in firsts {
            let path = dir.join(file_name(first));
            let file = disk.open(&path).map_err(failed("open", &path))?;
            let file = LogFile::open(path, file)?;
            check_chain(set.log.back().map(|f| &**f), &file, channel, first)?;
            set.log.push_back(Arc::new(file));
        }
        named.sort_unstable();
        set.newest_named = named.pop();
        if let Some(first) = set.newest_named
            && set
                .log
                .back()
                .is_none_or(|newest| newest.header.first < first)
        {
            let problem = "the file is missing, and the records in it with it";
            return Err(corrupt(&dir.join(file_name(first)), 0, problem));
        }
        for older in named {
            let path = dir.join(newest_name(older));
            disk.remove(&path).map_err(failed("remove", &path))?;
        }
        let recovered = match set.log.back() {
            Some(newest) => recover(newest)?,
            None => Recovered {
                active: None,
                last: Lsn(0),
                epoch: Epoch(0),
            },
        };
        let files = Self {
            disk,
            dir,
            channel,
            sizes,
            set: Mutex::new(set),
            spares,
            trimming: Mutex::new(Trimming::Allowed),
        };
        Ok((files, recovered))
    }

    /// The channel's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The first LSN that may be read.
    pub(super) fn first(&self) -> Lsn {
        self.set().log.front().map_or(Lsn(1), |f| f.header.first)
    }

    /// The file that holds `lsn` or will, and the first LSN of the one after it.
    pub(super) fn holding(&self, lsn: Lsn) -> Result<(Arc<LogFile>, Option<Lsn>), WalError> {
        let set = self.set();
        let after = set.log.partition_point(|f| f.header.first <= lsn);
        let Some(at) = after.checked_sub(1) else {
            let first = set.log.front().map_or(Lsn(1), |f| f.header.first);
            return Err(WalError::Trimmed { first });
        };
        Ok((
            Arc::clone(&set.log[at]),
            set.log.get(after).map(|f| f.header.first),
        ))
    }

    /// Puts the next file to use: it starts with `first` and holds at least `bytes` of batches.
    pub(super) fn roll(&self, first: Lsn, bytes: u64) -> Result<Arc<LogFile>, WriteError> {
        let capacity = bytes.saturating_add(BLOCK).max(self.sizes.segment);
        let spare = self.spares.take(capacity, 0).map_err(classify)?;
        // A file without records, too small for the one that comes now, is replaced: it has the same
        // name, since names are first LSNs.
        let newest = self.set().log.back().map(|f| f.header.clone());
        let replaced = newest.as_ref().is_some_and(|newest| newest.first == first);
        let header = FileHeader {
            channel: self.channel,
            uuid: *uuid::Uuid::new_v4().as_bytes(),
            first,
            previous_first: newest.map_or(Lsn(0), |newest| match replaced {
                true => newest.previous_first,
                false => newest.first,
            }),
            capacity,
        };
        let path = self.dir.join(file_name(first));
        // Until the rename the file is no part of the log, whatever happens to it.
        let named = write_all_at(&*spare.file, &header.encode(), 0)
            .and_then(|()| spare.file.sync())
            .and_then(|()| self.disk.rename(&spare.path, &path));
        if let Err(e) = named {
            self.spares.put_back(spare, capacity);
            return Err(classify(e));
        }
        self.disk.sync_dir(&self.dir).map_err(WriteError::Fatal)?;
        self.name_newest(first)?;
        let file = Arc::new(LogFile {
            path,
            file: spare.file,
            seed: header.seed(),
            header,
        });
        let mut set = self.set();
        if replaced {
            set.log.pop_back();
        }
        set.log.push_back(Arc::clone(&file));
        Ok(file)
    }

    /// Says by a name of its own that the file starting with `first` is there. Every older file is missed by
    /// the one that follows it; without this the loss of the newest would look like a shorter log.
    fn name_newest(&self, first: Lsn) -> Result<(), WriteError> {
        let before = self.set().newest_named;
        if before == Some(first) {
            return Ok(());
        }
        let path = self.dir.join(newest_name(first));
        self.disk.create(&path).map_err(classify)?;
        self.set().newest_named = Some(first);
        if let Some(before) = before {
            let path = self.dir.join(newest_name(before));
            self.disk.remove(&path).map_err(WriteError::Fatal)?;
        }
        self.disk.sync_dir(&self.dir).map_err(WriteError::Fatal)
    }

    /// Whether the next roll would have to make its file itself.
    pub(super) fn wants_spare(&self) -> bool {
        self.spares.count() == 0
    }

    /// Makes a file ready for a later roll, unless there is one.
    pub(super) fn prepare_spare(&self) -> io::Result<()> {
        self.spares.prepare(1)
    }

    /// Removes or recycles the files all of whose records are at or below `upto`. The newest stays.
    pub(super) fn trim(&self, upto: Lsn) -> Result<(), WalError> {
        let mut trimming = lock(&self.trimming);
        loop {
            if *trimming == Trimming::Refused {
                return Err(WalError::Poisoned);
            }
            let mut set = self.set();
            let next = set.log.get(1).map(|f| f.header.first);
            if next.is_none_or(|next| next.0 > upto.0.saturating_add(1)) {
                return Ok(());
            }
            let oldest = set.log.pop_front().expect("there are two files");
            // A reader that still has it open must not see it change.
            let spare_path = (Arc::strong_count(&oldest) == 1)
                .then(|| self.spares.path_for_recycling(oldest.header.capacity))
                .flatten();
            drop(set);
            let gone = match &spare_path {
                Some(path) => self.disk.rename(&oldest.path, path),
                None => self.disk.remove(&oldest.path),
            };
            if let Err(e) = gone {
                let error = failed("trim", &oldest.path)(e);
                self.set().log.push_front(oldest);
                return Err(error);
            }
            // One directory sync per file: were several names to go at once, a crash might bring an
            // older one back without its successor, and the log would seem to have lost a file. For
            // the same reason nothing is trimmed after a sync has failed.
            if let Err(e) = self.disk.sync_dir(&self.dir) {
                *trimming = Trimming::Refused;
                return Err(failed("sync", &self.dir)(e));
            }
            if let Some(path) = spare_path {
                let file = Arc::clone(&oldest.file);
                self.spares.add(Spare { path, file });
            }
        }
    }

    fn set(&self) -> MutexGuard<'_, Set> {
        lock(&self.set)
    }
}

/// Whether a failed step that left the log as it was failed for want of room.
fn classify(error: io::Error) -> WriteError {
    match is_full(&error) {
        true => WriteError::Full(error),
        false => WriteError::Fatal(error),
    }
}

fn check_chain(
    previous: Option<&LogFile>,
    file: &LogFile,
    channel: ChannelId,
    named: Lsn,
) -> Result<(), WalError> {
    let header = &file.header;
    let wrong = |problem: String| Err(corrupt(&file.path, 0, problem));
    if header.first != named || named == Lsn(0) {
        return wrong(format!("holds records from {} on", header.first));
    }
    if header.channel != channel {
        return wrong(format!("belongs to channel {}", header.channel));
    }
    match previous {
        Some(previous) if previous.header.first != header.previous_first => wrong(format!(
            "follows the file that starts with record {}, which is missing",
            header.previous_first
        )),
        _ => Ok(()),
    }
}

fn recover(newest: &Arc<LogFile>) -> Result<Recovered, WalError> {
    let scan = newest.scan()?;
    if let Some(problem) = scan.torn {
        tracing::info!(
            file = %newest.path.display(), offset = scan.end.offset, problem,
            "a batch that was being written when the log was last closed is cut off"
        );
    }
    let path = &newest.path;
    if let Some((offset, span)) = scan.last_batch {
        // It may be intact in the page cache alone: because the process died between write and sync,
        // or because the sync failed, after which the kernel takes the pages for clean. Only writing
        // it again makes the sync mean something. All batches before it were synced before it was
        // written.
        let span = usize::try_from(span).map_err(|_| corrupt(path, offset, "too large a batch"))?;
        let mut batch = vec![0; span];
        newest
            .file
            .read_exact_at(&mut batch, offset)
            .map_err(failed("read", path))?;
        write_all_at(&*newest.file, &batch, offset).map_err(failed("write", path))?;
    }
    newest.file.sync().map_err(failed("sync", path))?;
    Ok(Recovered {
        active: Some((Arc::clone(newest), scan.end)),
        last: Lsn(scan.end.next.0.saturating_sub(1)),
        epoch: scan.end.epoch,
    })
}

fn file_name(first: Lsn) -> String {
    format!("{:020}{LOG_SUFFIX}", first.0)
}

fn first_lsn(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(LOG_SUFFIX)?;
    let first = digits.parse().ok().map(Lsn)?;
    (file_name(first) == name).then_some(first)
}

fn newest_name(first: Lsn) -> String {
    format!("{NEWEST_PREFIX}{:020}", first.0)
}

fn named_newest(name: &str) -> Option<Lsn> {
    let first = name.strip_prefix(NEWEST_PREFIX)?.parse().ok().map(Lsn)?;
    (newest_name(first) == name).then_some(first)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is changed in single steps, so a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The path of a channel's directory.
pub(super) fn channel_dir(root: &Path, channel: ChannelId) -> PathBuf {
    root.join(format!("channel-{}", channel.0))
}
