//! Driving a recovery: from a claim to an open log, however long it takes.

use std::{sync::Arc, time::Duration};

use holdfast_qlog::{
    messages::Owner,
    recover::{Opened, RecoverAction, RecoverEvent, RecoverOptions, Recoverer},
};
use holdfast_runtime::Clock;
use holdfast_types::{ChannelId, Epoch, Timestamp};
use holdfast_wal::WalError;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    options::Options,
    peers::{FromPeer, Network, Peers},
    registry::Registry,
};

/// Answers that may wait to be taken in.
const QUEUE: usize = 4096;

/// What a recovery needs.
pub(crate) struct Recovery<'a> {
    pub(crate) log: ChannelId,
    pub(crate) epoch: Epoch,
    pub(crate) owner: Owner,
    pub(crate) cluster: holdfast_qlog::messages::ClusterId,
    pub(crate) options: &'a Options,
    pub(crate) registry: &'a Registry,
    pub(crate) network: &'a Network,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) began: Instant,
}

impl Recovery<'_> {
    /// Runs to its end.
    ///
    /// # Errors
    /// [`WalError::Fenced`] when a higher epoch exists, [`WalError::Broken`] when the metadata contradicts itself.
    pub(crate) async fn run(self) -> Result<Opened, WalError> {
        let (events, mut incoming) = mpsc::channel(QUEUE);
        let mut peers = Peers::new(self.network.clone(), events);
        let mut nodes = self.network.nodes.clone();
        let mut recoverer = Recoverer::new(RecoverOptions {
            cluster: self.cluster,
            log: self.log,
            owner: self.owner.clone(),
            epoch: Some(self.epoch),
            overtake: None,
            batch_bytes: self.options.batch_bytes,
            resend_after: self.options.resend_after,
            replace_after: self.options.replace_after,
            copies: self.options.rule(),
        });
        let now = || self.began.elapsed();
        let seen = nodes.borrow_and_update().clone();
        let mut actions = recoverer.step(RecoverEvent::Nodes(seen.nodes, seen.gone), now());
        actions.extend(recoverer.step(RecoverEvent::Start, now()));
        let mut ticks = tokio::time::interval(recoverer.tick_every().max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut more = Vec::new();
            for action in actions {
                match action {
                    RecoverAction::Send { to, request } => peers.send(&to, request),
                    RecoverAction::Txn { id, txn } => {
                        let outcome = self.registry.txn(&txn).await;
                        more.push(RecoverEvent::Txn { id, outcome });
                    }
                    RecoverAction::ReadView => {
                        let view = self.registry.view_patiently(self.log).await;
                        let view = view.map_err(|bad| WalError::Broken {
                            problem: bad.to_string(),
                        })?;
                        more.push(RecoverEvent::View(view));
                    }
                    RecoverAction::AskClockBound => more.push(self.clock_bound().await),
                    RecoverAction::Progress(progress) => {
                        tracing::info!(log = %self.log, epoch = %self.epoch, ?progress, "recovering a log");
                    }
                    RecoverAction::Opened(opened) => {
                        tracing::info!(
                            log = %self.log, epoch = %opened.head.epoch, segment = %opened.head.segment,
                            ended = ?opened.ended, took = ?self.began.elapsed(), "a log is open"
                        );
                        return Ok(*opened);
                    }
                    RecoverAction::Overtaken { newer } => return Err(WalError::Fenced { newer }),
                    RecoverAction::Broken(problem) => return Err(WalError::Broken { problem }),
                }
            }
            let event = match more.is_empty() {
                false => {
                    actions = more
                        .into_iter()
                        .flat_map(|event| recoverer.step(event, now()))
                        .collect();
                    continue;
                }
                true => tokio::select! {
                    biased;
                    arrived = incoming.recv() => match arrived {
                        Some(FromPeer::Reply { from, reply }) => RecoverEvent::Reply { from, reply },
                        Some(FromPeer::Broken { .. }) | None => RecoverEvent::Tick,
                    },
                    changed = nodes.changed() => {
                        if changed.is_err() {
                            return Err(WalError::Closed);
                        }
                        let seen = nodes.borrow_and_update().clone();
                        RecoverEvent::Nodes(seen.nodes, seen.gone)
                    }
                    _ = ticks.tick() => RecoverEvent::Tick,
                },
            };
            actions = recoverer.step(event, now());
        }
    }

    /// A stamp that no clock of the cluster has reached. Waits until this clock has, so that stamps don't run ahead of time.
    async fn clock_bound(&self) -> RecoverEvent {
        let skew = self.options.clock_skew_max;
        let ahead = self.clock.unix_ms() + u64::try_from(skew.as_millis()).unwrap_or(u64::MAX / 2);
        tokio::time::sleep(skew).await;
        RecoverEvent::ClockBound(Timestamp::from_unix_ms(ahead))
    }
}
