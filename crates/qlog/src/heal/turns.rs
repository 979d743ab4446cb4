//! Whose turn it is to heal a segment. Nobody locks anything: the metadata's compare-and-set decides between two who
//! both think that it is theirs.

use std::{collections::BTreeMap, time::Duration};

use holdfast_types::{ChannelId, LogSegment};

use super::{Heal, uploader};
use crate::copies::StorageId;

/// Since when each segment waits to be healed, as one node has seen it.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    since: BTreeMap<(ChannelId, LogSegment), Duration>,
}

impl Turns {
    /// The part of a plan that is to be done by the node with this disk, now. The next in line takes over for each
    /// `patience` in which a segment stays in the plan.
    pub fn mine(
        &mut self,
        plan: Vec<Heal>,
        me: StorageId,
        patience: Duration,
        now: Duration,
    ) -> Vec<Heal> {
        let before = std::mem::take(&mut self.since);
        let mut mine = Vec::new();
        for heal in plan {
            let key = heal.segment();
            let since = before.get(&key).copied().unwrap_or(now);
            self.since.insert(key, since);
            let by = match &heal {
                Heal::Upload { by, .. } => by,
                Heal::Copy { from, .. } => from,
                Heal::Lost { .. } => continue,
            };
            let turn = uploader(by, now.saturating_sub(since), patience);
            if turn.is_some_and(|holder| holder.storage == me) {
                mine.push(heal);
            }
        }
        mine
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Epoch, Lsn, Timestamp};

    use super::*;
    use crate::{
        copies::{Copies, CopyHolder, Zone},
        meta::{SegmentDescriptor, SegmentState},
    };

    #[test]
    fn the_next_in_line_takes_over() {
        let holder = |n: u8| CopyHolder {
            node: format!("n{n}").into(),
            storage: StorageId([n; 16]),
            zone: Zone("a".into()),
        };
        let by: Vec<CopyHolder> = (0..3).map(holder).collect();
        let upload = Heal::Upload {
            log: ChannelId(1),
            segment: LogSegment(1),
            descriptor: SegmentDescriptor {
                epoch: Epoch(1),
                first: Lsn(1),
                tick_floor: Timestamp(0),
                state: SegmentState::Sealed { end: Lsn(1) },
                copies: Copies {
                    holders: by.clone(),
                    quorum: 2,
                    zones: 1,
                },
            },
            by,
        };
        let patience = Duration::from_secs(20);
        let mut turns: Vec<Turns> = vec![Turns::default(); 3];
        let mut whose = |now: u64| {
            let now = Duration::from_secs(now);
            let mine = |n: usize| {
                let me = StorageId([n as u8; 16]);
                let mine = turns[n].mine(vec![upload.clone()], me, patience, now);
                (!mine.is_empty()).then_some(n)
            };
            (0..3).filter_map(mine).collect::<Vec<_>>()
        };
        let seen: Vec<_> = [100, 119, 120, 139, 140, 160].map(&mut whose).into();
        assert_eq!(seen, [[0], [0], [1], [1], [2], [0]].map(Vec::from));
        // Nothing to do for a while: the count begins anew.
        let empty = turns[0].mine(Vec::new(), StorageId([0; 16]), patience, Duration::ZERO);
        assert_eq!(empty, Vec::new());
        assert!(turns[0].since.is_empty());
    }
}
