//! Everything that is seen to happen, in one number, in words when asked for, and against the invariants of the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use holdfast_qlog::{
    Copies, Entry, NodeRecord, StorageId,
    invariants::{Ledger, Violation, bounded},
    messages::{Answer, Owner, Reply},
    meta::{LogView, Phase},
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn};
use holdfast_wal::{AppendError, WalEntry};
use parking_lot::{Mutex, MutexGuard};

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Things seen.
    pub events: u64,
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Appends whose outcome is unknown.
    pub unknown: u64,
    /// Appends that were refused for good.
    pub rejected: u64,
    /// Entries that readers were given.
    pub read: u64,
    /// Times that a log was opened.
    pub opened: u64,
    /// Segments that ended by a roll.
    pub rolled: u64,
    /// Hosts that crashed.
    pub crashes: u64,
    /// Disks that lost something.
    pub losses: u64,
    /// Faults of all kinds.
    pub faults: u64,
}

/// The witness of a run. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

struct Seen {
    ledger: Ledger,
    violation: Option<Violation>,
    /// FNV-1a over all lines.
    hash: u64,
    trace: Option<Vec<String>>,
    now: Duration,
    counts: Counts,
    logs: BTreeMap<ChannelId, LogSeen>,
    serials: u64,
    /// The faults are over: nobody provokes anything any more.
    calm: bool,
    /// Disks whose word does not count.
    condemned: BTreeSet<StorageId>,
}

#[derive(Default)]
struct LogSeen {
    /// What any disk was given, by segment.
    given: BTreeMap<LogSegment, BTreeMap<Lsn, Entry>>,
    /// Every segment that the metadata ever named.
    segments: BTreeMap<LogSegment, (Epoch, Copies)>,
    view: LogView,
    /// Everything committed, from LSN 1 on.
    committed: Vec<Entry>,
    positions: BTreeMap<u64, Lsn>,
    rejected: BTreeSet<u64>,
    acknowledged: Lsn,
    /// When an append was last acknowledged.
    heard: Duration,
    /// What may be trimmed.
    trimmable: Lsn,
    calm_acknowledged: u64,
    /// How far a reader came since the faults were over.
    calm_read: Lsn,
}

/// The number that a record carries; nothing else in it is looked at.
fn serial_of(payload: &[u8]) -> u64 {
    let head = payload.get(..8).and_then(|head| head.try_into().ok());
    head.map_or(0, u64::from_le_bytes)
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Watch {
    pub(crate) fn new(traced: bool) -> Self {
        Self(Arc::new(Mutex::new(Seen {
            ledger: Ledger::default(),
            violation: None,
            hash: 0xcbf2_9ce4_8422_2325,
            trace: traced.then(Vec::new),
            now: Duration::ZERO,
            counts: Counts::default(),
            logs: BTreeMap::new(),
            serials: 0,
            calm: false,
            condemned: BTreeSet::new(),
        })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock()
    }

    /// The simulation has come this far.
    pub(crate) fn at(&self, now: Duration) {
        self.seen().now = now;
    }

    /// Something happened.
    pub(crate) fn note(&self, line: fmt::Arguments<'_>) {
        self.seen().note(line);
    }

    pub(crate) fn count(&self, what: impl FnOnce(&mut Counts)) {
        what(&mut self.seen().counts);
    }

    /// Something happened that must not; the first one counts.
    pub(crate) fn violated(&self, number: u8, log: ChannelId, problem: String) {
        self.seen().held(Err(Violation {
            number,
            log,
            problem,
        }));
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.seen().violation.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.seen().counts
    }

    pub(crate) fn hash(&self) -> u64 {
        self.seen().hash
    }

    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.seen().trace.take().unwrap_or_default()
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.seen().calm
    }

    pub(crate) fn start_calm(&self) {
        self.seen().calm = true;
    }

    /// A number that no record carries yet.
    pub(crate) fn serial(&self) -> u64 {
        let seen = &mut *self.seen();
        seen.serials += 1;
        seen.serials
    }

    /// How long no append to `log` was acknowledged.
    pub(crate) fn silence(&self, log: ChannelId) -> Duration {
        let seen = &mut *self.seen();
        let heard = seen.logs.entry(log).or_default().heard;
        seen.now.saturating_sub(heard)
    }

    pub(crate) fn acknowledged(&self, log: ChannelId) -> Lsn {
        self.seen().logs.entry(log).or_default().acknowledged
    }

    /// A journal is given records.
    pub(crate) fn given(&self, node: &str, records: &[NodeRecord]) {
        let seen = &mut *self.seen();
        for record in records {
            if let NodeRecord::Append {
                log,
                segment,
                entry,
                ..
            } = record
            {
                let given = seen.logs.entry(*log).or_default();
                let entries = given.given.entry(*segment).or_default();
                entries.insert(entry.lsn, entry.clone());
            }
            seen.note(format_args!("{node} writes {}", brief(record)));
        }
    }

    /// A disk has these entries, synced.
    pub(crate) fn durable<'a>(
        &self,
        disk: StorageId,
        entries: impl IntoIterator<Item = (ChannelId, LogSegment, &'a Entry)>,
    ) {
        let seen = &mut *self.seen();
        for (log, segment, entry) in entries {
            seen.ledger.durable(log, segment, disk, entry);
        }
    }

    /// A node gives this answer.
    pub(crate) fn answered(&self, node: &str, reply: &Reply) {
        let seen = &mut *self.seen();
        seen.note(format_args!("{node}: {}", brief_answer(&reply.answer)));
        if !seen.condemned.contains(&reply.storage) {
            let held = seen.ledger.answered(reply.storage, &reply.answer);
            seen.held(held);
        }
    }

    /// This disk is known to have lost something.
    pub(crate) fn condemn(&self, disk: StorageId) {
        self.seen().condemned.insert(disk);
    }

    /// Bytes that wait for a disk.
    pub(crate) fn waiting(&self, bytes: u64, most: u64) {
        let held = bounded(ChannelId(0), "bytes that wait for a disk", bytes, most);
        self.seen().held(held);
    }

    /// Appends of a writer that are not decided.
    pub(crate) fn undecided(&self, log: ChannelId, records: usize, most: usize) {
        let held = bounded(log, "records under way", records as u64, most as u64);
        self.seen().held(held);
    }

    /// The metadata of a log is this now.
    pub(crate) fn metadata(&self, log: ChannelId, view: LogView) {
        let seen = &mut *self.seen();
        if let (Some(head), Some((segment, last))) = (&view.head, view.last()) {
            let (epoch, phase) = (head.epoch, head.phase);
            let first = last.first;
            seen.note(format_args!(
                "log {log}: epoch {epoch} {phase:?}, segment {segment} from {first}"
            ));
        }
        let held = seen.ledger.metadata(log, &view);
        seen.held(held);
        let through = seen.ledger.committed_through(log);
        let state = seen.logs.entry(log).or_default();
        for (segment, descriptor) in &view.segments {
            let value = (descriptor.epoch, descriptor.copies.clone());
            state.segments.insert(*segment, value);
            if let Some(end) = descriptor.end() {
                let lsns = descriptor.first.0..=end.min(through).0;
                let entries: Vec<Entry> = lsns
                    .filter_map(|lsn| state.given.get(segment)?.get(&Lsn(lsn)).cloned())
                    .collect();
                let held = state.commit(log, &entries);
                if let Err(violation) = held {
                    seen.held(Err(violation));
                    return;
                }
            }
        }
        let before = &state.view;
        let rolled = match (&before.head, &view.head) {
            (Some(was), Some(is)) => was.epoch == is.epoch && was.segment < is.segment,
            _ => false,
        };
        let epoch = |view: &LogView| view.head.as_ref().map_or(Epoch(0), |head| head.epoch);
        if epoch(before) < epoch(&view) {
            // Somebody takes the log over, and is given time.
            state.heard = seen.now;
        }
        let first = view.segments.values().next().map(|d| d.first);
        let lost = first.filter(|first| *first > state.trimmable.next());
        state.view = view;
        seen.counts.rolled += u64::from(rolled && seen.violation.is_none());
        if let Some(first) = lost {
            let problem = format!("the log begins at {first}, more than was allowed is trimmed");
            seen.held(Err(Violation {
                number: 9,
                log,
                problem,
            }));
        }
    }

    /// A log was opened, and its last entry is `last`.
    pub(crate) fn opened(&self, log: ChannelId, epoch: Epoch, last: Lsn) {
        let seen = &mut *self.seen();
        seen.note(format_args!("log {log}: opened by {epoch} after {last}"));
        seen.counts.opened += 1;
        let now = seen.now;
        let state = seen.logs.entry(log).or_default();
        // Who takes over is given time.
        state.heard = now;
        let acknowledged = state.acknowledged;
        if last < acknowledged {
            let problem = format!("opened after {last}, and {acknowledged} was acknowledged");
            seen.held(Err(Violation {
                number: 1,
                log,
                problem,
            }));
        }
    }

    /// An append of `serial` by the writer of `epoch` came to this end.
    pub(crate) fn decided(
        &self,
        log: ChannelId,
        (epoch, owner): (Epoch, &Owner),
        serial: u64,
        fate: &Result<Lsn, AppendError>,
    ) {
        let seen = &mut *self.seen();
        match fate {
            Ok(lsn) => {
                seen.note(format_args!("log {log}: {serial} is at {lsn}, by {epoch}"));
                seen.counts.acknowledged += 1;
                let held = seen.acknowledge(log, (epoch, owner), serial, *lsn);
                seen.held(held);
            }
            Err(AppendError::Unknown(_)) => {
                seen.note(format_args!("log {log}: {serial} is unknown"));
                seen.counts.unknown += 1;
            }
            Err(error) => {
                seen.note(format_args!("log {log}: {serial} is rejected: {error}"));
                seen.counts.rejected += 1;
                let state = seen.logs.entry(log).or_default();
                state.rejected.insert(serial);
                if let Some(lsn) = state.positions.get(&serial) {
                    let problem = format!("{serial} was rejected and is at {lsn}");
                    seen.held(Err(Violation {
                        number: 2,
                        log,
                        problem,
                    }));
                }
            }
        }
    }

    /// A reader that expects `next` was given this.
    pub(crate) fn delivered(&self, log: ChannelId, next: Lsn, given: &WalEntry) {
        let seen = &mut *self.seen();
        seen.counts.read += 1;
        let (lsn, epoch) = (given.lsn, given.epoch);
        seen.note(format_args!("log {log}: {lsn} of {epoch} is read"));
        let held = seen.deliver(log, next, given);
        seen.held(held);
    }

    /// A reader has seen everything up to here, from the first entry on.
    pub(crate) fn read_through(&self, log: ChannelId, lsn: Lsn) {
        let seen = &mut *self.seen();
        if seen.calm {
            let state = seen.logs.entry(log).or_default();
            state.calm_read = state.calm_read.max(lsn);
        }
    }

    /// Entries up to `upto` are needed no more.
    pub(crate) fn trimmable(&self, log: ChannelId, upto: Lsn) {
        let seen = &mut *self.seen();
        seen.note(format_args!("log {log}: not needed through {upto}"));
        let state = seen.logs.entry(log).or_default();
        state.trimmable = state.trimmable.max(upto);
    }

    /// Whether every log is open, acknowledges, and can be read as far as it was acknowledged when it did.
    pub(crate) fn is_live(&self, logs: &[ChannelId], acknowledgements: u64) -> bool {
        let seen = &mut *self.seen();
        logs.iter().all(|log| {
            let state = seen.logs.entry(*log).or_default();
            let open = state.view.head.as_ref();
            open.is_some_and(|head| head.phase == Phase::Open)
                && state.calm_acknowledged >= acknowledgements
                && state.calm_read.0 + 50 >= state.acknowledged.0
                && state.calm_read > Lsn(0)
        })
    }

    /// Why not.
    pub(crate) fn stuck(&self, logs: &[ChannelId]) -> String {
        let seen = &mut *self.seen();
        logs.iter().fold(String::new(), |text, log| {
            let state = seen.logs.entry(*log).or_default();
            let last = state.view.last();
            format!(
                "{text} log {log}: {} acknowledged since, through {}; read through {}; head {:?}, last {last:?};",
                state.calm_acknowledged, state.acknowledged, state.calm_read, state.view.head
            )
        })
    }

    /// Checks what is left of every segment that ended: enough intact copies, as `holds` tells what each disk has.
    pub(crate) fn copies_left(
        &self,
        holds: impl Fn(ChannelId, LogSegment, StorageId) -> Lsn,
        lost: usize,
    ) {
        let seen = &mut *self.seen();
        let mut problem = None;
        for (log, state) in &seen.logs {
            for (segment, descriptor) in &state.view.segments {
                let Some(end) = descriptor.end().filter(|end| *end >= descriptor.first) else {
                    continue;
                };
                let copies = &descriptor.copies;
                let intact = copies.holders.iter();
                let intact = intact
                    .filter(|h| holds(*log, *segment, h.storage) >= end)
                    .count();
                if intact + lost < copies.quorum {
                    problem = Some((*log, format!("segment {segment} has {intact} copies left")));
                }
            }
        }
        if let Some((log, problem)) = problem {
            seen.held(Err(Violation {
                number: 10,
                log,
                problem,
            }));
        }
    }
}

impl Seen {
    fn note(&mut self, line: fmt::Arguments<'_>) {
        let now = match crate::clock::now() {
            Duration::ZERO => self.now,
            now => now,
        };
        let line = format!("{:>9.3} {line}", now.as_secs_f64() * 1_000.0);
        self.counts.events += 1;
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if let Some(trace) = &mut self.trace {
            trace.push(line);
        }
    }

    fn held(&mut self, held: Result<(), Violation>) {
        if let Err(violation) = held {
            self.note(format_args!("VIOLATED: {violation}"));
            self.violation.get_or_insert(violation);
        }
    }

    fn acknowledge(
        &mut self,
        log: ChannelId,
        writer: (Epoch, &Owner),
        serial: u64,
        lsn: Lsn,
    ) -> Result<(), Violation> {
        let state = self.logs.entry(log).or_default();
        let mine = state
            .segments
            .iter()
            .filter(|(_, (epoch, _))| *epoch == writer.0);
        let segments: Vec<(LogSegment, Copies)> = mine
            .map(|(segment, (_, copies))| (*segment, copies.clone()))
            .collect();
        let from = Lsn(state.committed.len() as u64 + 1);
        let mut entries = BTreeMap::new();
        for (segment, _) in &segments {
            if let Some(given) = state.given.get(segment) {
                let new = given.range(from..).map(|(lsn, e)| (*lsn, e.clone()));
                entries.extend(new);
            }
        }
        self.ledger
            .committed(log, writer, lsn, &entries, &segments)?;
        let committed: Vec<Entry> = entries.range(..=lsn).map(|(_, e)| e.clone()).collect();
        state.commit(log, &committed)?;
        let at = usize::try_from(lsn.0.saturating_sub(1)).unwrap_or(usize::MAX);
        let found = state.committed.get(at).map(|e| serial_of(&e.payload));
        if found != Some(serial) {
            return Err(Violation {
                number: 1,
                log,
                problem: format!("{serial} is acknowledged at {lsn}, where {found:?} is"),
            });
        }
        state.acknowledged = state.acknowledged.max(lsn);
        state.heard = self.now;
        state.calm_acknowledged += u64::from(self.calm);
        Ok(())
    }

    fn deliver(&self, log: ChannelId, next: Lsn, given: &WalEntry) -> Result<(), Violation> {
        let broken = |number, problem| {
            Err(Violation {
                number,
                log,
                problem,
            })
        };
        let lsn = given.lsn;
        if lsn != next {
            return broken(3, format!("a reader at {next} was given {lsn}"));
        }
        let at = usize::try_from(lsn.0.saturating_sub(1)).unwrap_or(usize::MAX);
        let state = self.logs.get(&log);
        let Some(entry) = state.and_then(|s| s.committed.get(at)) else {
            return broken(6, format!("{lsn} is shown to a reader and not committed"));
        };
        if entry.payload != given.payload {
            return broken(14, format!("a reader saw another {lsn}"));
        }
        self.ledger.delivered(log, std::slice::from_ref(entry))
    }
}

impl LogSeen {
    /// Takes entries in that are committed; those known already are skipped.
    fn commit(&mut self, log: ChannelId, entries: &[Entry]) -> Result<(), Violation> {
        for entry in entries {
            if entry.lsn.0 != self.committed.len() as u64 + 1 {
                continue;
            }
            let serial = serial_of(&entry.payload);
            if let Some(first) = self.positions.insert(serial, entry.lsn) {
                return Err(Violation {
                    number: 2,
                    log,
                    problem: format!("{serial} is at {first} and at {}", entry.lsn),
                });
            }
            if self.rejected.contains(&serial) {
                return Err(Violation {
                    number: 2,
                    log,
                    problem: format!("{serial} was rejected and is at {}", entry.lsn),
                });
            }
            self.committed.push(entry.clone());
        }
        Ok(())
    }
}

fn brief_answer(answer: &Answer) -> String {
    match answer {
        Answer::Entries(read) => format!(
            "log {}: {} entries of segment {}, {} committed, end {:?}",
            read.log,
            read.entries.len(),
            read.segment,
            read.committed,
            read.end
        ),
        other => format!("{other:?}"),
    }
}

fn brief(record: &NodeRecord) -> String {
    match record {
        NodeRecord::Promise { log, epoch } => format!("log {log}: a promise to {epoch}"),
        NodeRecord::SegmentOpen { log, segment, open } => {
            format!("log {log}: segment {segment} of {}", open.epoch)
        }
        NodeRecord::Append {
            log,
            segment,
            epoch,
            committed,
            entry,
        } => format!(
            "log {log}: {segment}/{} by {epoch}, {committed} committed, {:08x}",
            entry.lsn, entry.checksum
        ),
        NodeRecord::Finish { log, segment, end } => {
            format!("log {log}: the end {end} of segment {segment}")
        }
        NodeRecord::Trim { log, segment } => format!("log {log}: segment {segment} is trimmed"),
    }
}
