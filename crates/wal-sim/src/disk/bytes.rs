//! A disk of bytes, with sectors that tear and flip, under the journal that ships.

use std::{io, path::Path, sync::Arc};

use holdfast_disk::{
    disk::{Disk, DiskFile, Space},
    sim::{Faults, SimDisk},
};
use holdfast_journal::{Journal, JournalReader, Options, Owner, error::Loss};
use holdfast_qlog::{
    Entry, NodeRecord, StorageId,
    invariants::Ledger,
    node::Ticket,
    rules::{Rule, kept},
};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use super::{Found, Pending};
use crate::{rng::Rng, world::CLUSTER};

const DIR: &str = "journal";
/// Of a disk without faults of its own choice: writes are taken in parts.
const SOUND: Faults = Faults {
    short_write: 0.05,
    full_write: 0.0,
    failed_write: 0.0,
    failed_sync: 0.0,
    failed_read: 0.0,
    misdirected_write: 0.0,
    lost_write: 0.0,
    slow: 0.0,
    free_space_lies: false,
};

pub(super) struct Bytes {
    disk: SimDisk,
    owner: Owner,
    journal: Option<(Journal, JournalReader)>,
    pub(super) generation: u64,
    pub(super) damaged: bool,
}

impl Bytes {
    pub(super) fn empty(storage: StorageId, seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        disk.set_faults(SOUND);
        Self {
            disk,
            owner: Owner {
                cluster: CLUSTER,
                storage: None,
                fresh: (storage, storage.0),
            },
            journal: None,
            generation: 0,
            damaged: false,
        }
    }

    pub(super) fn copy(&self, seed: u64) -> Self {
        let disk = self.disk.image(seed);
        disk.set_faults(SOUND);
        Self {
            disk,
            owner: self.owner,
            journal: None,
            generation: self.generation,
            damaged: self.damaged,
        }
    }

    pub(super) fn open(&mut self, ledger: &mut Ledger) -> Result<Found, String> {
        self.journal = None;
        let options = Options {
            file_bytes: 256 << 10,
            batch_bytes_max: 64 << 10,
            spares_max: 2,
            ..Options::default()
        };
        let disk: Arc<dyn Disk> = Arc::new(Device(self.disk.clone()));
        let (journal, found) = Journal::open(disk, Path::new(DIR), &self.owner, &options)
            .map_err(|e| e.to_string())?;
        let reader = journal.reader();
        self.generation = found.identity.generation;
        self.damaged = found.damage.iter().any(|d| d.loss == Loss::Control);
        let storage = found.identity.storage;
        self.journal = Some((journal, reader));
        for (log, state) in &found.image.logs {
            for (segment, held) in &state.segments {
                let mut next = held.first;
                while next <= held.certain {
                    let entries = self.read((*log, *segment), (next, held.certain), 64 << 10);
                    let Some(last) = entries.last() else {
                        return Err(format!("{log}/{segment}: {next} is certain and not there"));
                    };
                    next = last.lsn.next();
                    for entry in &entries {
                        ledger.durable(*log, *segment, storage, entry);
                    }
                }
            }
        }
        Ok(Found {
            image: found.image,
            generation: self.generation - 1,
            damaged: self.damaged,
        })
    }

    pub(super) fn sync(
        &mut self,
        pending: &mut Pending,
        through: Ticket,
        fail: bool,
        ledger: &mut Ledger,
    ) -> bool {
        let Some((journal, _)) = &mut self.journal else {
            return false;
        };
        if fail {
            self.disk.set_faults(Faults {
                failed_sync: 1.0,
                ..SOUND
            });
        }
        let given = pending.iter().take_while(|(t, _)| *t <= through);
        let groups: Vec<&[NodeRecord]> = given.map(|(_, records)| records.as_slice()).collect();
        let outcomes = journal.append_groups(&groups);
        self.disk.set_faults(SOUND);
        if outcomes.iter().any(Result::is_err) {
            return false;
        }
        let storage = journal.identity().storage;
        while pending.front().is_some_and(|(t, _)| *t <= through) {
            let records = pending.pop_front().map(|(_, records)| records);
            for record in records.iter().flatten() {
                if let NodeRecord::Append {
                    log,
                    segment,
                    entry,
                    ..
                } = record
                {
                    ledger.durable(*log, *segment, storage, entry);
                }
            }
        }
        true
    }

    pub(super) fn crash(&mut self, pending: &Pending, part: Ticket, rng: &mut Rng) {
        let groups: Vec<&[NodeRecord]> = pending.iter().map(|(_, r)| r.as_slice()).collect();
        let machine = rng.chance(600_000);
        if let Some((mut journal, _)) = self.journal.take() {
            if machine {
                // The power fails in the middle of a write, after it, or while files are changed.
                self.disk.fail_power_after(rng.below(8));
                journal.append_groups(&groups);
            } else {
                let done = pending.iter().filter(|(t, _)| *t <= part).count();
                journal.append_groups(&groups[..done]);
            }
        }
        if machine {
            self.disk.cut_power();
        } else {
            self.disk.restart_process();
        }
    }

    pub(super) fn read(
        &self,
        (log, segment): (ChannelId, LogSegment),
        (from, through): (Lsn, Lsn),
        bytes_max: usize,
    ) -> Vec<Entry> {
        let Some((_, reader)) = &self.journal else {
            return Vec::new();
        };
        let mut entries = reader
            .read(log, segment, from, bytes_max)
            .unwrap_or_default();
        entries.retain(|e| e.lsn <= through);
        entries
    }

    /// A byte of some file flips, or a block of it is lost.
    pub(super) fn rot(&mut self, rng: &mut Rng) {
        let files: Vec<_> = self.disk.durable_files().into_iter().collect();
        let written = |bytes: &Vec<u8>| bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        let mut files: Vec<_> = files
            .into_iter()
            .map(|(path, bytes)| (path, written(&bytes)))
            .filter(|(_, len)| *len > 0)
            .collect();
        if files.is_empty() {
            return;
        }
        let (path, len) = files.swap_remove(rng.below(files.len() as u64) as usize);
        // Mostly near the end of what was written.
        let near = if rng.chance(700_000) {
            len.min(8 << 10)
        } else {
            len
        };
        let at = len - 1 - rng.below(near as u64) as usize;
        let block = rng.chance(200_000);
        let bit = 1 << rng.below(8);
        self.disk.damage(&path, |bytes| {
            if block {
                let begin = at / 512 * 512;
                let end = (begin + 512).min(bytes.len());
                bytes[begin..end].fill(0);
            } else {
                bytes[at] ^= bit;
            }
        });
    }
}

/// The simulated disk, whose names are not made durable when that rule is broken.
#[derive(Debug)]
struct Device(SimDisk);

impl Disk for Device {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if kept(Rule::NamesAreDurable) {
            self.0.sync_dir(dir)
        } else {
            Ok(())
        }
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.0.space(dir)
    }
}
