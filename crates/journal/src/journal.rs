//! Appending to a journal: the one place that changes it. No threads, no clock; the disk decides everything that
//! can happen, so tests can decide it too.

mod files;
mod moving;
mod open;
mod stage;

use std::{io, sync::Arc};

use holdfast_disk::{DirLock, Spares, is_full, write_all_at};
use holdfast_qlog::{NodeImage, NodeRecord};

use self::stage::Stage;
use crate::{
    batch::{self, Layout, Place, Terms, Writing},
    error::{AppendError, Damage, JournalError},
    file::JournalFile,
    format::{BLOCK, BLOCK_LEN, Kind},
    identity::{Identity, IdentityFile},
    index::{Key, Range},
    options::Options,
    reader::{JournalReader, Shared},
    verify::{self, Report},
};

/// What was found when a journal was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The node's state. Segments hit by damage have `possible` above `certain`.
    pub image: NodeImage,
    /// What was damaged. Where its `loss` is [`crate::error::Loss::Control`], the image may lack promises.
    pub damage: Vec<Damage>,
    /// The journal's identity, its generation that of this start.
    pub identity: Identity,
}

/// What a journal takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the disk, in all.
    pub disk_total: u64,
    /// Still free on the disk.
    pub disk_free: u64,
    /// What appends leave free of that.
    pub disk_reserved: u64,
    /// Of files with records.
    pub files: u64,
    /// Of files ready to be used.
    pub spares: u64,
    /// Of memory, for the index.
    pub index: u64,
}

/// What a tool is told about a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Whose it is.
    pub identity: Identity,
    /// Its files, oldest first; the last one is being written.
    pub files: Vec<FileInfo>,
    /// Room.
    pub usage: Usage,
    /// Its disk failed: it is only read.
    pub read_only: bool,
}

/// One file of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its number.
    pub seq: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The first of its batches.
    pub first_batch: u64,
    /// Stretches of entries in it that are still needed.
    pub live_ranges: u64,
    /// Damage was found in it.
    pub damaged: bool,
}

/// A journal that is open for appending.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    spares: Arc<Spares>,
    options: Options,
    identity: IdentityFile,
    /// Where the next batch goes.
    tail: Tail,
    /// Files begun in this start.
    attempts: u32,
    read_only: bool,
    staging: Vec<u8>,
    /// Held so that no second process writes here.
    lock: Option<DirLock>,
}

#[derive(Debug)]
struct Tail {
    file: Arc<JournalFile>,
    place: Place,
}

/// Why nothing was made durable.
#[derive(Debug)]
enum WriteError {
    /// No room. The journal is as before.
    Full(io::Error),
    /// The disk is broken, before the records in question were touched.
    Before(io::Error),
    /// The disk is broken, and what it holds of them is unknown.
    Fatal(io::Error),
}

impl Journal {
    /// Appends records: on `Ok` all of them are durable, and readers see them.
    ///
    /// # Errors
    /// [`AppendError`] says whether they may be there nevertheless.
    pub fn append(&mut self, records: &[NodeRecord]) -> Result<(), AppendError> {
        let mut outcome = self.append_groups(&[records]);
        outcome.pop().expect("one group, one outcome")
    }

    /// Appends groups of records with as few syncs as possible. Each group is taken wholly or not at all; one that
    /// is refused does not touch the others.
    pub fn append_groups(&mut self, groups: &[&[NodeRecord]]) -> Vec<Result<(), AppendError>> {
        let mut outcomes = self.try_groups(groups, |_| true);
        let full = |outcome: &Result<(), AppendError>| matches!(outcome, Err(AppendError::Full(_)));
        if outcomes.iter().any(full) && groups.iter().any(|group| is_urgent(group)) {
            // What the reserve is for gets through.
            let urgent = self.try_groups(groups, is_urgent);
            for ((outcome, again), group) in outcomes.iter_mut().zip(urgent).zip(groups) {
                if is_urgent(group) {
                    *outcome = again;
                }
            }
        }
        outcomes
    }

    fn try_groups(
        &mut self,
        groups: &[&[NodeRecord]],
        which: fn(&[NodeRecord]) -> bool,
    ) -> Vec<Result<(), AppendError>> {
        if self.read_only {
            return groups.iter().map(|_| Err(AppendError::ReadOnly)).collect();
        }
        let mut outcomes: Vec<Result<(), AppendError>> = {
            let state = self.shared.state();
            let mut stage = Stage::new(&state.image);
            let admit = |group: &&[NodeRecord]| match which(group) {
                true => stage.admit(group),
                false => Ok(()),
            };
            groups.iter().map(admit).collect()
        };
        let admitted = groups.iter().zip(&outcomes);
        let admitted = admitted.filter(|(group, outcome)| which(group) && outcome.is_ok());
        let admitted: Vec<&[NodeRecord]> = admitted.map(|(group, _)| *group).collect();
        let records: Vec<&NodeRecord> = admitted.iter().copied().flatten().collect();
        if records.is_empty() {
            return outcomes;
        }
        let urgent = admitted.iter().all(|group| is_urgent(group));
        let failure = match self.write_records(&records, urgent) {
            Ok(()) => return outcomes,
            Err(WriteError::Full(e)) => AppendError::Full(Arc::new(e)),
            Err(WriteError::Before(e)) => {
                self.give_up(&e);
                AppendError::ReadOnly
            }
            Err(WriteError::Fatal(e)) => {
                self.give_up(&e);
                AppendError::Unknown(Arc::new(e))
            }
        };
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = Err(failure.clone());
        }
        outcomes
    }

    /// From now on the journal is only read: after a failed write or sync nobody knows what the disk holds, and the
    /// kernel may have forgotten that it does not.
    /// Counts as a start would, while it runs, and makes that durable: a copy of the disk that was made before is older
    /// than what the cluster then learns. Returns the new generation.
    ///
    /// # Errors
    /// [`AppendError::ReadOnly`]; [`AppendError::Unknown`] when the disk failed, after which nothing is written any more.
    pub fn raise_generation(&mut self) -> Result<u64, AppendError> {
        if self.read_only {
            return Err(AppendError::ReadOnly);
        }
        let generation = self.identity.identity.generation + 1;
        let (phase, newest) = (self.identity.phase, self.identity.newest);
        if let Err(error) = self.identity.store(generation, phase, newest) {
            self.give_up(&error);
            return Err(AppendError::Unknown(Arc::new(error)));
        }
        Ok(generation)
    }

    fn give_up(&mut self, error: &io::Error) {
        tracing::error!(%error, "the journal cannot be written any more");
        self.read_only = true;
    }

    fn write_records(&mut self, records: &[&NodeRecord], urgent: bool) -> Result<(), WriteError> {
        let writing: Vec<Writing<'_>> = records.iter().map(|r| Writing::Node(r)).collect();
        let ranges = self.write(&writing, urgent)?;
        let mut trimmed = false;
        {
            let state = &mut *self.shared.state_mut();
            for (key, range) in ranges {
                state.index.insert(key, range);
            }
            for record in records {
                let applied = state.image.apply(record);
                applied.expect("it was tried on a stage first");
                match record {
                    NodeRecord::Finish {
                        log, segment, end, ..
                    } => state.index.truncate((*log, *segment), *end),
                    NodeRecord::Trim { log, segment } => {
                        state.index.trim(*log, *segment);
                        trimmed = true;
                    }
                    NodeRecord::Promise { .. }
                    | NodeRecord::SegmentOpen { .. }
                    | NodeRecord::Append { .. } => {}
                }
            }
        }
        self.mark_unsynced();
        if trimmed && let Err(e) = self.reclaim() {
            self.give_up(&e);
        }
        Ok(())
    }

    /// Writes records durably, in a new file if this one has no room for all of them.
    fn write(
        &mut self,
        records: &[Writing<'_>],
        urgent: bool,
    ) -> Result<Vec<(Key, Range)>, WriteError> {
        let layout = Layout::of(records, self.options.batch_bytes_max);
        if !urgent && self.spares.count() == 0 {
            // The file set aside for promises and the like was used up, and must be there again first.
            self.spares.prepare(1).map_err(classify)?;
        }
        if self.tail.place.at + layout.span > self.tail.file.header.capacity {
            self.roll(layout.span, urgent)?;
        }
        let Tail { file, place } = &self.tail;
        let (file, place) = (Arc::clone(file), *place);
        let mut ranges = Vec::new();
        let mut bytes = std::mem::take(&mut self.staging);
        bytes.clear();
        let terms = self.terms();
        let next = batch::put(
            &mut bytes,
            records,
            &layout,
            Kind::Records,
            &terms,
            place,
            &mut ranges,
        );
        let written = write_all_at(&*file.file, &bytes, place.at);
        bytes.shrink_to(2 * self.options.batch_bytes_max);
        self.staging = bytes;
        if let Err(e) = written {
            return Err(match is_full(&e) {
                // Only file systems that copy on write get here: the room was allocated before.
                true => neutralise(&file, place.at, layout.span, e),
                false => WriteError::Fatal(e),
            });
        }
        file.file.sync().map_err(WriteError::Fatal)?;
        self.tail.place = next;
        self.shared.set_tail(next);
        Ok(ranges)
    }

    fn terms(&self) -> Terms {
        Terms {
            file: self.tail.file.header.file_seq,
            seed: self.tail.file.seed,
            generation: self.identity.identity.generation,
            durable: self.tail.place.seq - 1,
        }
    }

    /// Writes a mark: should the last batch rot, it is not taken for torn then. It costs no sync, since it only
    /// has to outlive the process, and no room, since the next batch is written over it.
    fn mark_unsynced(&mut self) {
        if let Err(e) = self.write_mark() {
            self.give_up(&e);
        }
    }

    fn write_mark(&self) -> io::Result<()> {
        let Tail { file, place } = &self.tail;
        if place.at + BLOCK > file.header.capacity {
            return Ok(());
        }
        let bytes = batch::mark(&self.terms(), place);
        match write_all_at(&*file.file, &bytes, place.at) {
            // A safeguard, no more.
            Err(e) if is_full(&e) => Ok(()),
            other => other,
        }
    }

    /// Ends the journal in good order: the last batch is marked as durable, durably.
    ///
    /// # Errors
    /// The disk's. Nothing that was acknowledged is lost.
    pub fn close(self) -> Result<(), AppendError> {
        if self.read_only {
            return Err(AppendError::ReadOnly);
        }
        let marked = self.write_mark();
        let synced = marked.and_then(|()| self.tail.file.file.sync());
        synced.map_err(|e| AppendError::Unknown(Arc::new(e)))
    }

    /// A reader of what is durable; it outlives the journal and can be shared.
    #[must_use]
    pub fn reader(&self) -> JournalReader {
        JournalReader::new(Arc::clone(&self.shared))
    }

    /// The node's state as the journal has it.
    #[must_use]
    pub fn image(&self) -> NodeImage {
        self.shared.state().image.clone()
    }

    /// The journal's identity.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.identity
    }

    /// Whether the disk failed, so that nothing is taken any more.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The files kept ready, so that they can be prepared on another thread.
    #[must_use]
    pub fn spares(&self) -> Arc<Spares> {
        Arc::clone(&self.spares)
    }

    /// Makes sure that the next file is ready: one for appends beside the one set aside.
    ///
    /// # Errors
    /// The disk's; nothing is lost by it.
    pub fn prepare(&self) -> io::Result<()> {
        self.spares.prepare(self.options.spares_max.min(2))
    }

    /// What the journal takes.
    ///
    /// # Errors
    /// The disk's.
    pub fn usage(&self) -> Result<Usage, JournalError> {
        let space = self.shared.space()?;
        let state = self.shared.state();
        let files = state.files.values().map(|f| f.file.header.capacity);
        Ok(Usage {
            disk_total: space.total,
            disk_free: space.free,
            disk_reserved: self.spares.sizes().reserve,
            files: files.sum(),
            spares: self.spares.count() as u64 * self.options.file_bytes,
            index: state.index.bytes(),
        })
    }

    /// What a tool shows.
    ///
    /// # Errors
    /// The disk's.
    pub fn inspect(&self) -> Result<Inspection, JournalError> {
        let usage = self.usage()?;
        let state = self.shared.state();
        let files = state.files.values().map(|f| FileInfo {
            seq: f.file.header.file_seq,
            bytes: f.file.header.capacity,
            first_batch: f.file.header.first_seq,
            live_ranges: state.index.live(f.file.header.file_seq),
            damaged: f.damaged,
        });
        Ok(Inspection {
            identity: self.identity.identity,
            files: files.collect(),
            usage,
            read_only: self.read_only,
        })
    }

    /// How far each file means something, for tests.
    #[cfg(test)]
    pub(crate) fn file_ends(&self) -> std::collections::BTreeMap<std::path::PathBuf, u64> {
        let state = self.shared.state();
        let files: Vec<_> = state.files.values().collect();
        let ends = files.iter().enumerate().map(|(at, state_of)| {
            let file = &state_of.file;
            let next = files.get(at + 1).map(|f| &f.file.header);
            let until = next.map_or(Some(state.tail.seq), |next| {
                (next.file_seq == file.header.file_seq + 1).then_some(next.first_seq)
            });
            let end = crate::scan::walk(file, until, &mut |_| Ok(())).expect("readable");
            (file.path.clone(), end.at)
        });
        ends.collect()
    }

    /// Reads and checks every byte that means something.
    ///
    /// # Errors
    /// The disk's. Damage is no error: the report names it.
    pub fn verify(&self) -> Result<Report, JournalError> {
        verify::verify(&self.shared, &self.identity)
    }
}

/// Whether these are records that the reserve is kept for.
fn is_urgent(records: &[NodeRecord]) -> bool {
    records.iter().all(|record| match record {
        NodeRecord::Promise { .. } | NodeRecord::Finish { .. } | NodeRecord::Trim { .. } => true,
        NodeRecord::SegmentOpen { .. } | NodeRecord::Append { .. } => false,
    })
}

/// Whether a failed step that left the journal as it was failed for want of room.
fn classify(error: io::Error) -> WriteError {
    match is_full(&error) {
        true => WriteError::Full(error),
        false => WriteError::Before(error),
    }
}

/// Undoes a write that found no room, durably: only then may its records be called rejected, since whole batches
/// among them would come back at the next start.
fn neutralise(file: &JournalFile, at: u64, span: u64, cause: io::Error) -> WriteError {
    let zeros = [0; BLOCK_LEN];
    for block in 0..span / BLOCK {
        if let Err(e) = write_all_at(&*file.file, &zeros, at + block * BLOCK) {
            tracing::error!(error = %e, "cannot undo a write that found no room");
            return WriteError::Fatal(cause);
        }
    }
    match file.file.sync() {
        Ok(()) => WriteError::Full(cause),
        Err(e) => WriteError::Fatal(e),
    }
}
