//! Requests to a log-node.

use holdfast_qlog::messages::{
    Append, Ask, Beat, BeatAt, ClusterId, Finish, Owner, Read, Repair, Request, SealOne, Visibility,
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use super::{
    Malformed, absent, bytes_of, entries_from_wire, entry_to_wire, malformed, open_from_wire,
    open_to_wire, pb, sixteen, storage,
};

/// The request as a message.
#[must_use]
pub fn request_to_wire(request: &Request) -> pb::Request {
    let Request {
        cluster,
        storage,
        sender,
        ask,
    } = request;
    pb::Request {
        cluster: bytes_of(cluster.0),
        storage: storage.map(|id| bytes_of(id.0)),
        sender: Some(pb::Owner {
            node: sender.node.to_string(),
            incarnation: sender.incarnation,
        }),
        ask: Some(ask_to_wire(ask)),
    }
}

fn ask_to_wire(ask: &Ask) -> pb::request::Ask {
    use pb::request::Ask as Wire;
    match ask {
        Ask::Hello { protocol } => Wire::Hello(pb::Hello {
            protocol: *protocol,
        }),
        Ask::Append(append) => Wire::Append(pb::Append {
            log: append.log.0,
            segment: append.segment.0,
            epoch: append.epoch.0,
            open: append.open.as_ref().map(open_to_wire),
            committed: append.committed.0,
            acknowledged: append.acknowledged.0,
            entries: append.entries.iter().map(entry_to_wire).collect(),
        }),
        Ask::Beat(beat) => Wire::Beat(pb::Beat {
            nonce: beat.nonce,
            at: beat
                .at
                .iter()
                .map(|at| pb::BeatAt {
                    log: at.log.0,
                    epoch: at.epoch.0,
                    segment: at.segment.0,
                    committed: at.committed.0,
                    tick: at.tick.map(|tick| tick.0),
                })
                .collect(),
        }),
        Ask::Seal(ones) => Wire::Seal(pb::Seal {
            logs: ones
                .iter()
                .map(|one| pb::SealOne {
                    log: one.log.0,
                    segment: one.segment.0,
                    epoch: one.epoch.0,
                })
                .collect(),
        }),
        Ask::Repair(repair) => Wire::Repair(pb::Repair {
            log: repair.log.0,
            segment: repair.segment.0,
            epoch: repair.epoch.0,
            end: repair.end.map(|end| end.0),
            open: Some(open_to_wire(&repair.open)),
            entries: repair.entries.iter().map(entry_to_wire).collect(),
        }),
        Ask::Finish(finish) => Wire::Finish(pb::Finish {
            log: finish.log.0,
            segment: finish.segment.0,
            epoch: finish.epoch.0,
            end: finish.end.0,
        }),
        Ask::Inspect(logs) => Wire::Inspect(pb::Inspect {
            logs: logs.iter().map(|log| log.0).collect(),
        }),
        Ask::Read(read) => Wire::Read(pb::Read {
            log: read.log.0,
            segment: read.segment.0,
            from: read.from.0,
            visibility: match read.visibility {
                Visibility::Committed => pb::Visibility::Committed,
                Visibility::Durable => pb::Visibility::Durable,
            }
            .into(),
            bytes_max: read.bytes_max as u64,
        }),
        Ask::Trim { log, through } => Wire::Trim(pb::Trim {
            log: log.0,
            through: through.0,
        }),
    }
}

/// The request that a message holds.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn request_from_wire(request: pb::Request) -> Result<Request, Malformed> {
    let pb::Request {
        cluster,
        storage: disk,
        sender,
        ask,
    } = request;
    let pb::Owner { node, incarnation } = sender.ok_or_else(|| absent("sender"))?;
    Ok(Request {
        cluster: ClusterId(sixteen("cluster", &cluster)?),
        storage: disk.map(|id| storage("storage", &id)).transpose()?,
        sender: Owner {
            node: node.into(),
            incarnation,
        },
        ask: ask_from_wire(ask.ok_or_else(|| absent("ask"))?)?,
    })
}

fn ask_from_wire(ask: pb::request::Ask) -> Result<Ask, Malformed> {
    use pb::request::Ask as Wire;
    Ok(match ask {
        Wire::Hello(pb::Hello { protocol }) => Ask::Hello { protocol },
        Wire::Append(pb::Append {
            log,
            segment,
            epoch,
            open,
            committed,
            entries,
            acknowledged,
        }) => Ask::Append(Append {
            log: ChannelId(log),
            segment: LogSegment(segment),
            epoch: Epoch(epoch),
            open: open.map(open_from_wire).transpose()?,
            committed: Lsn(committed),
            acknowledged: Lsn(acknowledged),
            entries: entries_from_wire(ChannelId(log), entries)?,
        }),
        Wire::Beat(pb::Beat { nonce, at }) => Ask::Beat(Beat {
            nonce,
            at: at.into_iter().map(beat_at).collect(),
        }),
        Wire::Seal(pb::Seal { logs }) => Ask::Seal(
            logs.into_iter()
                .map(
                    |pb::SealOne {
                         log,
                         segment,
                         epoch,
                     }| SealOne {
                        log: ChannelId(log),
                        segment: LogSegment(segment),
                        epoch: Epoch(epoch),
                    },
                )
                .collect(),
        ),
        Wire::Repair(pb::Repair {
            log,
            segment,
            epoch,
            end,
            open,
            entries,
        }) => Ask::Repair(Repair {
            log: ChannelId(log),
            segment: LogSegment(segment),
            epoch: Epoch(epoch),
            end: end.map(Lsn),
            open: open_from_wire(open.ok_or_else(|| absent("repair.open"))?)?,
            entries: entries_from_wire(ChannelId(log), entries)?,
        }),
        Wire::Finish(pb::Finish {
            log,
            segment,
            epoch,
            end,
        }) => Ask::Finish(Finish {
            log: ChannelId(log),
            segment: LogSegment(segment),
            epoch: Epoch(epoch),
            end: Lsn(end),
        }),
        Wire::Inspect(pb::Inspect { logs }) => {
            Ask::Inspect(logs.into_iter().map(ChannelId).collect())
        }
        Wire::Read(read) => Ask::Read(read_from_wire(&read)?),
        Wire::Trim(pb::Trim { log, through }) => Ask::Trim {
            log: ChannelId(log),
            through: LogSegment(through),
        },
    })
}

fn beat_at(at: pb::BeatAt) -> BeatAt {
    let pb::BeatAt {
        log,
        epoch,
        segment,
        committed,
        tick,
    } = at;
    BeatAt {
        log: ChannelId(log),
        epoch: Epoch(epoch),
        segment: LogSegment(segment),
        committed: Lsn(committed),
        tick: tick.map(Timestamp),
    }
}

fn read_from_wire(read: &pb::Read) -> Result<Read, Malformed> {
    let visibility = match read.visibility() {
        pb::Visibility::Committed => Visibility::Committed,
        pb::Visibility::Durable => Visibility::Durable,
        pb::Visibility::Unspecified => return Err(absent("read.visibility")),
    };
    let pb::Read {
        log,
        segment,
        from,
        visibility: _,
        bytes_max,
    } = *read;
    Ok(Read {
        log: ChannelId(log),
        segment: LogSegment(segment),
        from: Lsn(from),
        visibility,
        bytes_max: usize::try_from(bytes_max)
            .map_err(|_| malformed("read.bytes_max", "too large"))?,
    })
}
