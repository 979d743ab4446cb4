//! Replies of a log-node.

use std::time::Duration;

use holdfast_qlog::messages::{
    Answer, Authority, BeatAnswer, Entries, Inspected, Reject, Reply, SealedAt, SegmentLen,
};
use holdfast_types::{ChannelId, Epoch, LogSegment, Lsn, Timestamp};

use super::{Malformed, absent, bytes_of, entries_from_wire, entry_to_wire, pb, storage};

/// The reply as a message.
#[must_use]
pub fn reply_to_wire(reply: &Reply) -> pb::Reply {
    pb::Reply {
        storage: bytes_of(reply.storage.0),
        credits: reply.credits,
        answer: Some(answer_to_wire(&reply.answer)),
    }
}

fn answer_to_wire(answer: &Answer) -> pb::reply::Answer {
    use pb::reply::Answer as Wire;
    match answer {
        Answer::Welcome {
            protocol,
            generation,
        } => Wire::Welcome(pb::Welcome {
            protocol: *protocol,
            generation: *generation,
        }),
        Answer::Durable {
            log,
            segment,
            epoch,
            lsn,
        } => Wire::Durable(pb::Durable {
            log: log.0,
            segment: segment.0,
            epoch: epoch.0,
            lsn: lsn.0,
        }),
        Answer::Beat { nonce, at } => Wire::Beat(pb::BeatReply {
            nonce: *nonce,
            at: at
                .iter()
                .map(|at| pb::BeatAnswer {
                    log: at.log.0,
                    epoch: at.epoch.0,
                    confirmed: at.confirmed,
                    promise: at.promise.0,
                })
                .collect(),
        }),
        Answer::Sealed(logs) => Wire::Sealed(pb::Sealed {
            logs: logs.iter().map(sealed_to_wire).collect(),
        }),
        Answer::Finished { log, segment } => Wire::Finished(pb::Finished {
            log: log.0,
            segment: segment.0,
        }),
        Answer::Inspected(logs) => Wire::Inspected(pb::InspectedAll {
            logs: logs.iter().map(inspected_to_wire).collect(),
        }),
        Answer::Entries(entries) => Wire::Entries(pb::Entries {
            log: entries.log.0,
            segment: entries.segment.0,
            entries: entries.entries.iter().map(entry_to_wire).collect(),
            committed: entries.committed.0,
            end: entries.end.map(|end| end.0),
        }),
        Answer::Trimmed { log, through } => Wire::Trimmed(pb::Trimmed {
            log: log.0,
            through: through.0,
        }),
        Answer::Rejected {
            log,
            segment,
            epoch,
            why,
        } => Wire::Rejected(pb::Rejected {
            log: log.0,
            segment: segment.0,
            epoch: epoch.0,
            why: Some(reject_to_wire(why)),
        }),
    }
}

fn sealed_to_wire(at: &SealedAt) -> pb::SealedAt {
    pb::SealedAt {
        log: at.log.0,
        segment: at.segment.0,
        epoch: at.epoch.0,
        promise: at.promise.0,
        len_certain: at.len_certain.0,
        len_possible: at.len_possible.0,
        committed: at.committed.0,
        authority: match at.authority {
            Authority::Authoritative => pb::Authority::Authoritative,
            Authority::DataLoss => pb::Authority::DataLoss,
        }
        .into(),
        tick: at.tick.0,
        restarted: at.restarted,
    }
}

/// What a node knows about one log, as a message.
#[must_use]
pub fn inspected_to_wire(log: &Inspected) -> pb::Inspected {
    pb::Inspected {
        log: log.log.0,
        promise: log.promise.0,
        heard: log.heard.map(|(epoch, ago)| pb::Heard {
            epoch: epoch.0,
            ago_micros: u64::try_from(ago.as_micros()).unwrap_or(u64::MAX),
        }),
        segments: log
            .segments
            .iter()
            .map(|held| pb::SegmentLen {
                segment: held.segment.0,
                first: held.first.0,
                len_certain: held.len_certain.0,
                len_possible: held.len_possible.0,
                end: held.end.map(|end| end.0),
            })
            .collect(),
    }
}

fn reject_to_wire(why: &Reject) -> pb::rejected::Why {
    use pb::rejected::Why;
    let nothing = pb::Nothing {};
    match why {
        Reject::Fenced { promise } => Why::Fenced(promise.0),
        Reject::Behind { len } => Why::Behind(len.0),
        Reject::Busy => Why::Busy(nothing),
        Reject::Full => Why::Full(nothing),
        Reject::ReadOnly => Why::ReadOnly(nothing),
        Reject::Unknown => Why::Unknown(nothing),
        Reject::Ended { end } => Why::Ended(end.0),
        Reject::Trimmed { through } => Why::Trimmed(through.0),
        Reject::Storage { storage } => Why::Storage(bytes_of(storage.0)),
        Reject::Cluster => Why::Cluster(nothing),
        Reject::Protocol { ours } => Why::Protocol(*ours),
        Reject::Damaged => Why::Damaged(nothing),
        Reject::Rotten { lsn } => Why::Rotten(lsn.0),
        Reject::Forgotten { len } => Why::Forgotten(len.0),
    }
}

/// The reply that a message holds.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn reply_from_wire(reply: pb::Reply) -> Result<Reply, Malformed> {
    let pb::Reply {
        storage: disk,
        credits,
        answer,
    } = reply;
    Ok(Reply {
        storage: storage("storage", &disk)?,
        credits,
        answer: answer_from_wire(answer.ok_or_else(|| absent("answer"))?)?,
    })
}

fn answer_from_wire(answer: pb::reply::Answer) -> Result<Answer, Malformed> {
    use pb::reply::Answer as Wire;
    Ok(match answer {
        Wire::Welcome(pb::Welcome {
            protocol,
            generation,
        }) => Answer::Welcome {
            protocol,
            generation,
        },
        Wire::Durable(pb::Durable {
            log,
            segment,
            epoch,
            lsn,
        }) => Answer::Durable {
            log: ChannelId(log),
            segment: LogSegment(segment),
            epoch: Epoch(epoch),
            lsn: Lsn(lsn),
        },
        Wire::Beat(pb::BeatReply { nonce, at }) => Answer::Beat {
            nonce,
            at: at
                .into_iter()
                .map(
                    |pb::BeatAnswer {
                         log,
                         epoch,
                         confirmed,
                         promise,
                     }| BeatAnswer {
                        log: ChannelId(log),
                        epoch: Epoch(epoch),
                        confirmed,
                        promise: Epoch(promise),
                    },
                )
                .collect(),
        },
        Wire::Sealed(pb::Sealed { logs }) => Answer::Sealed(
            logs.iter()
                .map(sealed_from_wire)
                .collect::<Result<_, _>>()?,
        ),
        Wire::Finished(pb::Finished { log, segment }) => Answer::Finished {
            log: ChannelId(log),
            segment: LogSegment(segment),
        },
        Wire::Inspected(pb::InspectedAll { logs }) => {
            Answer::Inspected(logs.into_iter().map(inspected_from_wire).collect())
        }
        Wire::Entries(pb::Entries {
            log,
            segment,
            entries,
            committed,
            end,
        }) => Answer::Entries(Entries {
            log: ChannelId(log),
            segment: LogSegment(segment),
            entries: entries_from_wire(ChannelId(log), entries)?,
            committed: Lsn(committed),
            end: end.map(Lsn),
        }),
        Wire::Trimmed(pb::Trimmed { log, through }) => Answer::Trimmed {
            log: ChannelId(log),
            through: LogSegment(through),
        },
        Wire::Rejected(pb::Rejected {
            log,
            segment,
            epoch,
            why,
        }) => Answer::Rejected {
            log: ChannelId(log),
            segment: LogSegment(segment),
            epoch: Epoch(epoch),
            why: reject_from_wire(why.ok_or_else(|| absent("rejected.why"))?)?,
        },
    })
}

fn sealed_from_wire(at: &pb::SealedAt) -> Result<SealedAt, Malformed> {
    let authority = match at.authority() {
        pb::Authority::Authoritative => Authority::Authoritative,
        pb::Authority::DataLoss => Authority::DataLoss,
        pb::Authority::Unspecified => return Err(absent("sealed.authority")),
    };
    let pb::SealedAt {
        log,
        segment,
        epoch,
        promise,
        len_certain,
        len_possible,
        committed,
        authority: _,
        tick,
        restarted,
    } = *at;
    Ok(SealedAt {
        log: ChannelId(log),
        segment: LogSegment(segment),
        epoch: Epoch(epoch),
        promise: Epoch(promise),
        len_certain: Lsn(len_certain),
        len_possible: Lsn(len_possible),
        committed: Lsn(committed),
        authority,
        tick: Timestamp(tick),
        restarted,
    })
}

/// What a node knows about one log, from a message.
#[must_use]
pub fn inspected_from_wire(log: pb::Inspected) -> Inspected {
    let pb::Inspected {
        log,
        promise,
        heard,
        segments,
    } = log;
    Inspected {
        log: ChannelId(log),
        promise: Epoch(promise),
        heard: heard.map(|pb::Heard { epoch, ago_micros }| {
            (Epoch(epoch), Duration::from_micros(ago_micros))
        }),
        segments: segments
            .into_iter()
            .map(
                |pb::SegmentLen {
                     segment,
                     first,
                     len_certain,
                     len_possible,
                     end,
                 }| SegmentLen {
                    segment: LogSegment(segment),
                    first: Lsn(first),
                    len_certain: Lsn(len_certain),
                    len_possible: Lsn(len_possible),
                    end: end.map(Lsn),
                },
            )
            .collect(),
    }
}

fn reject_from_wire(why: pb::rejected::Why) -> Result<Reject, Malformed> {
    use pb::rejected::Why;
    Ok(match why {
        Why::Fenced(promise) => Reject::Fenced {
            promise: Epoch(promise),
        },
        Why::Behind(len) => Reject::Behind { len: Lsn(len) },
        Why::Busy(pb::Nothing {}) => Reject::Busy,
        Why::Full(pb::Nothing {}) => Reject::Full,
        Why::ReadOnly(pb::Nothing {}) => Reject::ReadOnly,
        Why::Unknown(pb::Nothing {}) => Reject::Unknown,
        Why::Ended(end) => Reject::Ended { end: Lsn(end) },
        Why::Trimmed(through) => Reject::Trimmed {
            through: LogSegment(through),
        },
        Why::Storage(disk) => Reject::Storage {
            storage: storage("rejected.storage", &disk)?,
        },
        Why::Cluster(pb::Nothing {}) => Reject::Cluster,
        Why::Protocol(ours) => Reject::Protocol { ours },
        Why::Damaged(pb::Nothing {}) => Reject::Damaged,
        Why::Rotten(lsn) => Reject::Rotten { lsn: Lsn(lsn) },
        Why::Forgotten(len) => Reject::Forgotten { len: Lsn(len) },
    })
}
