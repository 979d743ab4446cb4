//! What a log-node says about what is on its disk.

use std::time::Duration;

use holdfast_types::{ChannelId, Epoch, Lsn};

use super::{Caller, NodeAction, machine::Node, owed::Due};
use crate::{
    messages::{
        Answer, Authority, Entries, Inspected, Read, Reject, SealOne, SealedAt, SegmentLen,
        Visibility,
    },
    rules::{Rule, kept},
};

impl Node {
    pub(super) fn inspect(
        &self,
        caller: Caller,
        logs: &[ChannelId],
        now: Duration,
    ) -> Vec<NodeAction> {
        let inspected = logs.iter().map(|log| {
            let state = self.durable.logs.get(log);
            let heard = self.volatile.get(log).and_then(|v| v.heard);
            Inspected {
                log: *log,
                promise: self.promise(*log),
                heard: heard.map(|(epoch, at)| (epoch, now.saturating_sub(at))),
                segments: state
                    .into_iter()
                    .flat_map(|s| &s.segments)
                    .map(|(segment, held)| SegmentLen {
                        segment: *segment,
                        first: held.first,
                        len_certain: held.certain,
                        len_possible: held.possible,
                        end: held.end,
                    })
                    .collect(),
            }
        });
        let answer = Answer::Inspected(inspected.collect());
        vec![self.reply(caller, answer)]
    }

    pub(super) fn read(&self, caller: Caller, read: Read) -> Result<Vec<NodeAction>, Reject> {
        let trimmed = self.durable.logs.get(&read.log).map(|l| l.trimmed);
        if let Some(through) = trimmed.filter(|t| read.segment <= *t) {
            return Err(Reject::Trimmed { through });
        }
        let held = self
            .durable
            .logs
            .get(&read.log)
            .and_then(|l| l.segments.get(&read.segment))
            .ok_or(Reject::Unknown)?;
        if read.from < held.first {
            return Err(Reject::Damaged);
        }
        if read.from > held.certain && read.from <= held.possible {
            return Err(Reject::Rotten { lsn: read.from });
        }
        let (committed, end) = (held.committed.max(held.end.unwrap_or(Lsn(0))), held.end);
        let through = match read.visibility {
            Visibility::Committed if kept(Rule::ReadersWaitForCommit) => {
                held.certain.min(committed)
            }
            _ => held.certain,
        };
        if read.from > through {
            let entries = Entries {
                log: read.log,
                segment: read.segment,
                entries: Vec::new(),
                committed,
                end,
            };
            return Ok(vec![self.reply(caller, Answer::Entries(entries))]);
        }
        let most = read.from.0 + self.options.read_entries_max.max(1) as u64 - 1;
        Ok(vec![NodeAction::Read {
            to: caller,
            read,
            through: through.min(Lsn(most)),
            committed,
            end,
        }])
    }

    pub(super) fn answer(&self, due: &Due) -> Answer {
        match due {
            Due::Durable(log, segment, epoch) => {
                let image = if kept(Rule::AckAfterSync) {
                    &self.durable
                } else {
                    &self.accepted
                };
                let held = image.logs.get(log).and_then(|l| l.segments.get(segment));
                match held {
                    Some(held) => Answer::Durable {
                        log: *log,
                        segment: *segment,
                        epoch: *epoch,
                        lsn: held.certain,
                    },
                    // It was trimmed while the disk was at work.
                    None => Answer::Rejected {
                        log: *log,
                        segment: *segment,
                        epoch: *epoch,
                        why: Reject::Trimmed {
                            through: self.trimmed(*log),
                        },
                    },
                }
            }
            Due::Sealed(ones) => {
                Answer::Sealed(ones.iter().map(|one| self.sealed_at(one)).collect())
            }
            Due::Finished(log, segment) => Answer::Finished {
                log: *log,
                segment: *segment,
            },
            Due::Trimmed(log, through) => Answer::Trimmed {
                log: *log,
                through: *through,
            },
        }
    }

    pub(super) fn sealed_at(&self, one: &SealOne) -> SealedAt {
        let log = self.durable.logs.get(&one.log);
        let held = log.and_then(|l| l.segments.get(&one.segment));
        let volatile = self.volatile.get(&one.log).cloned().unwrap_or_default();
        let forgot = volatile.began_with > Epoch(0) && volatile.ticked <= volatile.began_with;
        SealedAt {
            log: one.log,
            segment: one.segment,
            epoch: one.epoch,
            promise: log.map_or(Epoch(0), |l| l.promise),
            len_certain: held.map_or(Lsn(0), |h| h.certain),
            len_possible: held.map_or(Lsn(0), |h| {
                if kept(Rule::CorruptIsUnknown) {
                    h.possible
                } else {
                    h.certain
                }
            }),
            committed: held.map_or(Lsn(0), |h| h.committed),
            authority: if self.counts() {
                Authority::Authoritative
            } else {
                Authority::DataLoss
            },
            tick: volatile.tick,
            restarted: forgot && kept(Rule::RestartIsTold),
        }
    }
}
