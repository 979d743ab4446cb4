//! Follows a log through its chain of segments, and never shows an entry that is not committed.
//!
//! From a segment that goes on it asks for what the node knows to be committed. From one that ended it takes every
//! entry up to the end that the metadata names, from any copy: within a segment all copies are prefixes of one sequence.

use std::{sync::Arc, time::Duration};

use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::{
    entry::Entry,
    fold::SegmentList,
    messages::{Answer, Ask, ClusterId, Entries, Owner, Read, Reply, Request, Visibility},
    meta::{LogView, ManifestRef, SegmentDescriptor, SegmentState},
    rules::{Rule, kept},
};

/// A reader's names and bounds.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// The cluster.
    pub cluster: ClusterId,
    /// The log.
    pub log: ChannelId,
    /// This process.
    pub owner: Owner,
    /// The zone whose copy is asked first.
    pub zone: Option<crate::copies::Zone>,
    /// About the most bytes of one answer.
    pub bytes_max: usize,
    /// Time after which another copy is asked.
    pub resend_after: Duration,
    /// Time between questions at the end of the log.
    pub poll_every: Duration,
}

/// What happens to a reader.
#[derive(Clone, Debug)]
pub enum ReaderEvent {
    /// What the metadata says, as asked for.
    View(LogView),
    /// A log-node answers.
    Reply {
        /// Its name.
        from: Arc<str>,
        /// What.
        reply: Reply,
    },
    /// Somebody knows that there is more: a reader that waits at the end asks at once.
    More,
    /// Entries from object storage, as asked for; they were checked against the manifest.
    Stored(Vec<Entry>),
    /// The list of segments without keys, as asked for; it was checked against the manifest.
    Listed(ManifestRef, SegmentList),
    /// Time passed.
    Tick,
}

/// What a reader wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReaderAction {
    /// Send to a log-node.
    Send {
        /// Its name.
        to: Arc<str>,
        /// What.
        request: Request,
    },
    /// Read the log's metadata.
    ReadView,
    /// Read entries of a segment from object storage.
    ReadStored {
        /// The objects.
        manifest: ManifestRef,
        /// The first entry.
        from: Lsn,
        /// The last.
        through: Lsn,
    },
    /// Read the list of segments that have no keys of their own.
    ReadList(ManifestRef),
    /// The next entries: committed, in order, without gaps.
    Deliver {
        /// The segment they are in.
        segment: LogSegment,
        /// Its descriptor.
        descriptor: SegmentDescriptor,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// The next entry is gone: trimmed. Ends the reader.
    Trimmed {
        /// The first entry that is left, if there is one.
        first: Option<Lsn>,
    },
}

/// After so many answers without anything new, the metadata and another copy are asked.
const LOOK_EVERY: u32 = 4;

/// Follows one log.
#[derive(Clone, Debug)]
pub struct Reader {
    options: ReaderOptions,
    next: Lsn,
    view: Option<LogView>,
    /// The segments without keys, and the object that says so.
    list: Option<(ManifestRef, SegmentList)>,
    asked: Option<Duration>,
    /// Which copy is asked: counts up when one does not answer, or lacks the entry.
    turn: usize,
    /// Answers in a row without anything new.
    idle: u32,
    idle_until: Duration,
}

impl Reader {
    /// A reader whose first entry is the one at `next`.
    #[must_use]
    pub fn new(options: ReaderOptions, next: Lsn) -> Self {
        Self {
            options,
            next: next.max(Lsn(1)),
            view: None,
            list: None,
            asked: None,
            turn: 0,
            idle: 0,
            idle_until: Duration::ZERO,
        }
    }

    /// The next entry to be delivered.
    #[must_use]
    pub fn next(&self) -> Lsn {
        self.next
    }

    /// Takes an event and says what to do.
    pub fn step(&mut self, event: ReaderEvent, now: Duration) -> Vec<ReaderAction> {
        match event {
            ReaderEvent::View(view) => {
                self.view = Some(view);
                self.asked = None;
                self.ask(now)
            }
            ReaderEvent::Reply { reply, .. } => self.answered(reply, now),
            ReaderEvent::Stored(entries) => {
                let mut actions = self.deliver(entries, Lsn(u64::MAX));
                self.asked = None;
                actions.extend(self.ask(now));
                actions
            }
            ReaderEvent::Listed(manifest, list) => {
                self.list = Some((manifest, list));
                self.asked = None;
                self.ask(now)
            }
            ReaderEvent::More => match self.asked {
                Some(_) => Vec::new(),
                None => self.ask(now),
            },
            ReaderEvent::Tick => match self.asked {
                Some(asked) if now.saturating_sub(asked) < self.options.resend_after => Vec::new(),
                Some(_) => {
                    self.turn += 1;
                    // It may be the metadata that is behind: every full round looks there first.
                    if self.turn.is_multiple_of(4) {
                        self.view = None;
                    }
                    self.ask(now)
                }
                None if now >= self.idle_until => self.ask(now),
                None => Vec::new(),
            },
        }
    }

    /// When to step with [`ReaderEvent::Tick`] next.
    #[must_use]
    pub fn wake_at(&self) -> Duration {
        match self.asked {
            Some(asked) => asked + self.options.resend_after,
            None => self.idle_until,
        }
    }

    fn ask(&mut self, now: Duration) -> Vec<ReaderAction> {
        self.asked = Some(now);
        let Some(view) = &self.view else {
            return vec![ReaderAction::ReadView];
        };
        let list = match &view.folded {
            None => None,
            Some(folded) => match &self.list {
                Some((manifest, list)) if *manifest == folded.manifest => Some(list),
                _ if self.next <= folded.end => {
                    return vec![ReaderAction::ReadList(folded.manifest.clone())];
                }
                _ => None,
            },
        };
        let Some((segment, descriptor)) = self.segment() else {
            let listed = list.and_then(|list| list.segments.values().next());
            let first = listed.or_else(|| view.segments.values().next());
            let first = first.map(|d| d.first);
            let before = first.is_some_and(|first| self.next < first);
            self.view = None;
            self.asked = None;
            if before {
                return vec![ReaderAction::Trimmed { first }];
            }
            // The log's next segment is not there yet.
            self.idle_until = now + self.options.poll_every;
            return Vec::new();
        };
        if let SegmentState::Tiered { end, manifest } = &descriptor.state {
            return vec![ReaderAction::ReadStored {
                manifest: manifest.clone(),
                from: self.next,
                through: *end,
            }];
        }
        let holders = &descriptor.copies.holders;
        let near = holders
            .iter()
            .position(|h| Some(&h.zone) == self.options.zone.as_ref())
            .unwrap_or(0);
        let Some(holder) = holders.get((near + self.turn) % holders.len().max(1)) else {
            return Vec::new();
        };
        let visibility = match descriptor.state {
            SegmentState::Open => Visibility::Committed,
            _ => Visibility::Durable,
        };
        vec![ReaderAction::Send {
            to: holder.node.clone(),
            request: Request {
                cluster: self.options.cluster,
                storage: Some(holder.storage),
                sender: self.options.owner.clone(),
                ask: Ask::Read(Read {
                    log: self.options.log,
                    segment,
                    from: self.next,
                    visibility,
                    bytes_max: self.options.bytes_max,
                }),
            },
        }]
    }

    /// The segment of the next entry, by what is known.
    fn segment(&self) -> Option<(LogSegment, &SegmentDescriptor)> {
        let view = self.view.as_ref()?;
        let listed = || {
            let (manifest, list) = self.list.as_ref()?;
            let current = view.folded.as_ref().map(|folded| &folded.manifest);
            let listed = list.segment_of(self.next);
            listed.filter(|_| current == Some(manifest))
        };
        view.segment_of(self.next).or_else(listed)
    }

    fn answered(&mut self, reply: Reply, now: Duration) -> Vec<ReaderAction> {
        let Some((segment, descriptor)) = self.segment() else {
            return Vec::new();
        };
        match reply.answer {
            Answer::Entries(Entries {
                log,
                segment: from,
                entries,
                committed,
                end,
            }) if log == self.options.log && from == segment => {
                // A late answer from the time when the segment went on is held to what was committed then.
                let known = descriptor.end();
                let through = if kept(Rule::ReadersWaitForCommit) {
                    known.unwrap_or(committed.min(end.unwrap_or(committed)))
                } else {
                    Lsn(u64::MAX)
                };
                let before = self.next;
                let actions = self.deliver(entries, through);
                self.asked = None;
                if self.next == before {
                    self.idle += 1;
                    if known.is_some() {
                        self.turn += 1;
                    } else if end.is_some() {
                        // It ended: the metadata knows what follows.
                        self.view = None;
                    } else if self.idle.is_multiple_of(LOOK_EVERY) {
                        // It may have ended, or gone on, without this copy being told.
                        self.turn += 1;
                        self.view = None;
                    }
                    self.idle_until = now + self.options.poll_every;
                    return actions;
                }
                self.idle = 0;
                let mut actions = actions;
                actions.extend(self.ask(now));
                actions
            }
            Answer::Rejected { log, .. } if log == self.options.log => {
                self.turn += 1;
                self.view = None;
                self.asked = None;
                self.idle_until = now + self.options.poll_every;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// The part of `entries` that is next and not beyond `through`. A damaged entry ends it: another copy is asked.
    fn deliver(&mut self, entries: Vec<Entry>, through: Lsn) -> Vec<ReaderAction> {
        let Some((segment, descriptor)) = self.segment() else {
            return Vec::new();
        };
        let through = through.min(descriptor.end().unwrap_or(through));
        let mut delivered = Vec::new();
        let mut next = self.next;
        for entry in entries {
            if entry.lsn < next {
                continue;
            }
            if entry.lsn != next || entry.lsn > through || !entry.is_intact(self.options.log) {
                break;
            }
            next = next.next();
            delivered.push(entry);
        }
        if delivered.is_empty() {
            return Vec::new();
        }
        let descriptor = descriptor.clone();
        self.next = next;
        vec![ReaderAction::Deliver {
            segment,
            descriptor,
            entries: delivered,
        }]
    }
}
