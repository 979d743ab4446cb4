//! Reading entries back. Whatever is read is verified first: the batch, the record, and the entry's own checksum.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use holdfast_disk::{Disk, Space};
use holdfast_qlog::{Entry, NodeImage, NodeRecord};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    batch::Place,
    codec::{Found, Stored},
    error::{Damage, JournalError, Loss, ReadError, failed},
    file::JournalFile,
    format::{BLOCK, Link},
    index::{Index, Key, Range},
    recover::Records,
};

/// What the writer and the readers of a journal share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    state: RwLock<State>,
}

/// What is durable, and where.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) image: NodeImage,
    pub(crate) index: Index,
    pub(crate) files: BTreeMap<u64, FileState>,
    /// Where the newest file ends.
    pub(crate) tail: Place,
}

impl Default for State {
    fn default() -> Self {
        Self {
            image: NodeImage::default(),
            index: Index::default(),
            files: BTreeMap::new(),
            tail: Place {
                at: 0,
                seq: 0,
                link: Link::default(),
            },
        }
    }
}

/// A file of the journal.
#[derive(Debug)]
pub(crate) struct FileState {
    pub(crate) file: Arc<JournalFile>,
    pub(crate) damaged: bool,
    /// Stretches of entries that were written to it, once it is finished.
    pub(crate) ranges: u64,
    /// Segments of which the file may hold entries that are not in the index, because they are damaged.
    pub(crate) pinned_by: Vec<Key>,
}

impl FileState {
    pub(crate) fn new(file: Arc<JournalFile>) -> Self {
        Self {
            file,
            damaged: false,
            ranges: 0,
            pinned_by: Vec::new(),
        }
    }

    /// Damage was found in it: it stays as long as any of the segments that there are now.
    pub(crate) fn pin(&mut self, image: &NodeImage) {
        self.damaged = true;
        let keys = |(log, image): (&ChannelId, &holdfast_qlog::LogImage)| {
            let log = *log;
            let keys: Vec<Key> = image.segments.keys().map(|s| (log, *s)).collect();
            keys
        };
        self.pinned_by = image.logs.iter().flat_map(keys).collect();
    }
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, state: State) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            state: RwLock::new(state),
        }
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_tail(&self, place: Place) {
        self.state_mut().tail = place;
    }

    pub(crate) fn space(&self) -> Result<Space, JournalError> {
        self.disk
            .space(&self.dir)
            .map_err(failed("measure", &self.dir))
    }
}

/// Reads what is durable. Clones read the same journal; any thread may.
#[derive(Clone, Debug)]
pub struct JournalReader(Arc<Shared>);

impl JournalReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Entries of a segment that follow each other, from `from` on: about `max_bytes` of them and at least one, fewer
    /// where the segment ends or damage begins, none where `from` is beyond the last.
    ///
    /// Blocks on the disk; reads a whole batch for each of the entries' batches.
    ///
    /// # Errors
    /// [`ReadError`]. Entries before damage are read; damage is an error only at its place.
    pub fn read(
        &self,
        log: ChannelId,
        segment: LogSegment,
        from: Lsn,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while entries.is_empty() || bytes < max_bytes {
            let found = self.find((log, segment), next)?;
            let read = match found {
                Spot::End => break,
                Spot::Lost => Err(ReadError::Damaged {
                    log,
                    segment,
                    lsn: next,
                    damage: Box::new(Damage {
                        file: self.0.dir.clone(),
                        offset: 0,
                        bytes: 0,
                        problem: "nothing intact holds it".to_owned(),
                        loss: Loss::Entries,
                    }),
                }),
                Spot::In(file, range) => read_range(&file, (log, segment), range, next),
            };
            match read {
                Ok(some) => {
                    for entry in some {
                        if !entries.is_empty() && bytes >= max_bytes {
                            break;
                        }
                        bytes += entry.payload.len();
                        next = entry.lsn.next();
                        entries.push(entry);
                    }
                }
                Err(_) if !entries.is_empty() => break,
                Err(e) => return Err(e),
            }
        }
        Ok(entries)
    }

    /// The node's state as the journal has it.
    #[must_use]
    pub fn image(&self) -> NodeImage {
        self.0.state().image.clone()
    }

    fn find(&self, key: Key, lsn: Lsn) -> Result<Spot, ReadError> {
        let (log, segment) = key;
        let state = self.0.state();
        let held = state.image.logs.get(&log);
        let held = held.and_then(|log| log.segments.get(&segment));
        let Some(held) = held else {
            return Err(ReadError::UnknownSegment { log, segment });
        };
        if lsn < held.first {
            let first = held.first;
            return Err(ReadError::BeforeFirst {
                log,
                segment,
                first,
            });
        }
        let range = state.index.from(key, lsn).first().copied();
        Ok(match range {
            Some(range) if range.first <= lsn => {
                let file = &state.files[&range.file].file;
                Spot::In(Arc::clone(file), range)
            }
            _ if lsn <= held.possible => Spot::Lost,
            _ => Spot::End,
        })
    }
}

/// Where an entry is.
enum Spot {
    In(Arc<JournalFile>, Range),
    Lost,
    End,
}

pub(crate) fn read_range(
    file: &JournalFile,
    key: Key,
    range: Range,
    from: Lsn,
) -> Result<Vec<Entry>, ReadError> {
    let at = u64::from(range.block) * BLOCK;
    let io = |source: io::Error| ReadError::Io {
        path: file.path.clone(),
        source,
    };
    let damaged = |lsn: Lsn, bytes: u64, problem: &str| ReadError::Damaged {
        log: key.0,
        segment: key.1,
        lsn,
        damage: Box::new(Damage {
            file: file.path.clone(),
            offset: at,
            bytes,
            problem: problem.to_owned(),
            loss: Loss::Entries,
        }),
    };
    let Some((header, _)) = file.batch_at(at).map_err(io)? else {
        return Err(damaged(from, BLOCK, "no batch where one was written"));
    };
    let Some((payload, _)) = file.payload(at, &header).map_err(io)? else {
        return Err(damaged(from, BLOCK, "a batch is cut short"));
    };
    // Whether the batch as a whole is intact does not matter: each record and each entry is checked on its own.
    let mut entries: Vec<Entry> = Vec::new();
    let mut next = from;
    for found in Records::of(&header, file.seed, payload) {
        let Ok(Found::Record(record)) = found else {
            continue;
        };
        let (Stored::Node(NodeRecord::Append {
            log,
            segment,
            entry,
            ..
        })
        | Stored::Moved {
            log,
            segment,
            entry,
            ..
        }) = record
        else {
            continue;
        };
        if (log, segment) == key && entry.lsn == next && entry.lsn <= range.last() {
            next = next.next();
            entries.push(entry);
        }
    }
    match entries.is_empty() {
        true => Err(damaged(
            from,
            header.span(),
            "checksum of an entry does not match",
        )),
        false => Ok(entries),
    }
}
