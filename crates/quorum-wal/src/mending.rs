//! Driving a mend: all copies of an ended segment are brought up to its end, and its holders are named anew.

use std::{sync::Arc, time::Duration};

use holdfast_qlog::heal::{Mend, MendAction, MendEvent, MendOptions};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    connect::Connect,
    peers::{FromPeer, Network, Peers},
    registry::{Nodes, Registry},
};

/// Answers that may wait to be taken in.
const QUEUE: usize = 64;

/// Mends a segment, however long it takes while it makes progress. False when it has to be looked at again: the metadata
/// says something else by now, or a holder does not answer.
pub async fn mend(
    registry: &Registry,
    connect: Arc<dyn Connect>,
    nodes: Nodes,
    options: MendOptions,
) -> bool {
    let (_seen, nodes) = watch::channel(nodes);
    let (events, mut incoming) = mpsc::channel(QUEUE);
    let mut peers = Peers::new(Network { connect, nodes }, events);
    let began = Instant::now();
    let tick = (options.resend_after / 2).max(Duration::from_millis(1));
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let Some((mut mend, mut actions)) = Mend::start(options, began.elapsed()) else {
        return false;
    };
    loop {
        let mut txn = None;
        let mut done = None;
        for action in actions {
            match action {
                MendAction::Send { to, request } => peers.send(&to, request),
                MendAction::Txn(wanted) => txn = Some(wanted),
                MendAction::Done => done = Some(true),
                MendAction::Stale => done = Some(false),
            }
        }
        if let Some(done) = done {
            return done;
        }
        let event = match txn {
            Some(txn) => MendEvent::Txn(registry.txn(&txn).await),
            None => tokio::select! {
                biased;
                arrived = incoming.recv() => match arrived {
                    Some(FromPeer::Reply { from, reply }) => MendEvent::Reply { from, reply },
                    Some(FromPeer::Broken { .. }) | None => MendEvent::Tick,
                },
                _ = ticks.tick() => MendEvent::Tick,
            },
        };
        actions = mend.step(event, began.elapsed());
    }
}
