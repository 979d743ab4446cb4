//! A segment that is being written: what each of its holders has, and what enough of them have.

use std::time::Duration;

use holdfast_types::{LogSegment, Lsn};

use crate::{
    copies::Copies,
    rules::{Rule, kept},
};

/// One segment that a writer writes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) segment: LogSegment,
    pub(super) first: Lsn,
    pub(super) copies: Copies,
    pub(super) peers: Vec<Peer>,
    pub(super) since: Duration,
    pub(super) bytes: u64,
}

/// One holder, as the writer sees it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// It has answered for this segment.
    pub(super) opened: bool,
    /// All up to here is on its disk.
    pub(super) durable: Lsn,
    /// All up to here was sent, and not yet given up on.
    pub(super) sent: Lsn,
    /// What may be under way to it.
    pub(super) credits: u64,
    /// When it last made progress, or had nothing to do.
    pub(super) progress: Duration,
    /// When something was last sent to it.
    pub(super) sent_at: Duration,
    /// When it was asked to open the segment without any entries to take.
    pub(super) open_asked: Option<Duration>,
    /// When it was last heard of.
    pub(super) heard: Duration,
    /// It asked for a pause until then.
    pub(super) paused: Duration,
    /// It cannot be used for this segment any more.
    pub(super) out: bool,
    /// The highest beat in which it confirmed the epoch.
    pub(super) confirmed: u64,
}

impl Target {
    pub(super) fn new(segment: LogSegment, first: Lsn, copies: Copies, now: Duration) -> Self {
        let before = Lsn(first.0 - 1);
        let peer = Peer {
            opened: false,
            durable: before,
            sent: before,
            credits: u64::MAX,
            progress: now,
            sent_at: now,
            open_asked: None,
            heard: now,
            paused: Duration::ZERO,
            out: false,
            confirmed: 0,
        };
        Self {
            segment,
            first,
            peers: vec![peer; copies.holders.len()],
            copies,
            since: now,
            bytes: 0,
        }
    }

    fn suffice(&self, which: impl IntoIterator<Item = usize>) -> bool {
        let mut copies = self.copies.clone();
        if !kept(Rule::AckCopies) {
            (copies.quorum, copies.zones) = (1, 1);
        }
        if !kept(Rule::AckSpansZones) {
            copies.zones = 1;
        }
        copies.suffice(which)
    }

    /// The last entry that enough holders have on disk; `None` before enough of them have opened the segment.
    pub(super) fn committed(&self) -> Option<Lsn> {
        let mut ends: Vec<Lsn> = self
            .peers
            .iter()
            .filter(|p| p.opened)
            .map(|p| p.durable)
            .collect();
        ends.sort_unstable();
        ends.into_iter().rev().find(|end| {
            let at_least = |i: &usize| self.peers[*i].opened && self.peers[*i].durable >= *end;
            self.suffice((0..self.peers.len()).filter(at_least))
        })
    }

    /// Whether enough holders confirmed the epoch in this beat or a later one.
    pub(super) fn confirmed(&self, nonce: u64) -> bool {
        self.copies
            .suffice((0..self.peers.len()).filter(|&i| self.peers[i].confirmed >= nonce))
    }

    /// Whether enough holders are able to go on.
    pub(super) fn can_commit(&self, slow: impl Fn(&Peer) -> bool) -> bool {
        self.copies
            .suffice((0..self.peers.len()).filter(|&i| !self.peers[i].out && !slow(&self.peers[i])))
    }
}
