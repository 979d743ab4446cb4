//! What was appended to one log and what became of it, and whether what readers see agrees with that. Pure.

use std::{collections::BTreeMap, fmt};

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_types::{ChannelId, Epoch, Lsn};
use holdfast_wal::WalEntry;

/// Bytes before the filling of a payload: log, serial, length.
const HEADER: usize = 16;
/// Violations that are kept with their text; more are only counted.
const TEXTS_MAX: usize = 50;

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody knows yet.
    UnderWay,
    /// It is durable at this position.
    Acked(Lsn),
    /// It is certainly not in the log.
    Rejected,
    /// It may be in the log.
    Unknown,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An acknowledged record is not there.
    Lost,
    /// A record is there twice.
    Duplicated,
    /// A record is elsewhere than was said, or readers disagree.
    Reordered,
    /// A record is there that was refused, or that nobody appended.
    Phantom,
    /// A record's bytes are not those that were appended.
    Damaged,
    /// A log does not go on although it could.
    Stalled,
    /// A process ended that nobody ended, or said that it panicked.
    Crashed,
}

impl Violation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Lost,
        Self::Duplicated,
        Self::Reordered,
        Self::Phantom,
        Self::Damaged,
        Self::Stalled,
        Self::Crashed,
    ];
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Phantom => "phantom",
            Self::Damaged => "damaged",
            Self::Stalled => "stalled",
            Self::Crashed => "crashed",
        })
    }
}

/// Violations: all counted, the first ones with their text.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    /// How many of each.
    pub counts: BTreeMap<Violation, u64>,
    /// The first ones in words.
    pub texts: Vec<String>,
}

impl Violations {
    /// One more.
    pub fn add(&mut self, violation: Violation, text: &str) {
        *self.counts.entry(violation).or_default() += 1;
        if self.texts.len() < TEXTS_MAX {
            self.texts.push(format!("{violation}: {text}"));
        }
    }

    /// Those of another as well.
    pub fn extend(&mut self, other: Self) {
        for (violation, count) in other.counts {
            *self.counts.entry(violation).or_default() += count;
        }
        self.texts.extend(other.texts);
    }

    /// How many of a kind.
    #[must_use]
    pub fn count(&self, violation: Violation) -> u64 {
        self.counts.get(&violation).copied().unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    epoch: Epoch,
    fate: Fate,
}

/// Appends by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Durable.
    pub acked: u64,
    /// Certainly not there.
    pub rejected: u64,
    /// Perhaps there.
    pub unknown: u64,
}

/// All that is known of one log.
#[derive(Debug)]
pub struct History {
    log: ChannelId,
    /// By serial.
    attempts: Vec<Attempt>,
    /// What readers were given.
    seen: BTreeMap<Lsn, (u64, Epoch)>,
    /// Where each serial was seen.
    places: BTreeMap<u64, Lsn>,
    /// The highest acknowledged position of each epoch.
    acked: BTreeMap<Epoch, Lsn>,
    /// What went wrong.
    pub violations: Violations,
}

impl History {
    /// Of a log without records.
    #[must_use]
    pub fn new(log: ChannelId) -> Self {
        Self {
            log,
            attempts: Vec::new(),
            seen: BTreeMap::new(),
            places: BTreeMap::new(),
            acked: BTreeMap::new(),
            violations: Violations::default(),
        }
    }

    /// An append is about to begin. Returns its serial number and its payload.
    pub fn begin(&mut self, epoch: Epoch, bytes: usize) -> (u64, Bytes) {
        let serial = self.attempts.len() as u64;
        let fate = Fate::UnderWay;
        self.attempts.push(Attempt { epoch, fate });
        (serial, payload(self.log, serial, bytes))
    }

    /// An append's outcome.
    pub fn decide(&mut self, serial: u64, expected: Lsn, fate: Fate) {
        let attempt = &mut self.attempts[serial as usize];
        attempt.fate = fate;
        let epoch = attempt.epoch;
        let Fate::Acked(lsn) = fate else {
            return;
        };
        let highest = self.acked.entry(epoch).or_default();
        *highest = lsn.max(*highest);
        if lsn != expected {
            let text = format!(
                "log {}: append {serial} was promised {expected} and got {lsn}",
                self.log
            );
            self.violations.add(Violation::Reordered, &text);
        }
        let elsewhere = self.seen.get(&lsn).filter(|(found, _)| *found != serial);
        if let Some((found, _)) = elsewhere {
            let text = format!(
                "log {}: append {serial} was acknowledged at {lsn}, where a reader had seen {found}",
                self.log
            );
            self.violations.add(Violation::Lost, &text);
        }
    }

    /// A writer was opened behind `last`: all that lower epochs had acknowledged by then must lie before it.
    pub fn opened(&mut self, epoch: Epoch, last: Lsn) {
        let lower = self.acked.range(..epoch).map(|(_, lsn)| *lsn).max();
        if let Some(acked) = lower.filter(|acked| *acked > last) {
            let text = format!(
                "log {}: epoch {epoch} begins behind {last}, but {acked} was acknowledged",
                self.log
            );
            self.violations.add(Violation::Lost, &text);
        }
    }

    /// A reader was given an entry where it expected `next`. Returns what comes next.
    pub fn delivered(&mut self, reader: &str, next: Lsn, entry: &WalEntry) -> Lsn {
        let WalEntry { lsn, epoch, .. } = *entry;
        let at = format!("log {}, {reader}, {lsn}", self.log);
        if lsn != next {
            let text = format!("{at}: {next} was to come");
            self.violations.add(Violation::Reordered, &text);
        }
        match parse(self.log, &entry.payload) {
            Ok(serial) => self.saw(&at, lsn, epoch, serial),
            Err(problem) => {
                let text = format!("{at}: {problem}");
                self.violations.add(Violation::Damaged, &text);
            }
        }
        lsn.next()
    }

    fn saw(&mut self, at: &str, lsn: Lsn, epoch: Epoch, serial: u64) {
        let Some(attempt) = self.attempts.get(serial as usize).copied() else {
            let text = format!("{at}: nobody appended {serial}");
            return self.violations.add(Violation::Phantom, &text);
        };
        if attempt.epoch != epoch {
            let text = format!(
                "{at}: append {serial} of epoch {} is said to be of {epoch}",
                attempt.epoch
            );
            self.violations.add(Violation::Reordered, &text);
        }
        match attempt.fate {
            Fate::Rejected => {
                let text = format!("{at}: append {serial} was refused");
                self.violations.add(Violation::Phantom, &text);
            }
            Fate::Acked(acked) if acked != lsn => {
                let text = format!("{at}: append {serial} was acknowledged at {acked}");
                self.violations.add(Violation::Reordered, &text);
            }
            Fate::Acked(_) | Fate::Unknown | Fate::UnderWay => {}
        }
        match self.seen.get(&lsn) {
            Some((other, _)) if *other != serial => {
                let text = format!("{at}: append {serial}, and earlier {other}");
                self.violations.add(Violation::Reordered, &text);
            }
            Some(_) => {}
            None => {
                self.seen.insert(lsn, (serial, epoch));
                if let Some(twice) = self.places.insert(serial, lsn) {
                    let text = format!("{at}: append {serial} is at {twice} as well");
                    self.violations.add(Violation::Duplicated, &text);
                }
            }
        }
    }

    /// The log was read to its end by a reader that came last: everything must be accounted for.
    pub fn finish(&mut self, last: Lsn) {
        let log = self.log;
        for (serial, attempt) in self.attempts.iter().enumerate() {
            let serial = serial as u64;
            match (attempt.fate, self.places.get(&serial)) {
                (Fate::Acked(lsn), place) if place != Some(&lsn) => {
                    let text = format!("log {log}: append {serial} was acknowledged at {lsn}");
                    self.violations.add(Violation::Lost, &text);
                }
                (Fate::Rejected, Some(lsn)) => {
                    let text = format!("log {log}: append {serial} was refused and is at {lsn}");
                    self.violations.add(Violation::Phantom, &text);
                }
                _ => {}
            }
        }
        let mut before: Option<(u64, Epoch)> = None;
        for (position, (lsn, (serial, epoch))) in self.seen.iter().enumerate() {
            if lsn.0 != position as u64 + 1 {
                let text = format!("log {log}: the record before {lsn} is missing");
                self.violations.add(Violation::Lost, &text);
                break;
            }
            let falls = before.is_some_and(|(s, e)| e > *epoch || e == *epoch && s >= *serial);
            if falls {
                let text =
                    format!("log {log}: {lsn} holds append {serial} of {epoch}, behind {before:?}");
                self.violations.add(Violation::Reordered, &text);
            }
            before = Some((*serial, *epoch));
        }
        let seen = self.seen.keys().next_back().copied().unwrap_or(Lsn(0));
        if seen != last {
            let text = format!("log {log}: it ends at {last}, and readers have seen {seen}");
            self.violations.add(Violation::Lost, &text);
        }
    }

    /// Appends by outcome. Those under way count as unknown.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for attempt in &self.attempts {
            match attempt.fate {
                Fate::Acked(_) => counts.acked += 1,
                Fate::Rejected => counts.rejected += 1,
                Fate::Unknown | Fate::UnderWay => counts.unknown += 1,
            }
        }
        counts
    }

    /// How many records readers have seen.
    #[must_use]
    pub fn records(&self) -> usize {
        self.seen.len()
    }
}

/// The bytes of an append: nothing in them is constant, so that any mix-up shows.
fn payload(log: ChannelId, serial: u64, bytes: usize) -> Bytes {
    let bytes = bytes.max(HEADER);
    let mut payload = BytesMut::with_capacity(bytes);
    payload.put_u32_le(log.0);
    payload.put_u64_le(serial);
    payload.put_u32_le(bytes as u32);
    let mut state = (serial << 20 ^ u64::from(log.0)) | 1;
    while payload.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let more = state.to_le_bytes();
        let room = bytes - payload.len();
        payload.put_slice(&more[..room.min(8)]);
    }
    payload.freeze()
}

/// The serial of a payload that is intact and of this log.
fn parse(log: ChannelId, found: &Bytes) -> Result<u64, String> {
    let Some(serial) = found.get(4..12).and_then(|b| b.try_into().ok()) else {
        return Err(format!("{} bytes are no record", found.len()));
    };
    let serial = u64::from_le_bytes(serial);
    if *found != payload(log, serial, found.len()) {
        return Err(format!("not the bytes of append {serial}"));
    }
    Ok(serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: ChannelId = ChannelId(7);

    fn entry(lsn: u64, epoch: u64, payload: &Bytes) -> WalEntry {
        WalEntry {
            lsn: Lsn(lsn),
            epoch: Epoch(epoch),
            payload: payload.clone(),
        }
    }

    /// Three appends of epoch 1: acknowledged at 1, refused, unknown.
    fn history() -> (History, [Bytes; 3]) {
        let mut history = History::new(LOG);
        let payloads = [300, 5_000, 16].map(|bytes| history.begin(Epoch(1), bytes).1);
        history.decide(0, Lsn(1), Fate::Acked(Lsn(1)));
        history.decide(1, Lsn(2), Fate::Rejected);
        history.decide(2, Lsn(2), Fate::Unknown);
        (history, payloads)
    }

    #[track_caller]
    fn check(read: &[(u64, u64, usize)], last: u64, expect: &[Violation]) {
        let (mut history, payloads) = history();
        let mut next = Lsn(1);
        for (lsn, epoch, which) in read {
            next = history.delivered("r", next, &entry(*lsn, *epoch, &payloads[*which]));
        }
        history.finish(Lsn(last));
        let found: Vec<Violation> = history.violations.counts.keys().copied().collect();
        assert_eq!(found, expect, "{:?}", history.violations.texts);
    }

    #[test]
    fn what_was_promised_passes() {
        check(&[(1, 1, 0)], 1, &[]);
        check(&[(1, 1, 0), (2, 1, 2)], 2, &[]);
    }

    #[test]
    fn what_must_not_be_is_found() {
        use Violation::{Duplicated, Lost, Phantom, Reordered};
        check(&[], 0, &[Lost]);
        check(&[(1, 1, 0)], 2, &[Lost]);
        check(&[(1, 1, 2)], 1, &[Lost]);
        check(&[(1, 1, 0), (2, 1, 1)], 2, &[Phantom]);
        let twice = [(1, 1, 0), (2, 1, 2), (3, 1, 2)];
        check(&twice, 3, &[Duplicated, Reordered]);
        check(&[(1, 2, 0)], 1, &[Reordered]);
        check(&[(1, 1, 2), (2, 1, 0)], 2, &[Lost, Reordered]);
    }

    #[test]
    fn damaged_and_invented_records_are_found() {
        let (mut history, payloads) = history();
        let mut damaged = payloads[0].to_vec();
        damaged[299] ^= 1;
        history.delivered("r", Lsn(1), &entry(1, 1, &damaged.into()));
        assert_eq!(history.violations.count(Violation::Damaged), 1);
        history.delivered("r", Lsn(2), &entry(2, 1, &payload(LOG, 9, 100)));
        assert_eq!(history.violations.count(Violation::Phantom), 1);
    }

    #[test]
    fn a_writer_that_begins_before_what_was_acknowledged_has_lost_it() {
        let (mut history, _) = history();
        history.opened(Epoch(2), Lsn(1));
        assert_eq!(history.violations.count(Violation::Lost), 0);
        history.opened(Epoch(2), Lsn(0));
        assert_eq!(history.violations.count(Violation::Lost), 1);
    }
}
