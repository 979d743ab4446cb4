//! How large a system is explored, and which faults it meets.

use crate::state::{NODES, SEGMENTS};

/// The kinds of loss that a scope allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// A node is gone for good.
    pub node: bool,
    /// All nodes of one zone are gone for good, at once.
    pub zone: bool,
    /// A disk is wiped and comes back empty.
    pub wiped: bool,
    /// A disk comes back as it was some time ago.
    pub restored: bool,
    /// A durable record can no longer be read.
    pub rot: bool,
}

impl Losses {
    /// None.
    pub const NONE: Losses = Losses {
        node: false,
        zone: false,
        wiped: false,
        restored: false,
        rot: false,
    };
    /// Every kind that takes one node at a time.
    pub const ONE_NODE: Losses = Losses {
        node: true,
        zone: false,
        wiped: true,
        restored: true,
        rot: true,
    };
}

/// The size of one exploration.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// What the table calls it.
    pub name: &'static str,
    /// The zone of each node; its length is the number of nodes.
    pub zones: &'static [u8],
    /// The node-sets, as bits, that a segment may be opened with. The first segment takes the first one.
    pub node_sets: &'static [u8],
    /// Runs `(start, length)` of nodes that no rule can tell apart.
    pub alike: &'static [(usize, usize)],
    /// Appends that the client makes.
    pub appends: u8,
    /// How many primaries may try to take over.
    pub recoverers: u8,
    /// Rolls by live writers.
    pub rolls: u8,
    /// Bare ticks that writers try to announce. With 0, entries are not stamped.
    pub bare_ticks: u8,
    /// Node restarts.
    pub restarts: u8,
    /// Which losses may happen.
    pub losses: Losses,
    /// How many. A second one only after a failover that began after the first has finished: until then the
    /// log has promised no second copy.
    pub loss_count: u8,
    /// Accepting and syncing are two steps. Otherwise one: no other process can tell an entry that is only in
    /// a node's memory from a message that is still under way.
    pub sync_is_a_step: bool,
    /// Primaries crash as a step of their own. Otherwise only by never taking a step again, which every
    /// exploration contains anyway.
    pub crash_is_a_step: bool,
    /// Finish messages reach nodes.
    pub finish_messages: bool,
    /// A reader follows the log.
    pub reader: bool,
    /// What must be seen at least once, so that the exploration is known to have gone there.
    pub seen: &'static [&'static str],
}

impl Scope {
    /// Three nodes in three zones, no fault, nothing optional.
    pub const BASE: Scope = Scope {
        name: "base",
        zones: &[0, 1, 2],
        node_sets: &[0b111],
        alike: &[(0, 3)],
        appends: 2,
        recoverers: 2,
        rolls: 0,
        bare_ticks: 0,
        restarts: 0,
        losses: Losses::NONE,
        loss_count: 0,
        sync_is_a_step: false,
        crash_is_a_step: false,
        finish_messages: false,
        reader: false,
        seen: &[],
    };

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.zones.len()
    }

    /// The writer of the first segment and all recoverers.
    #[must_use]
    pub fn primaries(&self) -> usize {
        1 + usize::from(self.recoverers)
    }

    /// The longest chain of segments that can come to be.
    #[must_use]
    pub fn segments(&self) -> usize {
        1 + usize::from(self.recoverers) + usize::from(self.rolls)
    }

    /// Whether stamps matter.
    #[must_use]
    pub fn has_ticks(&self) -> bool {
        self.bare_ticks > 0
    }

    /// Whether the nodes in `set` are at least `copies`, and in two zones if `span` says so.
    #[must_use]
    pub fn is_quorum(&self, set: u8, copies: u8, span: bool) -> bool {
        let mut count = 0;
        let mut zones = 0_u8;
        for (node, zone) in self.zones.iter().enumerate() {
            if set & (1 << node) != 0 {
                count += 1;
                zones |= 1 << zone;
            }
        }
        count >= copies && (!span || zones.count_ones() >= 2)
    }

    /// Panics when the scope does not fit into [`crate::state::State`].
    ///
    /// # Panics
    /// See above: a mistake in the catalog.
    pub fn assert_fits(&self) {
        assert!(self.nodes() <= NODES, "{}: too many nodes", self.name);
        assert!(
            self.primaries() <= crate::state::PRIMARIES,
            "{}: too many recoverers",
            self.name
        );
        assert!(
            self.segments() <= SEGMENTS,
            "{}: too many segments",
            self.name
        );
        assert!(
            usize::from(self.appends) < crate::state::LSNS,
            "{}: too many appends",
            self.name
        );
    }
}
