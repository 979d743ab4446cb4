//! The talk with log-nodes between the wire and [`holdfast_qlog::messages`].
//!
//! | module    | what it knows                                     |
//! |-----------|---------------------------------------------------|
//! | `request` | what a writer, a recoverer or a reader asks        |
//! | `reply`   | what a log-node answers                            |

mod reply;
mod request;
#[cfg(test)]
mod tests;

use holdfast_qlog::{Copies, CopyHolder, Entry, RequestId, SegmentOpen, StorageId, Zone};
use holdfast_types::{ChannelId, Epoch, Lsn, Timestamp};

use crate::internal::log_node as pb;

pub use reply::{inspected_from_wire, inspected_to_wire, reply_from_wire, reply_to_wire};
pub use request::{request_from_wire, request_to_wire};

/// Most holders of one segment that a message may name.
const HOLDERS_MAX: usize = 16;

/// A message that no node of this protocol sends: damaged, forged, or from a version that this one doesn't know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Malformed {
    /// Where in the message.
    pub field: &'static str,
    /// What is wrong there.
    pub problem: &'static str,
}

fn malformed(field: &'static str, problem: &'static str) -> Malformed {
    Malformed { field, problem }
}

fn absent(field: &'static str) -> Malformed {
    malformed(field, "absent, or of a kind this version doesn't know")
}

fn sixteen(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], Malformed> {
    bytes
        .try_into()
        .map_err(|_| malformed(field, "not 16 bytes"))
}

fn storage(field: &'static str, bytes: &[u8]) -> Result<StorageId, Malformed> {
    sixteen(field, bytes).map(StorageId)
}

fn bytes_of(id: [u8; 16]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&id)
}

fn entry_to_wire(entry: &Entry) -> pb::Entry {
    pb::Entry {
        lsn: entry.lsn.0,
        tick: entry.tick.0,
        request: entry.request.map(|id| pb::RequestId {
            client: id.client,
            sequence: id.sequence,
        }),
        payload: entry.payload.clone(),
        checksum: entry.checksum,
    }
}

/// The entries of a message about `log`. Each is checked against its checksum: what a log-node or a reader takes in
/// is what the writer made.
fn entries_from_wire(log: ChannelId, entries: Vec<pb::Entry>) -> Result<Vec<Entry>, Malformed> {
    entries
        .into_iter()
        .map(|entry| {
            let pb::Entry {
                lsn,
                tick,
                request,
                payload,
                checksum,
            } = entry;
            let entry = Entry {
                lsn: Lsn(lsn),
                tick: Timestamp(tick),
                request: request
                    .map(|pb::RequestId { client, sequence }| RequestId { client, sequence }),
                payload,
                checksum,
            };
            if entry.is_intact(log) {
                Ok(entry)
            } else {
                Err(malformed("entries", "an entry doesn't have its checksum"))
            }
        })
        .collect()
}

fn open_to_wire(open: &SegmentOpen) -> pb::SegmentOpen {
    let holder = |holder: &CopyHolder| pb::CopyHolder {
        node: holder.node.to_string(),
        storage: bytes_of(holder.storage.0),
        zone: holder.zone.0.to_string(),
    };
    pb::SegmentOpen {
        epoch: open.epoch.0,
        first: open.first.0,
        holders: open.copies.holders.iter().map(holder).collect(),
        quorum: open.copies.quorum as u32,
        zones: open.copies.zones as u32,
    }
}

fn open_from_wire(open: pb::SegmentOpen) -> Result<SegmentOpen, Malformed> {
    let pb::SegmentOpen {
        epoch,
        first,
        holders,
        quorum,
        zones,
    } = open;
    if holders.is_empty() || holders.len() > HOLDERS_MAX {
        return Err(malformed("open.holders", "none, or too many"));
    }
    if quorum == 0 || quorum as usize > holders.len() || zones as usize > holders.len() {
        return Err(malformed(
            "open.quorum",
            "more than there are holders, or 0",
        ));
    }
    if first == 0 {
        return Err(malformed("open.first", "0 is no position"));
    }
    let holders = holders
        .into_iter()
        .map(|holder| {
            let pb::CopyHolder {
                node,
                storage: disk,
                zone,
            } = holder;
            Ok(CopyHolder {
                node: node.into(),
                storage: storage("open.holders.storage", &disk)?,
                zone: Zone(zone.into()),
            })
        })
        .collect::<Result<_, Malformed>>()?;
    Ok(SegmentOpen {
        epoch: Epoch(epoch),
        first: Lsn(first),
        copies: Copies {
            holders,
            quorum: quorum as usize,
            zones: zones as usize,
        },
    })
}
