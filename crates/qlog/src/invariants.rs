//! What must hold at every moment, as predicates over facts: written once, checked by the simulation after every step and
//! by whoever taps a running cluster.
//!
//! | no. | invariant                                                                                        | where |
//! |-----|--------------------------------------------------------------------------------------------------|-------|
//! | 1   | acknowledged: in every later log, at the same LSN, with the same bytes                           | [`Ledger::metadata`], [`Ledger::committed`], [`Ledger::delivered`] |
//! | 2   | at most one value is ever committed at an LSN; a request is in the log once                      | [`Ledger::committed`], [`Ledger::metadata`] |
//! | 3   | LSNs have no gaps; ends never move; a segment begins after the end of the one before             | [`Ledger::metadata`] |
//! | 4   | a promise never goes back; nothing below it is acknowledged                                      | [`Ledger::answered`] |
//! | 5   | committed is durable on enough copies in enough zones; so is a recovered end before it is final  | [`Ledger::committed`], [`Ledger::metadata`] |
//! | 6   | readers see only what is committed                                                               | [`Ledger::delivered`] |
//! | 7   | one writer an epoch; nothing is acknowledged beyond where a higher epoch begins                  | [`Ledger::committed`] |
//! | 8   | ticks rise along the log; after an announced tick none at or below it follows                    | [`Ledger::committed`], [`Ledger::metadata`] |
//! | 9   | what is trimmed is not needed; object storage has what the log had                               | [`Ledger::metadata`], [`Ledger::uploaded`] |
//! | 10  | after a quiet time every entry has all its copies, or is in object storage                       | [`Ledger::redundancy`] |
//! | 11  | every log opens again and acknowledges                                                           | the driver's liveness phase |
//! | 12  | queues are bounded                                                                               | [`bounded`] |
//! | 13  | no panic; nothing is deleted because it is damaged                                               | the driver; [`Ledger::metadata`] |
//! | 14  | readers at one position have seen the same                                                       | [`Ledger::delivered`] |

use std::collections::BTreeMap;

use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use crate::{
    copies::{Copies, StorageId},
    entry::{Entry, RequestId},
    messages::{Answer, Owner},
    meta::{LogView, SegmentState},
};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number}, log {log}: {problem}")]
pub struct Violation {
    /// Its number.
    pub number: u8,
    /// The log.
    pub log: ChannelId,
    /// What was seen.
    pub problem: String,
}

type Held<T = ()> = Result<T, Violation>;

fn broken<T>(number: u8, log: ChannelId, problem: impl Into<String>) -> Held<T> {
    Err(Violation {
        number,
        log,
        problem: problem.into(),
    })
}

/// What is known of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    checksum: u32,
    tick: Timestamp,
    request: Option<RequestId>,
}

impl From<&Entry> for Value {
    fn from(entry: &Entry) -> Self {
        Self {
            checksum: entry.checksum,
            tick: entry.tick,
            request: entry.request,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct LogFacts {
    /// All that is committed, from LSN 1 on.
    entries: Vec<Value>,
    requests: BTreeMap<RequestId, Lsn>,
    /// By epoch.
    writers: BTreeMap<Epoch, Owner>,
    /// Every segment that the metadata ever named: epoch, first, end, copies.
    chain: BTreeMap<LogSegment, (Epoch, Lsn, Option<Lsn>)>,
    epoch: Epoch,
    announced: Timestamp,
    acknowledged: Lsn,
}

/// All that ever happened, as far as it matters for what may happen.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    logs: BTreeMap<ChannelId, LogFacts>,
    /// What each disk ever had, durably: by segment, from its first entry on.
    disks: BTreeMap<(ChannelId, LogSegment, StorageId), (Lsn, Vec<Value>)>,
    promises: BTreeMap<(ChannelId, StorageId), Epoch>,
}

impl LogFacts {
    fn committed(&self) -> Lsn {
        Lsn(self.entries.len() as u64)
    }

    /// Takes in that `value` is committed at `lsn`.
    fn commit(&mut self, log: ChannelId, lsn: Lsn, value: Value) -> Held {
        let at = usize::try_from(lsn.0 - 1).unwrap_or(usize::MAX);
        if let Some(known) = self.entries.get(at) {
            if *known != value {
                return broken(2, log, format!("{lsn} is {value:?} and was {known:?}"));
            }
            return Ok(());
        }
        if at != self.entries.len() {
            return broken(3, log, format!("{lsn} follows {}", self.committed()));
        }
        if let Some(before) = self.entries.last()
            && value.tick <= before.tick
        {
            let (tick, last) = (value.tick, before.tick);
            return broken(8, log, format!("tick {tick} of {lsn} follows {last}"));
        }
        if value.tick <= self.announced {
            let (tick, announced) = (value.tick, self.announced);
            return broken(
                8,
                log,
                format!("tick {tick} of {lsn} after {announced} was announced"),
            );
        }
        if let Some(request) = value.request
            && let Some(first) = self.requests.insert(request, lsn)
        {
            return broken(2, log, format!("{request:?} is at {first} and at {lsn}"));
        }
        self.entries.push(value);
        Ok(())
    }
}

impl Ledger {
    /// A disk has this entry, synced.
    pub fn durable(&mut self, log: ChannelId, segment: LogSegment, disk: StorageId, entry: &Entry) {
        let (first, values) = self
            .disks
            .entry((log, segment, disk))
            .or_insert_with(|| (entry.lsn, Vec::new()));
        let at = usize::try_from(entry.lsn.0.saturating_sub(first.0)).unwrap_or(usize::MAX);
        if at < values.len() {
            values[at] = entry.into();
        } else {
            values.push(entry.into());
        }
    }

    fn value_on(
        &self,
        log: ChannelId,
        segment: LogSegment,
        disk: StorageId,
        lsn: Lsn,
    ) -> Option<Value> {
        let (first, values) = self.disks.get(&(log, segment, disk))?;
        values
            .get(usize::try_from(lsn.0.checked_sub(first.0)?).ok()?)
            .copied()
    }

    /// Whether enough of these holders ever had this entry of this segment on disk.
    fn is_on_enough(&self, log: ChannelId, segment: LogSegment, copies: &Copies, lsn: Lsn) -> bool {
        copies.suffice((0..copies.holders.len()).filter(|&i| {
            self.value_on(log, segment, copies.holders[i].storage, lsn)
                .is_some()
        }))
    }

    /// A node sent this answer.
    ///
    /// # Errors
    /// [`Violation`] of 4.
    pub fn answered(&mut self, disk: StorageId, answer: &Answer) -> Held {
        match answer {
            Answer::Sealed(logs) => {
                for at in logs {
                    let promise = self.promises.entry((at.log, disk)).or_default();
                    if at.promise < *promise {
                        let (now, was) = (at.promise, *promise);
                        return broken(4, at.log, format!("{disk} promises {now} after {was}"));
                    }
                    *promise = at.promise;
                }
            }
            Answer::Durable { log, epoch, .. } => {
                let promise = self.promises.get(&(*log, disk)).copied();
                if let Some(promise) = promise.filter(|p| p > epoch) {
                    return broken(
                        4,
                        *log,
                        format!("{disk} serves epoch {epoch} after its promise to {promise}"),
                    );
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A writer says that the log is committed through `upto`. `entries` are those it gave out that are not committed yet,
    /// `segments` those that it writes: it may be that the metadata names the second one already.
    ///
    /// # Errors
    /// [`Violation`] of 2, 3, 5, 7 or 8.
    pub fn committed(
        &mut self,
        log: ChannelId,
        (epoch, owner): (Epoch, &Owner),
        upto: Lsn,
        entries: &BTreeMap<Lsn, Entry>,
        segments: &[(LogSegment, Copies)],
    ) -> Held {
        let facts = self.logs.entry(log).or_default();
        let known = facts.writers.entry(epoch).or_insert_with(|| owner.clone());
        if known != owner {
            return broken(
                7,
                log,
                format!("{owner} and {known} both write epoch {epoch}"),
            );
        }
        let next = facts.chain.values().find(|(e, ..)| *e > epoch);
        if let Some((higher, first, _)) = next.filter(|(_, first, _)| upto >= *first) {
            return broken(
                7,
                log,
                format!("epoch {epoch} commits {upto}; epoch {higher} begins at {first}"),
            );
        }
        let from = facts.committed().next();
        let mut on_disk = Vec::new();
        for lsn in (from.0..=upto.0).map(Lsn) {
            let Some(entry) = entries.get(&lsn) else {
                return broken(
                    3,
                    log,
                    format!("{lsn} is committed and was never given out"),
                );
            };
            facts.commit(log, lsn, entry.into())?;
            on_disk.push(lsn);
        }
        for lsn in entries.keys().filter(|l| **l <= upto) {
            let value = Value::from(&entries[lsn]);
            facts.commit(log, *lsn, value)?;
        }
        let named = |s: &&(LogSegment, Copies)| {
            self.logs
                .get(&log)
                .is_some_and(|f| f.chain.contains_key(&s.0))
        };
        // The metadata's newest of the writer's segments is where a recoverer would look.
        let Some((segment, copies)) = segments.iter().filter(named).max_by_key(|s| s.0) else {
            return broken(3, log, format!("epoch {epoch} commits outside the log"));
        };
        for lsn in on_disk {
            let first = self.logs[&log].chain[segment].1;
            if lsn >= first && !self.is_on_enough(log, *segment, copies, lsn) {
                return broken(
                    5,
                    log,
                    format!("{lsn} is committed without enough copies in segment {segment}"),
                );
            }
        }
        Ok(())
    }

    /// A client was told that its request is at `lsn`.
    ///
    /// # Errors
    /// [`Violation`] of 1.
    pub fn acknowledged(
        &mut self,
        log: ChannelId,
        request: RequestId,
        lsn: Lsn,
        tick: Timestamp,
    ) -> Held {
        let facts = self.logs.entry(log).or_default();
        let at = usize::try_from(lsn.0.saturating_sub(1)).unwrap_or(usize::MAX);
        let fits = facts
            .entries
            .get(at)
            .is_some_and(|v| v.request == Some(request) && v.tick == tick);
        if !fits {
            return broken(
                1,
                log,
                format!("{request:?} is acknowledged at {lsn}, tick {tick}, and is not there"),
            );
        }
        facts.acknowledged = facts.acknowledged.max(lsn);
        Ok(())
    }

    /// The last acknowledged entry: what a strong read that begins now must see.
    #[must_use]
    pub fn acknowledged_through(&self, log: ChannelId) -> Lsn {
        self.logs.get(&log).map_or(Lsn(0), |f| f.acknowledged)
    }

    /// All that is committed.
    #[must_use]
    pub fn committed_through(&self, log: ChannelId) -> Lsn {
        self.logs.get(&log).map_or(Lsn(0), LogFacts::committed)
    }

    /// Every request up to this entry, and where it is: what whoever has applied the log knows.
    #[must_use]
    pub fn requests_through(
        &self,
        log: ChannelId,
        through: Lsn,
    ) -> Vec<(RequestId, Lsn, Timestamp)> {
        let facts = self.logs.get(&log);
        let entries = facts.map_or(&[][..], |f| &f.entries);
        (1..=through.0)
            .zip(entries)
            .filter_map(|(lsn, v)| Some((v.request?, Lsn(lsn), v.tick)))
            .collect()
    }

    /// A request was rejected for good.
    ///
    /// # Errors
    /// [`Violation`] of 2: it is in the log.
    pub fn absent(&self, log: ChannelId, request: RequestId) -> Held {
        let at = self.logs.get(&log).and_then(|f| f.requests.get(&request));
        match at {
            None => Ok(()),
            Some(lsn) => broken(2, log, format!("{request:?} was rejected and is at {lsn}")),
        }
    }

    /// A strong read that began when `acknowledged` was acknowledged was told to read up to `committed`.
    ///
    /// # Errors
    /// [`Violation`] of 7.
    pub fn confirmed(&self, log: ChannelId, acknowledged: Lsn, committed: Lsn) -> Held {
        if committed < acknowledged {
            return broken(
                7,
                log,
                format!("a strong read sees {committed}, and {acknowledged} was acknowledged"),
            );
        }
        Ok(())
    }

    /// A writer announced that nothing at or below `tick` will follow.
    pub fn announced(&mut self, log: ChannelId, tick: Timestamp) {
        let facts = self.logs.entry(log).or_default();
        facts.announced = facts.announced.max(tick);
    }

    /// The metadata of a log is this now.
    ///
    /// # Errors
    /// [`Violation`] of 1, 2, 3, 5, 8 or 13.
    pub fn metadata(&mut self, log: ChannelId, view: &LogView) -> Held {
        let facts = self.logs.entry(log).or_default();
        let Some(head) = &view.head else {
            if facts.epoch > Epoch(0) {
                return broken(13, log, "the head is gone");
            }
            return Ok(());
        };
        if head.epoch < facts.epoch {
            let was = facts.epoch;
            return broken(3, log, format!("epoch {} after {was}", head.epoch));
        }
        facts.epoch = head.epoch;
        let mut before: Option<(LogSegment, Option<Lsn>)> = None;
        let mut ended = Vec::new();
        for (segment, descriptor) in &view.segments {
            let end = descriptor.end();
            if let Some((last, ended)) = before
                && ended.map(Lsn::next) != Some(descriptor.first)
            {
                return broken(
                    3,
                    log,
                    format!(
                        "segment {segment} begins at {}, {last} ends at {ended:?}",
                        descriptor.first
                    ),
                );
            }
            before = Some((*segment, end));
            let known = facts.chain.get(segment).copied();
            if let Some((_, first, Some(was))) = known
                && (first != descriptor.first || end != Some(was))
            {
                return broken(
                    3,
                    log,
                    format!("the end of {segment} was {was}, is {end:?}"),
                );
            }
            if end.is_some() && known.is_none_or(|(.., was)| was.is_none()) {
                ended.push(*segment);
            }
            facts
                .chain
                .insert(*segment, (descriptor.epoch, descriptor.first, end));
        }
        if before.is_some_and(|(last, end)| last == head.segment && end.is_some()) {
            return broken(
                3,
                log,
                format!("the last segment {} has ended", head.segment),
            );
        }
        for segment in ended {
            self.ended(log, segment, view)?;
        }
        Ok(())
    }

    /// A segment's end was just decided.
    fn ended(&mut self, log: ChannelId, segment: LogSegment, view: &LogView) -> Held {
        let facts = &self.logs[&log];
        let descriptor = &view.segments[&segment];
        let (first, end) = (descriptor.first, descriptor.end().unwrap_or(Lsn(0)));
        let committed = facts.committed();
        if committed > end {
            // Only a roll may end a segment before what is committed: the rest is in the next one as well.
            let next = view.segments.range(segment.next()..).next();
            let rolled = next.filter(|(_, d)| d.epoch == descriptor.epoch);
            let lost = (end.0 + 1..=committed.0).map(Lsn).find(|lsn| {
                !rolled.is_some_and(|(next, d)| self.is_on_enough(log, *next, &d.copies, *lsn))
            });
            if let Some(lost) = lost {
                return broken(
                    1,
                    log,
                    format!("{lost} is committed; segment {segment} ends at {end}"),
                );
            }
            return Ok(());
        }
        if end >= first && !self.is_on_enough(log, segment, &descriptor.copies, end) {
            return broken(
                5,
                log,
                format!("segment {segment} ends at {end} without enough copies"),
            );
        }
        // What was found is committed now, whoever wrote it.
        let from = committed.next().max(first);
        for lsn in (from.0..=end.0).map(Lsn) {
            let values: Vec<Value> = descriptor
                .copies
                .holders
                .iter()
                .filter_map(|h| self.value_on(log, segment, h.storage, lsn))
                .collect();
            let Some(value) = values.first().copied() else {
                return broken(1, log, format!("{lsn} is on no copy of {segment}"));
            };
            if values.iter().any(|v| *v != value) {
                return broken(2, log, format!("copies of {segment} differ at {lsn}"));
            }
            let facts = self.logs.entry(log).or_default();
            facts.commit(log, lsn, value)?;
        }
        Ok(())
    }

    /// A reader was given these entries.
    ///
    /// # Errors
    /// [`Violation`] of 1, 6 or 14.
    pub fn delivered(&self, log: ChannelId, entries: &[Entry]) -> Held {
        let known = self.logs.get(&log);
        for entry in entries {
            let lsn = entry.lsn;
            let at = usize::try_from(lsn.0 - 1).unwrap_or(usize::MAX);
            match known.and_then(|f| f.entries.get(at)) {
                None => {
                    return broken(
                        6,
                        log,
                        format!("{lsn} is shown to a reader and not committed"),
                    );
                }
                Some(value) if *value != Value::from(entry) => {
                    return broken(
                        14,
                        log,
                        format!("a reader saw another {lsn} than {value:?}"),
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Object storage was given these entries as a segment of `first..=end`.
    ///
    /// # Errors
    /// [`Violation`] of 9 or 14.
    pub fn uploaded(&self, log: ChannelId, first: Lsn, end: Lsn, entries: &[Entry]) -> Held {
        let dense = entries.iter().map(|e| e.lsn.0).eq(first.0..=end.0);
        if !dense {
            return broken(9, log, format!("an upload of {first} to {end} has gaps"));
        }
        self.delivered(log, entries)
    }

    /// After a quiet time: `holds` says what a disk holds now, without damage. Every segment that ended is in object
    /// storage, or all its copies are there.
    ///
    /// # Errors
    /// [`Violation`] of 10.
    pub fn redundancy(
        &self,
        log: ChannelId,
        view: &LogView,
        holds: impl Fn(LogSegment, StorageId) -> Lsn,
    ) -> Held {
        for (segment, descriptor) in &view.segments {
            let SegmentState::Sealed { end } = descriptor.state else {
                continue;
            };
            let lacking = descriptor
                .copies
                .holders
                .iter()
                .find(|h| end >= descriptor.first && holds(*segment, h.storage) < end);
            if let Some(holder) = lacking {
                return broken(
                    10,
                    log,
                    format!(
                        "{} lacks entries of segment {segment} through {end}",
                        holder.node
                    ),
                );
            }
        }
        Ok(())
    }
}

/// Whether a queue is within its bound.
///
/// # Errors
/// [`Violation`] of 12.
pub fn bounded(log: ChannelId, what: &str, is: u64, most: u64) -> Held {
    if is > most {
        return broken(
            12,
            log,
            format!("{what} are {is}, at most {most} are allowed"),
        );
    }
    Ok(())
}
