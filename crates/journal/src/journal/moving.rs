//! Entries written a second time: to free a file that little is left of, or because the first copy is damaged.

use std::sync::Arc;

use holdfast_qlog::Entry;
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn};

use super::{Journal, WriteError};
use crate::{
    batch::Writing,
    error::AppendError,
    file::JournalFile,
    index::{Key, Range},
    reader::read_range,
};

/// A file of which no more than one part in so many is needed is emptied.
const SPARSE: u64 = 8;

/// A file that little is left of, and where that lies.
type Sparse = (Arc<JournalFile>, Vec<(Key, Range)>);

impl Journal {
    /// Writes entries again that this journal holds damaged, as another node has them. They change nothing but
    /// where they are read from.
    ///
    /// # Errors
    /// [`AppendError`], as for an append.
    pub fn mend(
        &mut self,
        log: ChannelId,
        segment: LogSegment,
        entries: &[Entry],
    ) -> Result<(), AppendError> {
        let key = (log, segment);
        let problem = {
            let state = self.shared.state();
            let held = state.image.logs.get(&log);
            let held = held.and_then(|image| image.segments.get(&segment));
            held.map_or(Some("segment is not here"), |held| {
                let inside = |e: &Entry| (held.first..=held.possible).contains(&e.lsn);
                (!entries.iter().all(inside)).then_some("entries were never here")
            })
        };
        if let Some(problem) = problem {
            let problem = format!("{problem}: {segment}");
            return Err(holdfast_qlog::image::OutOfOrder { log, problem }.into());
        }
        if let Some(bad) = entries.iter().find(|e| !e.is_intact(log)) {
            let lsn = bad.lsn;
            return Err(AppendError::NotIntact { log, lsn });
        }
        let entries: Vec<(Key, Entry)> = entries.iter().map(|e| (key, e.clone())).collect();
        self.write_moved(&entries)
    }

    /// Moves some entries out of the oldest file that little is left of, so that they do not hold it back. Says
    /// whether there is more to be done. Moving costs at most a seventh of what was written in the first place.
    ///
    /// # Errors
    /// [`AppendError`], as for an append. Damage is left where it is.
    pub fn compact(&mut self) -> Result<bool, AppendError> {
        let Some((file, ranges)) = self.sparse() else {
            return Ok(false);
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (key, range) in ranges {
            let Ok(read) = read_range(&file, key, range, range.first) else {
                continue;
            };
            bytes += read.iter().map(|e| e.payload.len()).sum::<usize>();
            entries.extend(read.into_iter().map(|entry| (key, entry)));
            if bytes >= self.options.batch_bytes_max {
                break;
            }
        }
        if entries.is_empty() {
            // Nothing of it can be read: it stays, and is not looked at again in this start.
            let image = self.image();
            if let Some(state_of) = self.shared.state_mut().files.get_mut(&file.header.file_seq) {
                state_of.pin(&image);
            }
            return Ok(true);
        }
        drop(file);
        self.write_moved(&entries)?;
        Ok(true)
    }

    fn sparse(&self) -> Option<Sparse> {
        let state = self.shared.state();
        let newest = self.tail.file.header.file_seq;
        // Of two files one would be emptied into the other: nothing is won.
        if state.files.len() < 3 {
            return None;
        }
        let sparse = state.files.iter().find(|(seq, file)| {
            let live = state.index.live(**seq);
            **seq != newest && !file.damaged && live > 0 && live * SPARSE <= file.ranges
        });
        let (seq, file) = sparse?;
        let ranges = state.index.in_file(*seq).collect();
        Some((Arc::clone(&file.file), ranges))
    }

    fn write_moved(&mut self, entries: &[(Key, Entry)]) -> Result<(), AppendError> {
        if self.read_only {
            return Err(AppendError::ReadOnly);
        }
        let writing: Vec<Writing<'_>> = entries
            .iter()
            .map(|(key, entry)| Writing::Moved {
                key: *key,
                terms: (Epoch(0), Lsn(0)),
                entry,
            })
            .collect();
        if writing.is_empty() {
            return Ok(());
        }
        let moved = self.write(&writing, false);
        match moved {
            Ok(ranges) => {
                let state = &mut *self.shared.state_mut();
                for (key, range) in ranges {
                    state.index.insert(key, range);
                }
            }
            Err(WriteError::Full(e)) => return Err(AppendError::Full(e.into())),
            Err(WriteError::Before(e)) => {
                self.give_up(&e);
                return Err(AppendError::ReadOnly);
            }
            Err(WriteError::Fatal(e)) => {
                self.give_up(&e);
                return Err(AppendError::Unknown(e.into()));
            }
        }
        self.mark_unsynced();
        if let Err(e) = self.reclaim() {
            self.give_up(&e);
        }
        Ok(())
    }
}
