//! Putting files to use, and giving back those that hold nothing any more.

use std::{io, sync::Arc};

use holdfast_disk::{Spare, Spares, write_all_at};
use holdfast_qlog::NodeImage;

use super::{Journal, Tail, WriteError, classify};
use crate::{
    batch::{self, Layout, Place, Terms, Writing},
    file::{JournalFile, file_name},
    format::{BLOCK, DATA_AT, FileHeader, Kind, Link},
    identity::Identity,
    options::Options,
    reader::{FileState, Shared},
    side::{self, Side},
};

/// Where a file begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    pub(super) file_seq: u64,
    pub(super) first_seq: u64,
    pub(super) link: Link,
    pub(super) attempt: u32,
}

impl Journal {
    /// Goes on in a new file that has at least `room` bytes after its checkpoint. After [`WriteError::Full`] the
    /// journal is as before.
    pub(super) fn roll(&mut self, room: u64, urgent: bool) -> Result<(), WriteError> {
        self.attempts += 1;
        let beginning = Beginning {
            file_seq: self.tail.file.header.file_seq + 1,
            first_seq: self.tail.place.seq,
            link: self.tail.place.link,
            attempt: self.attempts,
        };
        let (file, place) = begin(
            &self.shared,
            &self.spares,
            &self.options,
            &self.identity.identity,
            &beginning,
            room,
            urgent,
        )?;
        let ranges = self.finish_file();
        {
            let state = &mut *self.shared.state_mut();
            if let Some(finished) = state.files.get_mut(&(beginning.file_seq - 1)) {
                finished.ranges = ranges;
            }
            let state_of = FileState::new(Arc::clone(&file));
            state.files.insert(file.header.file_seq, state_of);
        }
        self.tail = Tail { file, place };
        self.shared.set_tail(place);
        self.reclaim().map_err(WriteError::Before)
    }

    /// Leaves the index of the file that is finished beside it, and says how long it is.
    fn finish_file(&self) -> u64 {
        let seq = self.tail.file.header.file_seq;
        let side = {
            let state = self.shared.state();
            Side {
                file_seq: seq,
                next_seq: self.tail.place.seq,
                damaged: state.files.get(&seq).is_some_and(|f| f.damaged),
                ranges: state.index.in_file(seq).collect(),
            }
        };
        self.write_side(&side, self.tail.file.seed);
        side.ranges.len() as u64
    }

    pub(super) fn write_side(&self, side: &Side, seed: u32) {
        let Err(e) = side.write(&*self.shared.disk, &self.shared.dir, seed) else {
            return;
        };
        // Nothing depends on it: the next start reads the whole file instead.
        tracing::warn!(file = side.file_seq, error = %e, "cannot write the index of a file");
    }

    /// Gives back the files that hold nothing anybody needs. A failure leaves the journal readable, no more.
    pub(super) fn reclaim(&mut self) -> io::Result<()> {
        loop {
            let free = {
                let state = &mut *self.shared.state_mut();
                let newest = self.tail.file.header.file_seq;
                let image = &state.image;
                for file in state.files.values_mut() {
                    file.pinned_by.retain(|(log, segment)| {
                        let log = image.logs.get(log);
                        log.is_some_and(|log| log.segments.contains_key(segment))
                    });
                }
                let index = &state.index;
                let free = state.files.iter().find(|(seq, file)| {
                    **seq != newest && index.live(**seq) == 0 && file.pinned_by.is_empty()
                });
                let free = free.map(|(seq, _)| *seq);
                free.and_then(|seq| state.files.remove(&seq))
            };
            let Some(FileState { file, .. }) = free else {
                return Ok(());
            };
            self.give_back(&file)?;
        }
    }

    fn give_back(&self, file: &Arc<JournalFile>) -> io::Result<()> {
        let disk = &self.shared.disk;
        let dir = &self.shared.dir;
        // A reader that still has it open must not see it change.
        let spare = (Arc::strong_count(file) == 1)
            .then(|| self.spares.path_for_recycling(file.header.capacity))
            .flatten();
        match &spare {
            Some(path) => disk.rename(&file.path, path)?,
            None => disk.remove(&file.path)?,
        }
        // One at a time, so that a crash leaves no index without its file behind that could be taken for another's.
        disk.sync_dir(dir)?;
        match disk.remove(&dir.join(side::name(file.header.file_seq))) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        if let Some(path) = spare {
            let file = Arc::clone(&file.file);
            self.spares.add(Spare { path, file });
        }
        Ok(())
    }
}

/// Puts a file to use: until its name is durable it is no part of the journal, whatever happens to it.
pub(super) fn begin(
    shared: &Shared,
    spares: &Spares,
    options: &Options,
    identity: &Identity,
    beginning: &Beginning,
    room: u64,
    urgent: bool,
) -> Result<(Arc<JournalFile>, Place), WriteError> {
    let FirstBytes {
        header,
        bytes,
        place,
    } = first_bytes(&shared.state().image, identity, options, beginning, room);
    let spare = match urgent {
        true => spares.take_last(header.capacity),
        false => spares.take(header.capacity, 1),
    };
    let Spare { path: from, file } = spare.map_err(classify)?;
    let path = shared.dir.join(file_name(header.file_seq));
    let named = write_all_at(&*file, &bytes, 0)
        .and_then(|()| file.sync())
        .and_then(|()| shared.disk.rename(&from, &path));
    if let Err(e) = named {
        spares.put_back(Spare { path: from, file }, header.capacity);
        return Err(classify(e));
    }
    let synced = shared.disk.sync_dir(&shared.dir);
    synced.map_err(WriteError::Before)?;
    let file = JournalFile {
        path,
        file,
        seed: header.seed(),
        len: header.capacity,
        header,
    };
    Ok((Arc::new(file), place))
}

/// What is written into a file before it gets its name.
struct FirstBytes {
    header: FileHeader,
    bytes: Vec<u8>,
    place: Place,
}

fn first_bytes(
    image: &NodeImage,
    identity: &Identity,
    options: &Options,
    beginning: &Beginning,
    room: u64,
) -> FirstBytes {
    let images = image.logs.iter();
    let images: Vec<Writing<'_>> = images
        .map(|(log, image)| Writing::Image { log: *log, image })
        .collect();
    let layout = Layout::of(&images, options.batch_bytes_max);
    let data_at = DATA_AT + 2 * layout.span;
    let header = FileHeader {
        cluster: identity.cluster,
        storage: identity.storage,
        journal: identity.journal,
        file_seq: beginning.file_seq,
        generation: identity.generation,
        attempt: beginning.attempt,
        capacity: (data_at + room + BLOCK).max(options.file_bytes),
        first_seq: beginning.first_seq,
        checkpoint_last: beginning.first_seq + 2 * layout.count() - 1,
        logs: u32::try_from(images.len()).expect("a log has a 32-bit number"),
        previous: beginning.link,
    };
    let terms = Terms {
        file: header.file_seq,
        seed: header.seed(),
        generation: identity.generation,
        durable: beginning.first_seq - 1,
    };
    let mut bytes = Vec::new();
    for _ in 0..2 {
        bytes.extend(header.encode());
    }
    let mut place = Place {
        at: DATA_AT,
        seq: beginning.first_seq,
        link: beginning.link,
    };
    // Twice, so that damage to one does not take the state of the node with it.
    for _ in 0..2 {
        let kind = Kind::Checkpoint;
        place = batch::put(
            &mut bytes,
            &images,
            &layout,
            kind,
            &terms,
            place,
            &mut Vec::new(),
        );
    }
    FirstBytes {
        header,
        bytes,
        place,
    }
}
