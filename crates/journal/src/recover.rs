//! What the files say at start: the newest one is walked, the others have an index beside them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use holdfast_disk::Disk;
use holdfast_qlog::{NodeImage, NodeRecord, SegmentImage};
use holdfast_types::{ChannelId, Lsn};

use crate::{
    batch::Ranges,
    codec::{self, Found, Stored},
    error::{Damage, JournalError, Loss, corrupt, failed},
    file::JournalFile,
    format::{BatchHeader, Kind},
    index::{Index, Key, Range},
    scan::{Bad, Batch, End, Item, walk},
    side::Side,
};

/// What a journal's files say.
#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) image: NodeImage,
    pub(crate) index: Index,
    pub(crate) damage: Vec<Damage>,
    /// Where the newest file ends.
    pub(crate) end: End,
    /// Finished files without an intact index, and what it should say.
    pub(crate) sides: Vec<Side>,
    /// Files in which damage was found, now or before they were finished.
    pub(crate) damaged: BTreeSet<u64>,
    /// How many ranges the index of each finished file has.
    pub(crate) ranges: BTreeMap<u64, u64>,
}

/// Reads `files`, oldest first; there is at least one.
pub(crate) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    files: &[Arc<JournalFile>],
) -> Result<Recovery, JournalError> {
    let (newest, older) = files.split_last().expect("there is a file");
    let mut rebuild = Rebuild::new(newest);
    let end = walk(newest, None, &mut |item| rebuild.take(item))?;
    rebuild.checkpoint_is_whole()?;
    let Rebuild {
        image,
        ranges,
        damage,
        ..
    } = rebuild;
    let mut recovery = Recovery {
        image,
        index: Index::default(),
        damaged: BTreeSet::new(),
        ranges: BTreeMap::new(),
        damage,
        end,
        sides: Vec::new(),
    };
    if !recovery.damage.is_empty() {
        recovery.damaged.insert(newest.header.file_seq);
    }
    for (file, next) in older.iter().zip(&files[1..]) {
        let side = recovery.side(disk, dir, file, next)?;
        if side.damaged {
            recovery.damaged.insert(side.file_seq);
        }
        recovery
            .ranges
            .insert(side.file_seq, side.ranges.len() as u64);
        recovery.insert(&side.ranges);
    }
    recovery.insert(&ranges);
    recovery.vouch(dir);
    Ok(recovery)
}

impl Recovery {
    fn side(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        file: &JournalFile,
        next: &JournalFile,
    ) -> Result<Side, JournalError> {
        let seq = file.header.file_seq;
        let path = dir.join(crate::side::name(seq));
        let next_seq = (next.header.file_seq == seq + 1).then_some(next.header.first_seq);
        match Side::read(disk, dir, seq, file.seed) {
            Ok(Ok(side)) if next_seq.is_none_or(|n| n == side.next_seq) => return Ok(side),
            Ok(side) => {
                let problem = side
                    .err()
                    .unwrap_or("it ends elsewhere than the next file begins");
                self.damage.push(Damage {
                    file: path,
                    offset: 0,
                    bytes: u64::MAX,
                    problem: format!("the index beside a file: {problem}"),
                    loss: Loss::Nothing,
                });
            }
            // The process ended before it was written.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("read", &path)(e)),
        }
        let (side, damage) = ranges_of(file, next_seq)?;
        self.damage.extend(damage);
        self.sides.push(side.clone());
        Ok(side)
    }

    fn insert(&mut self, ranges: &[(Key, Range)]) {
        for (key, range) in ranges {
            let held = segment(&mut self.image, *key);
            if held.is_some_and(|held| range.first <= held.possible && range.last() >= held.first) {
                self.index.insert(*key, *range);
            }
        }
    }

    /// Makes sure that what is called certain can be read, as far as the index knows.
    fn vouch(&mut self, dir: &Path) {
        for (log, image) in &mut self.image.logs {
            for (segment, held) in &mut image.segments {
                let key = (*log, *segment);
                self.index.truncate(key, held.possible);
                let missing = self.index.first_missing(key, held.first, held.certain);
                let Some(missing) = missing else { continue };
                self.damage.push(Damage {
                    file: dir.to_owned(),
                    offset: 0,
                    bytes: 0,
                    problem: format!(
                        "no file holds entry {missing} of segment {segment} of log {log}, which ends at {}",
                        held.certain
                    ),
                    loss: Loss::Entries,
                });
                held.certain = Lsn(missing.0 - 1);
            }
        }
    }
}

/// Walks a finished file for where its entries lie.
fn ranges_of(
    file: &JournalFile,
    next_seq: Option<u64>,
) -> Result<(Side, Vec<Damage>), JournalError> {
    let mut damage = Vec::new();
    let mut ranges = Vec::new();
    let end = walk(file, next_seq, &mut |item| {
        let (at, header, payload) = match item {
            Item::Batch(batch) => (batch.at, batch.header, batch.payload),
            Item::Damaged(bad) => {
                damage.push(describe(file, &bad, Loss::Entries));
                match bad.readable {
                    Some((header, payload)) => (bad.at, header, payload),
                    None => return Ok(()),
                }
            }
        };
        let mut here = Ranges::new(at, file.header.file_seq);
        for found in Records::of(&header, file.seed, payload) {
            let Ok(Found::Record(record)) = found else {
                continue;
            };
            match record {
                Stored::Node(NodeRecord::Append {
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
                } => here.add((log, segment), entry.lsn),
                Stored::Node(_) | Stored::Image { .. } => {}
            }
        }
        here.finish(&mut ranges);
        Ok(())
    })?;
    let side = Side {
        file_seq: file.header.file_seq,
        next_seq: end.next_seq,
        damaged: !damage.is_empty(),
        ranges,
    };
    Ok((side, damage))
}

pub(crate) fn describe(file: &JournalFile, bad: &Bad, loss: Loss) -> Damage {
    Damage {
        file: file.path.clone(),
        offset: bad.at,
        bytes: bad.until - bad.at,
        problem: match bad.first_seq == bad.last_seq {
            true => format!("{} (batch {})", bad.problem, bad.first_seq),
            false => format!(
                "{} (batches {} to {})",
                bad.problem, bad.first_seq, bad.last_seq
            ),
        },
        loss,
    }
}

/// The records of a batch, one after the other, as far as they can be told apart.
pub(crate) struct Records {
    seed: u32,
    left: Bytes,
    count: u32,
}

impl Records {
    pub(crate) fn of(header: &BatchHeader, file_seed: u32, payload: Bytes) -> Self {
        Self {
            seed: header.record_seed(file_seed),
            left: payload,
            count: header.records,
        }
    }
}

impl Iterator for Records {
    type Item = Result<Found, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        match codec::take(&self.left, self.seed) {
            Ok((found, len)) => {
                drop(self.left.split_to(len));
                Some(Ok(found))
            }
            Err(problem) => {
                self.count = 0;
                Some(Err(problem))
            }
        }
    }
}

/// A lost batch whose control records the next one repeats, if it had any.
struct Wanted {
    seq: u64,
    /// Nothing else was lost with it.
    alone: bool,
    /// The place of its damage in the list.
    damage: usize,
    /// How many records were lost at most.
    records: u64,
}

/// The state of the node as the newest file tells it.
struct Rebuild<'a> {
    file: &'a JournalFile,
    image: NodeImage,
    ranges: Vec<(Key, Range)>,
    damage: Vec<Damage>,
    logs: BTreeSet<ChannelId>,
    /// Records were lost: those that come later may not follow from those before.
    lost: bool,
    /// The intact batch before, if it had control records.
    control: Option<u64>,
    repeat_wanted: Option<Wanted>,
    /// Segments that may have had entries in what was lost, and the last entry that they had for sure.
    suspects: BTreeMap<Key, Lsn>,
}

impl<'a> Rebuild<'a> {
    fn new(file: &'a JournalFile) -> Self {
        Self {
            file,
            image: NodeImage::default(),
            ranges: Vec::new(),
            damage: Vec::new(),
            logs: BTreeSet::new(),
            lost: false,
            control: None,
            repeat_wanted: None,
            suspects: BTreeMap::new(),
        }
    }

    fn take(&mut self, item: Item) -> Result<(), JournalError> {
        match item {
            Item::Batch(batch) => self.batch(batch),
            Item::Damaged(bad) => self.damaged(bad),
        }
    }

    fn checkpoint_is_whole(&self) -> Result<(), JournalError> {
        match self.logs.len() == self.file.header.logs as usize {
            true => Ok(()),
            false => Err(corrupt(
                &self.file.path,
                crate::format::DATA_AT,
                "parts of its checkpoint are damaged in both copies",
            )),
        }
    }

    fn batch(&mut self, batch: Batch) -> Result<(), JournalError> {
        let Batch {
            at,
            header,
            payload,
        } = batch;
        let wanted = self.repeat_wanted.take();
        let mut opened_in = None;
        let control = self.control.take();
        match header.kind {
            Kind::Checkpoint => {}
            Kind::Records => self.checkpoint_is_whole()?,
            Kind::Repeat => {
                let Some(wanted) = wanted.filter(|w| w.seq + 1 == header.seq) else {
                    debug_assert!(control.is_some_and(|of| of + 1 == header.seq));
                    return Ok(());
                };
                if wanted.alone {
                    self.damage[wanted.damage].loss = Loss::Entries;
                }
                opened_in = Some(wanted.records);
            }
            // It ends a walk, and is never handed on.
            Kind::Mark => return Ok(()),
        }
        if header.control {
            self.control = Some(header.seq);
        }
        let wrong = |problem: &str| corrupt(&self.file.path, at, problem);
        let records: Vec<_> = Records::of(&header, self.file.seed, payload).collect();
        let mut here = Ranges::new(at, self.file.header.file_seq);
        for found in records {
            match found.map_err(wrong)? {
                Found::Record(record) => {
                    self.record(at, &record, &mut here)?;
                    if let (
                        Some(lost),
                        Stored::Node(NodeRecord::SegmentOpen { log, segment, .. }),
                    ) = (opened_in, &record)
                    {
                        self.suspect(lost, |key| key == (*log, *segment));
                    }
                }
                Found::DamagedEntry { .. } => {
                    return Err(corrupt(
                        &self.file.path,
                        at,
                        "an entry was written that is not what its writer made",
                    ));
                }
            }
        }
        here.finish(&mut self.ranges);
        Ok(())
    }

    fn record(&mut self, at: u64, record: &Stored, here: &mut Ranges) -> Result<(), JournalError> {
        let fits = match record {
            Stored::Image { log, image } => {
                self.logs.insert(*log);
                self.image.logs.insert(*log, image.clone());
                Ok(())
            }
            Stored::Moved {
                log,
                segment,
                entry,
                ..
            } => {
                here.add((*log, *segment), entry.lsn);
                Ok(())
            }
            Stored::Node(record) => match record {
                NodeRecord::Append {
                    log,
                    segment,
                    entry,
                    ..
                } => {
                    here.add((*log, *segment), entry.lsn);
                    self.append((*log, *segment), entry.lsn, record)
                }
                NodeRecord::Promise { .. }
                | NodeRecord::SegmentOpen { .. }
                | NodeRecord::Finish { .. }
                | NodeRecord::Trim { .. } => self.image.apply(record).map_err(|e| e.to_string()),
            },
        };
        match fits {
            // What does not follow does so because something before it was lost, and that has been said.
            Err(_) if self.lost => Ok(()),
            Err(problem) => Err(corrupt(&self.file.path, at, problem)),
            Ok(()) => Ok(()),
        }
    }

    fn append(&mut self, key: Key, lsn: Lsn, record: &NodeRecord) -> Result<(), String> {
        let gap = segment(&mut self.image, key).is_some_and(|held| lsn > held.certain.next());
        if !(gap && self.lost) {
            self.image.apply(record).map_err(|e| e.to_string())?;
        }
        let Some(held) = segment(&mut self.image, key) else {
            return Ok(());
        };
        // The writer had all before this entry, so there was nothing beyond it in what was lost.
        let proven = self.suspects.remove(&key);
        held.possible = match proven {
            Some(proven) => proven.max(lsn),
            None => held.possible.max(lsn),
        };
        Ok(())
    }

    fn damaged(&mut self, bad: Bad) -> Result<(), JournalError> {
        let was_control = self.control.take();
        self.repeat_wanted = None;
        if bad.last_seq <= self.file.header.checkpoint_last {
            self.damage.push(describe(self.file, &bad, Loss::Nothing));
            return Ok(());
        }
        self.checkpoint_is_whole()?;
        let single = bad.first_seq == bad.last_seq;
        if single && was_control.is_some() {
            // A batch that only says again what the one before it has said.
            self.damage.push(describe(self.file, &bad, Loss::Nothing));
            return Ok(());
        }
        self.lost = true;
        let loss = match bad.control {
            Some(false) => Loss::Entries,
            Some(true) | None => Loss::Control,
        };
        self.damage.push(describe(self.file, &bad, loss));
        let mut left = bad.records_max;
        if loss == Loss::Control {
            self.repeat_wanted = Some(Wanted {
                seq: bad.last_seq,
                alone: single,
                damage: self.damage.len() - 1,
                records: left,
            });
        } else if let Some((header, payload)) = bad.readable {
            left -= self.salvage(bad.at, &header, payload)?;
        }
        if left > 0 {
            self.suspect(left, |_| true);
        }
        Ok(())
    }

    /// Takes what is intact in a damaged batch, and says how many of its records are accounted for.
    fn salvage(
        &mut self,
        at: u64,
        header: &BatchHeader,
        payload: Bytes,
    ) -> Result<u64, JournalError> {
        let mut here = Ranges::new(at, self.file.header.file_seq);
        let mut seen = 0;
        for found in Records::of(header, self.file.seed, payload) {
            match found {
                Ok(Found::Record(record)) => self.record(at, &record, &mut here)?,
                Ok(Found::DamagedEntry {
                    log,
                    segment: of,
                    lsn,
                }) => {
                    if let Some(held) = segment(&mut self.image, (log, of)) {
                        held.possible = held.possible.max(lsn);
                    }
                }
                Err(_) => break,
            }
            seen += 1;
        }
        here.finish(&mut self.ranges);
        Ok(seen)
    }

    /// Up to `records` were lost, and any of these segments that is not complete may have had them.
    fn suspect(&mut self, records: u64, which: impl Fn(Key) -> bool) {
        for (log, image) in &mut self.image.logs {
            for (segment, held) in &mut image.segments {
                let complete = held.end.is_some_and(|end| held.certain >= end);
                if complete || !which((*log, *segment)) {
                    continue;
                }
                self.suspects
                    .entry((*log, *segment))
                    .or_insert(held.possible);
                let most = Lsn(held.possible.0.saturating_add(records).min(u64::MAX / 2));
                held.possible = held.end.map_or(most, |end| most.min(end)).max(held.certain);
            }
        }
    }
}

fn segment(image: &mut NodeImage, (log, segment): Key) -> Option<&mut SegmentImage> {
    image.logs.get_mut(&log)?.segments.get_mut(&segment)
}
