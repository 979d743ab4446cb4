//! The segment whose end is sought: who said what about it, and how far its copies have come.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use super::{Word, decide};
use crate::{
    copies::{Copies, CopyHolder, StorageId},
    heal::{Health, substitutes},
    messages::{Ask, Authority, Entries, Read, Repair, SealedAt, Visibility},
    meta::{Gone, NodeRegistration, SegmentDescriptor},
    place::CopyRule,
    record::SegmentOpen,
    rules::{Rule, kept},
};

#[derive(Clone, Debug)]
pub(super) struct Last {
    pub(super) segment: LogSegment,
    pub(super) descriptor: SegmentDescriptor,
    /// Those of the descriptor, by index.
    pub(super) words: Vec<Option<SealedAt>>,
    pub(super) end: Option<Lsn>,
    /// The holders that it is to have: those of the descriptor, or others in place of lost ones.
    pub(super) copies: Copies,
    /// How far disks have come under our promise.
    pub(super) lens: BTreeMap<StorageId, Lsn>,
    pub(super) last_tick: Option<Timestamp>,
    /// Which copy is read: counts up when one does not answer.
    pub(super) turn: usize,
    pub(super) reading: Option<Duration>,
    pub(super) repaired: BTreeMap<StorageId, Duration>,
    /// When each disk was last heard of.
    pub(super) heard: BTreeMap<StorageId, Duration>,
    /// Nodes that take the place of lost ones and have not answered yet, and since when.
    pub(super) trying: BTreeMap<StorageId, Duration>,
    /// Disks that take no entries any more.
    pub(super) refuses: Vec<StorageId>,
    /// Those that were tried in vain.
    pub(super) vain: Vec<StorageId>,
}

impl Last {
    /// A segment of which nobody has said anything yet.
    pub(super) fn new(segment: LogSegment, descriptor: SegmentDescriptor) -> Self {
        Self {
            segment,
            words: vec![None; descriptor.copies.holders.len()],
            end: None,
            copies: descriptor.copies.clone(),
            lens: BTreeMap::new(),
            last_tick: None,
            turn: 0,
            reading: None,
            repaired: BTreeMap::new(),
            heard: BTreeMap::new(),
            trying: BTreeMap::new(),
            refuses: Vec::new(),
            vain: Vec::new(),
            descriptor,
        }
    }

    pub(super) fn sealed(&mut self, from: &Arc<str>, storage: StorageId, at: SealedAt) {
        let holders = &self.descriptor.copies.holders;
        let Some(index) = holders.iter().position(|h| h.node == *from) else {
            return;
        };
        let meant = holders[index].storage;
        let trusted = storage == meant && at.authority == Authority::Authoritative;
        if !trusted && kept(Rule::StorageIdGuard) {
            return;
        }
        if at.promise != at.epoch && kept(Rule::StorageIdGuard) {
            return;
        }
        if self.words[index].is_none() {
            self.words[index] = Some(at);
        }
        let len = at.len_certain.max(self.descriptor.before());
        let known = self.lens.entry(meant).or_insert(len);
        *known = (*known).max(len);
    }

    /// A holder lost what it vouched for, before it was copied. Nothing was exposed, so the end is sought anew; the holder
    /// may say something else when it is asked again.
    pub(super) fn unsay(&mut self, from: &Arc<str>) {
        let holders = &self.descriptor.copies.holders;
        if let Some(index) = holders.iter().position(|h| h.node == *from) {
            self.unsay_at(index);
        }
    }

    /// Drops the word of holders that went away: the others may be able to decide without them.
    pub(super) fn unsay_silent(&mut self, patience: Duration, now: Duration) {
        for index in 0..self.words.len() {
            let storage = self.descriptor.copies.holders[index].storage;
            if self.words[index].is_some() && !self.is_heard(storage, patience, now) {
                self.unsay_at(index);
            }
        }
    }

    pub(super) fn is_heard(&self, storage: StorageId, patience: Duration, now: Duration) -> bool {
        let heard = self.heard.get(&storage);
        heard.is_some_and(|at| now.saturating_sub(*at) < patience)
    }

    pub(super) fn unsay_at(&mut self, index: usize) {
        let holders = &self.descriptor.copies.holders;
        self.words[index] = None;
        self.lens.remove(&holders[index].storage);
        self.end = None;
        self.last_tick = None;
    }

    /// Finds the end, once; or the disks whose word is missing.
    pub(super) fn decide(&mut self, gone: &[Gone]) -> Result<Lsn, Vec<StorageId>> {
        if let Some(end) = self.end {
            return Ok(end);
        }
        let before = self.descriptor.before();
        let holders = &self.descriptor.copies.holders;
        let words: Vec<Option<Word>> = self
            .words
            .iter()
            .zip(holders)
            .map(|(word, holder)| {
                let forfeited = gone
                    .iter()
                    .any(|g| g.forfeit && g.storage == holder.storage);
                // What it was given since it spoke counts as well.
                let len = self.lens.get(&holder.storage).copied();
                let len = len.unwrap_or(before).max(before);
                match word {
                    Some(at) => Some(Word {
                        certain: at.len_certain.max(len),
                        possible: at.len_possible.max(len),
                    }),
                    None if forfeited => Some(Word {
                        certain: before,
                        possible: before,
                    }),
                    None => None,
                }
            })
            .collect();
        match decide(&self.descriptor.copies, before, &words) {
            Ok(end) => {
                self.end = Some(end);
                // What lies beyond is not in the log.
                for len in self.lens.values_mut() {
                    *len = (*len).min(end);
                }
                Ok(end)
            }
            Err(undecided) => Err(undecided
                .missing
                .into_iter()
                .map(|i| holders[i].storage)
                .collect()),
        }
    }

    /// Whether the holders that remember all ticks they confirmed are too few to rule out one that is forgotten.
    pub(super) fn ticks_may_be_forgotten(&self) -> bool {
        let copies = &self.descriptor.copies;
        let unsure = (0..copies.holders.len())
            .filter(|&i| self.words[i].is_none_or(|word| word.restarted))
            .collect::<Vec<_>>();
        copies.suffice(unsure)
    }

    pub(super) fn tick_floor(&self) -> Timestamp {
        let confirmed = self.words.iter().flatten().map(|w| w.tick).max();
        let confirmed = confirmed
            .filter(|_| kept(Rule::SealReturnsTick))
            .unwrap_or(Timestamp::ZERO);
        self.descriptor
            .tick_floor
            .max(confirmed)
            .max(self.last_tick.unwrap_or(Timestamp::ZERO))
    }

    pub(super) fn has(&self, index: usize, lsn: Lsn) -> bool {
        let holder = &self.copies.holders[index];
        self.lens
            .get(&holder.storage)
            .is_some_and(|len| *len >= lsn)
    }

    /// Whether enough holders answer.
    pub(super) fn can_repair(&self, patience: Duration, now: Duration) -> bool {
        let answers = |i: &usize| {
            let storage = self.copies.holders[*i].storage;
            let end = self.end.unwrap_or(Lsn(0));
            self.has(*i, Lsn(0))
                && (self.has(*i, end) || !self.refuses.contains(&storage))
                && (self.trying.contains_key(&storage) || self.is_heard(storage, patience, now))
        };
        self.copies
            .suffice((0..self.copies.holders.len()).filter(answers))
    }

    /// Goes back to the segment's own holders when enough of them have everything: they came back.
    pub(super) fn prefer_own(&mut self) {
        let Some(end) = self.end else {
            return;
        };
        let own = &self.descriptor.copies;
        let has = |i: &usize| {
            let len = self.lens.get(&own.holders[*i].storage);
            len.is_some_and(|len| *len >= end)
        };
        if *own != self.copies && own.suffice((0..own.holders.len()).filter(has)) {
            self.copies = own.clone();
        }
    }

    /// Whether enough copies have everything, and the stamp of the last entry is known.
    pub(super) fn is_repaired(&self) -> bool {
        let Some(end) = self.end else {
            return false;
        };
        if end <= self.descriptor.before() {
            // Nothing was written that could be lost.
            return true;
        }
        let enough = self
            .copies
            .suffice((0..self.copies.holders.len()).filter(|&i| self.has(i, end)));
        self.last_tick.is_some() && (enough || !kept(Rule::RepairBeforeFinish))
    }

    /// Puts other nodes in the place of holders that do not answer. Whether there are any.
    pub(super) fn replace_lost(
        &mut self,
        log: ChannelId,
        nodes: &[NodeRegistration],
        gone: &[Gone],
        rule: CopyRule,
        (patience, now): (Duration, Duration),
    ) -> bool {
        let end = self.end.unwrap_or(Lsn(0));
        let answers = |storage| {
            let len = self.lens.get(&storage);
            len.is_some_and(|len| *len >= end || !self.refuses.contains(&storage))
                && self.is_heard(storage, patience, now)
        };
        let alive: Vec<CopyHolder> = self
            .copies
            .holders
            .iter()
            .filter(|h| answers(h.storage))
            .cloned()
            .collect();
        let lost: Vec<StorageId> = self
            .descriptor
            .copies
            .holders
            .iter()
            .map(|h| h.storage)
            .filter(|s| !answers(*s))
            .collect();
        let health = Health {
            nodes: nodes
                .iter()
                .filter(|n| {
                    ![&lost, &self.vain, &self.refuses]
                        .iter()
                        .any(|not| not.contains(&n.storage))
                })
                .cloned()
                .collect(),
            gone: gone.to_vec(),
            ..Health::default()
        };
        let Some(copies) = substitutes(log, &self.descriptor, &alive, &health, rule, now) else {
            // Those that were tried may be back.
            self.vain.clear();
            self.refuses.clear();
            return false;
        };
        self.copies = copies;
        let before = self.descriptor.before();
        for holder in &self.copies.holders {
            self.lens.entry(holder.storage).or_insert_with(|| {
                self.trying.insert(holder.storage, now);
                before
            });
        }
        true
    }

    pub(super) fn give_up_trying(&mut self, patience: Duration, now: Duration) {
        let late: Vec<StorageId> = self
            .trying
            .iter()
            .filter(|(_, since)| now.saturating_sub(**since) >= patience)
            .map(|(storage, _)| *storage)
            .collect();
        for storage in late {
            self.trying.remove(&storage);
            self.lens.remove(&storage);
            self.vain.push(storage);
        }
    }

    /// The next entries to be read: those that the shortest copy lacks, or the last one for its stamp.
    pub(super) fn next_read(
        &mut self,
        log: ChannelId,
        bytes_max: usize,
        now: Duration,
    ) -> Option<(CopyHolder, Ask)> {
        let end = self.end?;
        if self.reading.is_some() || end <= self.descriptor.before() {
            return None;
        }
        let holders = &self.copies.holders;
        let lacking = holders
            .iter()
            .filter(|h| !self.repaired.contains_key(&h.storage))
            .filter_map(|h| self.lens.get(&h.storage))
            .filter(|len| **len < end)
            .min();
        let from = match lacking {
            Some(len) => len.next(),
            None if self.last_tick.is_none() => end,
            None => return None,
        };
        let sources: Vec<&CopyHolder> = self
            .descriptor
            .copies
            .holders
            .iter()
            .filter(|h| self.lens.get(&h.storage).is_some_and(|len| *len >= from))
            .collect();
        let source = sources.get(self.turn % sources.len().max(1))?;
        self.reading = Some(now);
        let read = Read {
            log,
            segment: self.segment,
            from,
            visibility: Visibility::Durable,
            bytes_max,
        };
        Some(((*source).clone(), Ask::Read(read)))
    }

    /// Hands entries that were read on to the copies that lack them.
    pub(super) fn read(
        &mut self,
        log: ChannelId,
        epoch: Epoch,
        entries: Entries,
        now: Duration,
    ) -> Vec<(CopyHolder, Ask)> {
        let Some(end) = self.end else {
            return Vec::new();
        };
        let mut good = Vec::new();
        for entry in entries.entries {
            if entry.lsn > end || !entry.is_intact(log) {
                break;
            }
            if entry.lsn == end {
                self.last_tick = Some(entry.tick);
            }
            good.push(entry);
        }
        let (Some(first), Some(last)) = (good.first(), good.last()) else {
            self.turn += 1;
            return Vec::new();
        };
        let (first, last) = (first.lsn, last.lsn);
        let mut repairs = Vec::new();
        for holder in &self.copies.holders {
            let Some(len) = self.lens.get(&holder.storage).copied() else {
                continue;
            };
            let fits = len.next() >= first && len < last && len < end;
            if !fits || self.repaired.contains_key(&holder.storage) {
                continue;
            }
            self.repaired.insert(holder.storage, now);
            let repair = Repair {
                log,
                segment: self.segment,
                epoch,
                end: None,
                open: SegmentOpen {
                    epoch: self.descriptor.epoch,
                    first: self.descriptor.first,
                    copies: self.copies.clone(),
                },
                entries: good.iter().filter(|e| e.lsn > len).cloned().collect(),
            };
            repairs.push((holder.clone(), Ask::Repair(repair)));
        }
        repairs
    }
}
