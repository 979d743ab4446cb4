//! Opening a journal: what is there is read, made durable, and counted as a start.

use std::{io, path::Path, sync::Arc};

use holdfast_disk::{DirLock, Disk, FileSizes, RealDisk, Spares, write_all_at};

use super::{
    Journal, Recovered, Tail, WriteError,
    files::{Beginning, begin},
};
use crate::{
    batch::Place,
    error::{Damage, JournalError, failed},
    file::{JournalFile, file_number},
    format::{BATCH_HEADER_LEN, BatchHeader, Link},
    identity::{self, Identity, IdentityFile, Owner, Phase},
    options::Options,
    reader::{FileState, Shared, State},
    recover::{Recovery, recover},
    side,
};

/// What every way of opening needs.
struct Opening<'a> {
    disk: Arc<dyn Disk>,
    dir: &'a Path,
    names: Vec<String>,
    identity: IdentityFile,
    options: &'a Options,
}

impl Journal {
    /// Opens the journal in `dir`, making it when the directory is empty or missing.
    ///
    /// What was found is durable when this returns: it is written and synced anew where a crash may have left it in
    /// the page cache alone.
    ///
    /// # Errors
    /// [`JournalError`]; nothing was deleted.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        owner: &Owner,
        options: &Options,
    ) -> Result<(Self, Recovered), JournalError> {
        options.validate()?;
        disk.create_dir(dir).map_err(failed("create", dir))?;
        // A rename whose sync failed in an earlier life may be seen without being durable.
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
        let names = disk.list(dir).map_err(failed("list", dir))?;
        let identity = IdentityFile::open(&*disk, dir, &names, owner)?;
        let (files, mut damage) = open_files(&*disk, dir, &names, &identity)?;
        let opening = Opening {
            disk,
            dir,
            names,
            identity,
            options,
        };
        let journal = match files.is_empty() {
            true => opening.make()?,
            false => {
                let recovery = recover(&*opening.disk, dir, &files)?;
                damage.extend(recovery.damage.iter().cloned());
                opening.take_up(files, recovery, damage.is_empty())?
            }
        };
        if let Err(e) = journal.spares.prepare(1) {
            // Appends find out, and are refused, until there is room for it.
            tracing::warn!(error = %e, "no room to set a file aside for promises");
        }
        let recovered = Recovered {
            image: journal.image(),
            damage,
            identity: journal.identity(),
        };
        let Identity {
            storage,
            generation,
            ..
        } = recovered.identity;
        tracing::info!(%storage, generation, "journal opened");
        for found in &recovered.damage {
            tracing::error!(%found, loss = ?found.loss, "the journal is damaged");
        }
        Ok((journal, recovered))
    }

    /// As [`Self::open`], on the machine's file system, in a directory that no other process uses meanwhile.
    ///
    /// # Errors
    /// As [`Self::open`], and [`JournalError::Locked`].
    pub fn open_real(
        dir: &Path,
        owner: &Owner,
        options: &Options,
    ) -> Result<(Self, Recovered), JournalError> {
        RealDisk.create_dir(dir).map_err(failed("create", dir))?;
        let Some(lock) = DirLock::take(dir).map_err(failed("lock", dir))? else {
            let path = dir.to_owned();
            return Err(JournalError::Locked { path });
        };
        let (mut journal, recovered) = Self::open(Arc::new(RealDisk), dir, owner, options)?;
        journal.lock = Some(lock);
        Ok((journal, recovered))
    }
}

impl Opening<'_> {
    fn spares(&self) -> Result<Spares, JournalError> {
        let space = self
            .disk
            .space(self.dir)
            .map_err(failed("measure", self.dir))?;
        let sizes = FileSizes {
            segment: self.options.file_bytes,
            reserve: space.total / 100 * u64::from(self.options.reserve_percent),
        };
        let disk = Arc::clone(&self.disk);
        let spares = Spares::new(disk, self.dir, sizes, self.options.spares_max);
        for name in self.names.iter().filter(|name| Spares::is_one(name)) {
            let path = self.dir.join(name);
            spares.adopt(name).map_err(failed("adopt", &path))?;
        }
        Ok(spares)
    }

    fn start(&mut self, generation: u64, phase: Phase, newest: u64) -> Result<(), JournalError> {
        let path = self.dir.join(identity::NAME);
        self.identity
            .store(generation, phase, newest)
            .map_err(failed("write", &path))
    }

    /// Begins the first file.
    fn make(mut self) -> Result<Journal, JournalError> {
        let generation = self.identity.identity.generation + 1;
        self.start(generation, Phase::Begun, 0)?;
        let spares = self.spares()?;
        let shared = Shared::new(Arc::clone(&self.disk), self.dir, State::default());
        let beginning = Beginning {
            file_seq: 1,
            first_seq: 1,
            link: Link::default(),
            attempt: 0,
        };
        let id = self.identity.identity;
        let begun = begin(&shared, &spares, self.options, &id, &beginning, 0, true);
        let (file, place) = begun.map_err(|e| self.cannot_begin(e))?;
        self.start(generation, Phase::Made, 1)?;
        let state = FileState::new(Arc::clone(&file));
        shared.state_mut().files.insert(1, state);
        Ok(self.journal(shared, spares, file, place))
    }

    /// Goes on where the newest file ends.
    fn take_up(
        mut self,
        files: Vec<Arc<JournalFile>>,
        recovery: Recovery,
        sound: bool,
    ) -> Result<Journal, JournalError> {
        let Recovery {
            image,
            index,
            end,
            sides,
            damaged,
            ranges,
            ..
        } = recovery;
        let newest = Arc::clone(files.last().expect("there is a file"));
        let generation = self.identity.identity.generation.max(end.generation) + 1;
        // Before anything is written with it, and before the cluster hears of it.
        self.start(generation, Phase::Made, newest.header.file_seq)?;
        let spares = self.spares()?;
        let mut state = State {
            image,
            index,
            ..State::default()
        };
        let seeds: Vec<(u64, u32)> = files.iter().map(|f| (f.header.file_seq, f.seed)).collect();
        for file in files {
            let seq = file.header.file_seq;
            let mut file = FileState::new(file);
            file.ranges = ranges.get(&seq).copied().unwrap_or(0);
            if damaged.contains(&seq) {
                file.pin(&state.image);
            }
            state.files.insert(seq, file);
        }
        self.remove_leftovers(&state)?;
        // These batches may be intact in the page cache alone: because the process died between write and sync, or
        // because the sync failed, after which the kernel takes the pages for clean.
        let io = |e| failed("write", &newest.path)(e);
        for (at, header) in &end.undurable {
            write_again(&newest, *at, header).map_err(io)?;
        }
        let shared = Shared::new(Arc::clone(&self.disk), self.dir, state);
        let place = Place {
            at: end.at,
            seq: end.next_seq,
            link: end.link,
        };
        if end.torn {
            tracing::info!(
                file = %newest.path.display(), offset = end.at,
                "a batch that was being written when the journal was last closed is cut off"
            );
        }
        let dir = self.dir.to_owned();
        let mut journal = self.journal(shared, spares, Arc::clone(&newest), place);
        journal.write_mark().map_err(io)?;
        newest.file.sync().map_err(io)?;
        if !sound {
            // What is written from now on does not stand among what is damaged.
            let rolled = journal.roll(0, true);
            rolled.map_err(|e| cannot_begin(&dir, e))?;
        }
        for (side, (_, seed)) in sides.iter().filter_map(|side| {
            let seed = seeds.iter().find(|(seq, _)| *seq == side.file_seq)?;
            Some((side, seed))
        }) {
            journal.write_side(side, *seed);
        }
        journal
            .reclaim()
            .map_err(failed("give back files in", &dir))?;
        Ok(journal)
    }

    fn journal(
        self,
        shared: Shared,
        spares: Spares,
        file: Arc<JournalFile>,
        place: Place,
    ) -> Journal {
        shared.set_tail(place);
        Journal {
            shared: Arc::new(shared),
            spares: Arc::new(spares),
            options: self.options.clone(),
            identity: self.identity,
            tail: Tail { file, place },
            attempts: 0,
            read_only: false,
            lock: None,
            staging: Vec::new(),
        }
    }

    /// Half indexes, and indexes of files that were given back.
    fn remove_leftovers(&self, state: &State) -> Result<(), JournalError> {
        for name in &self.names {
            let orphan = side::number(name).is_some_and(|seq| !state.files.contains_key(&seq));
            if orphan || side::is_draft(name) {
                let path = self.dir.join(name);
                self.disk.remove(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    fn cannot_begin(&self, error: WriteError) -> JournalError {
        cannot_begin(self.dir, error)
    }
}

/// Writes a batch that is there once more, and zeros where its padding may not be.
fn write_again(file: &JournalFile, at: u64, header: &BatchHeader) -> io::Result<()> {
    let span = usize::try_from(header.span()).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; BATCH_HEADER_LEN + header.len as usize];
    file.file.read_exact_at(&mut bytes, at)?;
    bytes.resize(span, 0);
    write_all_at(&*file.file, &bytes, at)
}

fn cannot_begin(dir: &Path, error: WriteError) -> JournalError {
    let path = dir.to_owned();
    match error {
        WriteError::Full(source) => JournalError::Full { path, source },
        WriteError::Before(source) | WriteError::Fatal(source) => JournalError::Io {
            doing: "begin a file in",
            path,
            source,
        },
    }
}

/// The files of the journal, oldest first.
fn open_files(
    disk: &dyn Disk,
    dir: &Path,
    names: &[String],
    identity: &IdentityFile,
) -> Result<(Vec<Arc<JournalFile>>, Vec<Damage>), JournalError> {
    let missing = |problem: String| {
        Err(JournalError::Missing {
            path: dir.to_owned(),
            problem,
        })
    };
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| file_number(name)).collect();
    numbers.sort_unstable();
    let newest = numbers.last().copied().unwrap_or(0);
    let finished = names.iter().filter_map(|name| side::number(name)).max();
    if identity.phase == Phase::Made && newest < identity.newest.max(1) {
        return missing(format!("file {} of the journal is gone", identity.newest));
    }
    if finished.is_some_and(|seq| seq >= newest) {
        return missing("the newest file of the journal is gone".to_owned());
    }
    let mut files = Vec::new();
    let mut damage = Vec::new();
    for number in numbers {
        let path = dir.join(crate::file::file_name(number));
        let (file, found) = JournalFile::open(disk, path, number)?;
        let (header, own) = (&file.header, &identity.identity);
        if (header.journal, header.storage) != (own.journal, own.storage) {
            let problem = "it belongs to another journal";
            return Err(crate::error::corrupt(&file.path, 0, problem));
        }
        damage.extend(found);
        files.push(Arc::new(file));
    }
    Ok((files, damage))
}
