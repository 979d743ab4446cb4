//! A log-node's disk: of records, or of bytes under the shipped journal.

mod bytes;
mod records;

use std::collections::VecDeque;

use holdfast_qlog::{Entry, NodeImage, NodeRecord, StorageId, invariants::Ledger, node::Ticket};
use holdfast_types::{ChannelId, LogSegment, Lsn};

use crate::rng::Rng;
use bytes::Bytes;
use records::Records;

/// What was given to a disk and is not synced.
pub(crate) type Pending = VecDeque<(Ticket, Vec<NodeRecord>)>;

pub(crate) struct Disk {
    pub(crate) storage: StorageId,
    kind: Kind,
}

enum Kind {
    Records(Records),
    Bytes(Box<Bytes>),
}

/// What a start finds.
pub(crate) struct Found {
    pub(crate) image: NodeImage,
    /// The generation that the disk was left with.
    pub(crate) generation: u64,
    /// Something was lost that cannot be told from what was never there.
    pub(crate) damaged: bool,
}

impl Disk {
    pub(crate) fn of_records(storage: StorageId) -> Self {
        let kind = Kind::Records(Records::empty(storage));
        Self { storage, kind }
    }

    pub(crate) fn of_bytes(storage: StorageId, seed: u64) -> Self {
        let kind = Kind::Bytes(Box::new(Bytes::empty(storage, seed)));
        Self { storage, kind }
    }

    /// An empty one of the same kind.
    pub(crate) fn another(&self, storage: StorageId, rng: &mut Rng) -> Self {
        match &self.kind {
            Kind::Records(_) => Self::of_records(storage),
            Kind::Bytes(_) => Self::of_bytes(storage, rng.next()),
        }
    }

    /// A copy of what is synced.
    pub(crate) fn copy(&self, rng: &mut Rng) -> Self {
        let kind = match &self.kind {
            Kind::Records(records) => Kind::Records(records.clone()),
            Kind::Bytes(bytes) => Kind::Bytes(Box::new(bytes.copy(rng.next()))),
        };
        Self {
            storage: self.storage,
            kind,
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// What the journal says when it cannot be opened.
    pub(crate) fn open(&mut self, ledger: &mut Ledger) -> Result<Found, String> {
        match &mut self.kind {
            Kind::Records(records) => Ok(Found {
                image: records.image.clone(),
                generation: records.generation,
                damaged: records.damaged,
            }),
            Kind::Bytes(bytes) => bytes.open(ledger),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        match &self.kind {
            Kind::Records(records) => records.generation,
            Kind::Bytes(bytes) => bytes.generation,
        }
    }

    /// Whether the operator has to exchange it.
    pub(crate) fn is_damaged(&self) -> bool {
        match &self.kind {
            Kind::Records(records) => records.damaged,
            Kind::Bytes(bytes) => bytes.damaged,
        }
    }

    /// Writes down the generation of this start. A journal counts its starts itself.
    pub(crate) fn started(&mut self, generation: u64) {
        if let Kind::Records(records) = &mut self.kind {
            records.generation = generation;
        }
    }

    /// Whether the generation can be raised while the node runs.
    pub(crate) fn ratchets(&self) -> bool {
        matches!(self.kind, Kind::Records(_))
    }

    /// Whether all up to the ticket is synced; if not, the disk failed.
    pub(crate) fn sync(
        &mut self,
        pending: &mut Pending,
        through: Ticket,
        fail: bool,
        (rng, ledger): (&mut Rng, &mut Ledger),
    ) -> bool {
        match &mut self.kind {
            Kind::Records(records) => {
                let part = if fail { some_of(pending, rng) } else { through };
                records.sync(pending, part, ledger);
                !fail
            }
            Kind::Bytes(bytes) => bytes.sync(pending, through, fail, ledger),
        }
    }

    /// The process or the machine ends. Of what was not synced, some may be there.
    pub(crate) fn crash(&mut self, pending: &mut Pending, rng: &mut Rng, ledger: &mut Ledger) {
        let part = some_of(pending, rng);
        match &mut self.kind {
            Kind::Records(records) => records.sync(pending, part, ledger),
            Kind::Bytes(bytes) => bytes.crash(pending, part, rng),
        }
        pending.clear();
    }

    pub(crate) fn read(
        &self,
        (log, segment): (ChannelId, LogSegment),
        (from, through): (Lsn, Lsn),
        bytes_max: usize,
    ) -> Vec<Entry> {
        match &self.kind {
            Kind::Records(records) => records.read(log, segment, from, through, bytes_max),
            Kind::Bytes(bytes) => bytes.read((log, segment), (from, through), bytes_max),
        }
    }

    /// Something on it becomes unreadable; the entry is returned where it is known.
    pub(crate) fn rot(&mut self, rng: &mut Rng) -> Option<(ChannelId, LogSegment, Lsn)> {
        match &mut self.kind {
            Kind::Records(records) => records.rot(rng),
            Kind::Bytes(bytes) => {
                bytes.rot(rng);
                None
            }
        }
    }
}

/// A ticket up to which a crash finds things done.
fn some_of(pending: &Pending, rng: &mut Rng) -> Ticket {
    let survive = rng.below(pending.len() as u64 + 1) as usize;
    survive
        .checked_sub(1)
        .and_then(|i| pending.get(i))
        .map_or(Ticket(0), |(ticket, _)| *ticket)
}
