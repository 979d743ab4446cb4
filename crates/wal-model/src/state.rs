//! What there is: the head and the chain of segments in the metadata, the nodes, the primaries, and what the
//! outside has seen.
//!
//! Messages need no place of their own. What a process once sent may arrive later, twice or never; that is the
//! same as the receiver acting on it later, acting on it again, or not at all. So an Append is under way as long
//! as the segment's writer has written the entry, an acknowledgement as long as the node has given it.

use std::hash::{Hash, Hasher};

use crate::scope::Scope;

/// Room for log-nodes.
pub const NODES: usize = 5;
/// Room for segments.
pub const SEGMENTS: usize = 5;
/// Room for primaries: the first writer and the recoverers.
pub const PRIMARIES: usize = 4;
/// Room for entries.
pub const LSNS: usize = 4;

/// A position in the log, from 1; 0 is before the first. Lengths are positions too: "holds all up to here".
pub type Lsn = u8;
/// A claim's number, from 1.
pub type Epoch = u8;
/// A stamp of a primary's clock.
pub type Tick = u8;
/// A client's append, from 1; 0 is none. Retries of an append have its number: it stands for `(client, seq)`.
pub type Append = u8;

/// The register that claims, rolls and finishes compare and set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head {
    /// The highest claim.
    pub epoch: Epoch,
    /// OPEN, or RECOVERING.
    pub is_open: bool,
    /// The last segment of the chain.
    pub segment: u8,
}

/// What the writer put at one position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Whose append it is.
    pub append: Append,
    /// Its stamp; 0 in scopes without ticks.
    pub tick: Tick,
}

/// A segment's descriptor, and what its one writer has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Segment {
    /// The epoch that opened it; 0 if it doesn't exist.
    pub epoch: Epoch,
    /// Its first position.
    pub first: Lsn,
    /// Its last position, once SEALED.
    pub last: Option<Lsn>,
    /// The stamp at which it was opened.
    pub tick: Tick,
    /// The last position that its writer has assigned.
    pub written: Lsn,
    /// The entries at `first..=written`, by position - 1.
    pub entries: [Entry; LSNS],
}

impl Segment {
    /// The entry at `lsn`.
    #[must_use]
    pub fn entry(&self, lsn: Lsn) -> Entry {
        self.entries[usize::from(lsn) - 1]
    }

    /// Whether `append` is at a position up to `end`.
    #[must_use]
    pub fn holds(&self, append: Append, end: Lsn) -> bool {
        (self.first..=end).any(|lsn| self.entry(lsn).append == append)
    }
}

/// One node's copy of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    /// The storage id that the segment's descriptor names for this node; 0 if the node is not in the node-set.
    pub named: u8,
    /// Accepted up to here, perhaps only in memory.
    pub len: Lsn,
    /// Durable up to here.
    pub durable: Lsn,
    /// The highest length that the node has acknowledged to the writer.
    pub acked: Lsn,
    /// The position of a record that can't be read; 0 if there is none.
    pub rot: Lsn,
    /// Restarted since the segment was opened.
    pub restarted: bool,
    /// Heard Finish.
    pub closed: bool,
}

impl Replica {
    /// All of it, and its place, in one number that is not 0.
    fn packed(&self, at: u8) -> u64 {
        u64::from_le_bytes([
            self.named,
            self.len,
            self.durable,
            self.acked,
            self.rot,
            u8::from(self.restarted),
            u8::from(self.closed),
            at + 1,
        ])
    }

    /// Everything up to here can be read.
    #[must_use]
    pub fn certain(&self) -> Lsn {
        if self.rot == 0 {
            self.durable
        } else {
            self.rot - 1
        }
    }

    /// Whether the entry at `lsn` can be read.
    #[must_use]
    pub fn can_read(&self, lsn: Lsn) -> bool {
        self.durable >= lsn && self.rot != lsn
    }
}

/// A node's authoritative answer to a Seal. Answers without authority count for nothing and are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SealReply {
    /// It arrived.
    pub heard: bool,
    /// The node swears that it holds all up to here. After a Repair was acknowledged, the repaired end.
    pub len_certain: Lsn,
    /// The node swears that it never held anything above.
    pub len_possible: Lsn,
    /// The highest tick it confirmed.
    pub tick: Tick,
    /// It restarted since the segment was opened, so `tick` may be too low.
    pub restarted: bool,
}

impl SealReply {
    /// All of it, and its place, in one number that is not 0.
    fn packed(&self, at: u8) -> u64 {
        u64::from_le_bytes([
            u8::from(self.heard),
            self.len_certain,
            self.len_possible,
            self.tick,
            u8::from(self.restarted),
            0,
            0,
            at + 1,
        ])
    }
}

/// A log-node, with what others have heard from it: all that belongs to a node lies here, so that nodes that
/// no rule can tell apart are sorted to make one state out of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Gone for good.
    pub is_lost: bool,
    /// The identity of its disk, from 1.
    pub storage: u8,
    /// The highest epoch promised.
    pub promise: Epoch,
    /// The promise that survives a restart.
    pub promise_durable: Epoch,
    /// The highest promise that anybody was told under this storage id.
    pub promise_told: Epoch,
    /// The highest tick confirmed in a Beat. In memory only.
    pub tick: Tick,
    /// Its copy of each segment.
    pub replicas: [Replica; SEGMENTS],
    /// What it has answered to each primary that recovers.
    pub replies: [SealReply; PRIMARIES],
    /// The primaries whose Beat under way it has confirmed, as bits.
    pub beats: u8,
}

impl Hash for Node {
    /// Skips what is empty, and writes few large numbers: hashing is most of the cost of an exploration.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from_le_bytes([
            u8::from(self.is_lost),
            self.storage,
            self.promise,
            self.promise_durable,
            self.promise_told,
            self.tick,
            self.beats,
            0,
        ]));
        for (at, replica) in (0_u8..).zip(&self.replicas) {
            if replica.named != 0 {
                hasher.write_u64(replica.packed(at));
            }
        }
        for (at, reply) in (0_u8..).zip(&self.replies) {
            if reply.heard {
                hasher.write_u64(!reply.packed(at));
            }
        }
    }
}

/// Where a primary stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Has not claimed.
    #[default]
    Idle,
    /// Has claimed; collects Seal replies.
    Sealing,
    /// Has decided on an end; copies the tail.
    Repairing {
        /// The end it will propose.
        end: Lsn,
    },
    /// Writes.
    Writing,
    /// Gone.
    Crashed,
}

/// A stream-node's part in one log: recoverer first, writer later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Primary {
    /// Its claim; 0 if it has none.
    pub epoch: Epoch,
    /// Where it stands.
    pub phase: Phase,
    /// The segment it recovers or writes.
    pub segment: u8,
    /// All up to here is committed, as far as it knows.
    pub committed: Lsn,
    /// The highest stamp it has given.
    pub stamp: Tick,
    /// The bare tick it wants confirmed; 0 if none.
    pub bare_tick: Tick,
}

/// What happened at some moment and must not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broken {
    /// A second value became committed at a position.
    pub two_values: bool,
    /// A sealed end moved.
    pub sealed_end_moved: bool,
    /// An acknowledgement by a lower epoch, of an entry that the higher epoch's finish did not keep.
    pub ack_after_finish: bool,
    /// A promise fell.
    pub promise_fell: bool,
    /// An entry was committed at or below an announced bare tick.
    pub tick_overtaken: bool,
}

/// What the outside knows, and what was done to the system. No rule reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Witness {
    /// The append that first became committed at each position: acknowledged, or below a final end.
    pub committed: [Append; LSNS],
    /// For each position acknowledged: the segment + 1 it was acknowledged in.
    pub acked_in: [u8; LSNS],
    /// The highest bare tick announced to readers.
    pub announced: Tick,
    /// Moments that broke a promise.
    pub broken: Broken,
    /// Appends that the client has sent at least once.
    pub sent: u8,
    /// Rolls done.
    pub rolls: u8,
    /// Bare ticks tried.
    pub bare_ticks: u8,
    /// Restarts done.
    pub restarts: u8,
    /// Losses done.
    pub losses: u8,
    /// The head's epoch at the last loss.
    pub loss_epoch: Epoch,
    /// How far the reader has read.
    pub reader: Lsn,
}

/// A state of the whole system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The register.
    pub head: Head,
    /// The chain.
    pub segments: [Segment; SEGMENTS],
    /// The log-nodes.
    pub nodes: [Node; NODES],
    /// The primaries, by order of their claims.
    pub primaries: [Primary; PRIMARIES],
    /// What the outside knows.
    pub witness: Witness,
}

impl Hash for State {
    /// Skips the places that a scope does not use.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.head.hash(hasher);
        self.witness.hash(hasher);
        for segment in self.segments.iter().filter(|s| s.epoch != 0) {
            segment.hash(hasher);
        }
        for node in self.nodes.iter().filter(|n| n.storage != 0) {
            node.hash(hasher);
        }
        for primary in self.primaries.iter().filter(|p| p.epoch != 0) {
            primary.hash(hasher);
        }
    }
}

impl State {
    /// One writer with epoch 1 and an empty segment on the first node-set.
    #[must_use]
    pub fn first(scope: &Scope) -> State {
        let mut state = State {
            head: Head {
                epoch: 1,
                is_open: true,
                segment: 0,
            },
            ..State::default()
        };
        for node in &mut state.nodes[..scope.nodes()] {
            node.storage = 1;
            node.promise = 1;
            node.promise_durable = 1;
        }
        state.primaries[0] = Primary {
            epoch: 1,
            phase: Phase::Writing,
            ..Primary::default()
        };
        let opened = Segment {
            epoch: 1,
            first: 1,
            ..Segment::default()
        };
        state.open_segment(scope, 0, opened, scope.node_sets[0]);
        state
    }

    /// Puts a segment at place `at` of the chain, with empty replicas on the nodes of `node_set`.
    pub fn open_segment(&mut self, scope: &Scope, at: u8, segment: Segment, node_set: u8) {
        self.segments[usize::from(at)] = segment;
        let base = segment.first - 1;
        for (n, node) in self.nodes[..scope.nodes()].iter_mut().enumerate() {
            node.replicas[usize::from(at)] = if node_set & (1 << n) == 0 {
                Replica::default()
            } else {
                Replica {
                    named: node.storage,
                    len: base,
                    durable: base,
                    acked: base,
                    ..Replica::default()
                }
            };
        }
    }

    /// The nodes that `holds` is true of, as bits.
    pub fn nodes_where(&self, scope: &Scope, holds: impl Fn(&Node) -> bool) -> u8 {
        let mut set = 0;
        for (n, node) in self.nodes[..scope.nodes()].iter().enumerate() {
            if holds(node) {
                set |= 1 << n;
            }
        }
        set
    }

    /// The entry at `lsn` becomes visible to the outside for good.
    pub fn commit(&mut self, scope: &Scope, lsn: Lsn, entry: Entry) {
        let committed = &mut self.witness.committed[usize::from(lsn) - 1];
        if *committed == 0 {
            *committed = entry.append;
            if scope.has_ticks() && entry.tick <= self.witness.announced {
                self.witness.broken.tick_overtaken = true;
            }
        } else if *committed != entry.append {
            self.witness.broken.two_values = true;
        }
    }

    /// Records a promise that a node has told somebody.
    pub fn tell_promise(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.promise < node.promise_told {
            self.witness.broken.promise_fell = true;
        }
        node.promise_told = node.promise_told.max(node.promise);
    }

    /// Forgets what `primary` has heard and asked, because it will not be used again. Merges states.
    pub fn forget_replies(&mut self, primary: usize) {
        for node in &mut self.nodes {
            node.replies[primary] = SealReply::default();
            node.beats &= !(1 << primary);
        }
    }

    /// One of the states that differ only in the names of nodes that no rule can tell apart.
    pub fn sort_alike(&mut self, scope: &Scope) {
        for &(start, len) in scope.alike {
            self.nodes[start..start + len].sort_unstable();
        }
    }
}
