//! The bytes of each record of the metadata.

use bytes::Bytes;
use holdfast_types::{Epoch, LogSegment, Lsn, Timestamp};

use super::{
    BadRecord, Folded, Gone, LogHead, ManifestRef, NodeRegistration, NodeState, Phase,
    SegmentDescriptor, SegmentState,
};
use crate::{
    codec::{Reader, Writer},
    copies::{Copies, CopyHolder, StorageId, Zone},
    messages::Owner,
};

const VERSION: u8 = 1;
/// Most holders a descriptor can name.
const HOLDERS_MAX: u8 = 9;

impl LogHead {
    /// Its bytes at `key`.
    #[must_use]
    pub fn encode(&self, key: &str) -> Bytes {
        let Self {
            epoch,
            owner,
            phase,
            segment,
        } = self;
        let mut w = Writer::new(VERSION);
        w.u64(epoch.0);
        w.name(&owner.node);
        w.u64(owner.incarnation);
        w.u8(match phase {
            Phase::Recovering => 0,
            Phase::Open => 1,
        });
        w.u64(segment.0);
        w.seal(key)
    }

    /// What [`Self::encode`] made.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(key: &str, bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut r = Reader::open(key, bytes, VERSION)?;
        let head = Self {
            epoch: Epoch(r.u64()?),
            owner: Owner {
                node: r.name()?,
                incarnation: r.u64()?,
            },
            phase: match r.u8()? {
                0 => Phase::Recovering,
                1 => Phase::Open,
                other => return Err(r.bad(format!("phase {other} is not known"))),
            },
            segment: LogSegment(r.u64()?),
        };
        r.end()?;
        Ok(head)
    }
}

impl SegmentDescriptor {
    /// Its bytes at `key`.
    #[must_use]
    pub fn encode(&self, key: &str) -> Bytes {
        let Self {
            epoch,
            first,
            tick_floor,
            state,
            copies,
        } = self;
        let mut w = Writer::new(VERSION);
        w.u64(epoch.0);
        w.u64(first.0);
        w.u64(tick_floor.0);
        match state {
            SegmentState::Open => w.u8(0),
            SegmentState::Sealed { end } => {
                w.u8(1);
                w.u64(end.0);
            }
            SegmentState::Tiered { end, manifest } => {
                w.u8(2);
                w.u64(end.0);
                manifest.write(&mut w);
            }
        }
        write_copies(copies, &mut w);
        w.seal(key)
    }

    /// What [`Self::encode`] made.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(key: &str, bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut r = Reader::open(key, bytes, VERSION)?;
        let descriptor = Self {
            epoch: Epoch(r.u64()?),
            first: Lsn(r.u64()?),
            tick_floor: Timestamp(r.u64()?),
            state: match r.u8()? {
                0 => SegmentState::Open,
                1 => SegmentState::Sealed { end: Lsn(r.u64()?) },
                2 => SegmentState::Tiered {
                    end: Lsn(r.u64()?),
                    manifest: ManifestRef::read(&mut r)?,
                },
                other => return Err(r.bad(format!("state {other} is not known"))),
            },
            copies: read_copies(&mut r)?,
        };
        let dense = descriptor.first > Lsn(0)
            && descriptor
                .end()
                .is_none_or(|end| end >= descriptor.before() && end.0 < u64::MAX);
        if !dense {
            return Err(r.bad("it ends before it begins"));
        }
        r.end()?;
        Ok(descriptor)
    }
}

impl ManifestRef {
    fn write(&self, w: &mut Writer) {
        let Self {
            key,
            bytes,
            checksum,
        } = self;
        w.name(key);
        w.u64(*bytes);
        w.u32(*checksum);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, BadRecord> {
        Ok(Self {
            key: r.name()?,
            bytes: r.u64()?,
            checksum: r.u32()?,
        })
    }
}

fn write_copies(copies: &Copies, w: &mut Writer) {
    let Copies {
        holders,
        quorum,
        zones,
    } = copies;
    let small = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
    w.u8(small(*quorum));
    w.u8(small(*zones));
    w.u8(small(holders.len()));
    for CopyHolder {
        node,
        storage,
        zone,
    } in holders
    {
        w.name(node);
        w.id(storage.0);
        w.name(&zone.0);
    }
}

fn read_copies(r: &mut Reader<'_>) -> Result<Copies, BadRecord> {
    let (quorum, zones, count) = (r.u8()?, r.u8()?, r.u8()?);
    if count > HOLDERS_MAX || quorum > count || quorum == 0 || zones > quorum {
        return Err(r.bad(format!(
            "{quorum} of {count} copies in {zones} zones is not a rule that can be kept"
        )));
    }
    let mut holders = Vec::with_capacity(count.into());
    for _ in 0..count {
        holders.push(CopyHolder {
            node: r.name()?,
            storage: StorageId(r.id()?),
            zone: Zone(r.name()?),
        });
    }
    Ok(Copies {
        holders,
        quorum: quorum.into(),
        zones: zones.into(),
    })
}

impl Folded {
    /// Its bytes at `key`.
    #[must_use]
    pub fn encode(&self, key: &str) -> Bytes {
        let Self {
            through,
            end,
            manifest,
        } = self;
        let mut w = Writer::new(VERSION);
        w.u64(through.0);
        w.u64(end.0);
        manifest.write(&mut w);
        w.seal(key)
    }

    /// What [`Self::encode`] made.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(key: &str, bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut r = Reader::open(key, bytes, VERSION)?;
        let folded = Self {
            through: LogSegment(r.u64()?),
            end: Lsn(r.u64()?),
            manifest: ManifestRef::read(&mut r)?,
        };
        r.end()?;
        Ok(folded)
    }
}

impl NodeRegistration {
    /// Its bytes at `key`.
    #[must_use]
    pub fn encode(&self, key: &str) -> Bytes {
        let Self {
            node,
            address,
            zone,
            storage,
            generation,
            state,
            free_bytes,
            total_bytes,
        } = self;
        let mut w = Writer::new(VERSION);
        w.name(node);
        w.name(address);
        w.name(&zone.0);
        w.id(storage.0);
        w.u64(*generation);
        w.u8(match state {
            NodeState::ReadWrite => 0,
            NodeState::Drain => 1,
            NodeState::ReadOnly => 2,
            NodeState::DataLoss => 3,
        });
        w.u64(*free_bytes);
        w.u64(*total_bytes);
        w.seal(key)
    }

    /// What [`Self::encode`] made.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(key: &str, bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut r = Reader::open(key, bytes, VERSION)?;
        let registration = Self {
            node: r.name()?,
            address: r.name()?,
            zone: Zone(r.name()?),
            storage: StorageId(r.id()?),
            generation: r.u64()?,
            state: match r.u8()? {
                0 => NodeState::ReadWrite,
                1 => NodeState::Drain,
                2 => NodeState::ReadOnly,
                3 => NodeState::DataLoss,
                other => return Err(r.bad(format!("state {other} is not known"))),
            },
            free_bytes: r.u64()?,
            total_bytes: r.u64()?,
        };
        r.end()?;
        Ok(registration)
    }
}

impl Gone {
    /// Its bytes at `key`.
    #[must_use]
    pub fn encode(&self, key: &str) -> Bytes {
        let Self {
            storage,
            forfeit,
            reason,
        } = self;
        let mut w = Writer::new(VERSION);
        w.id(storage.0);
        w.u8(u8::from(*forfeit));
        w.name(reason);
        w.seal(key)
    }

    /// What [`Self::encode`] made.
    ///
    /// # Errors
    /// [`BadRecord`].
    pub fn decode(key: &str, bytes: &[u8]) -> Result<Self, BadRecord> {
        let mut r = Reader::open(key, bytes, VERSION)?;
        let gone = Self {
            storage: StorageId(r.id()?),
            forfeit: match r.u8()? {
                0 => false,
                1 => true,
                other => return Err(r.bad(format!("{other} is neither yes nor no"))),
            },
            reason: r.name()?,
        };
        r.end()?;
        Ok(gone)
    }
}
