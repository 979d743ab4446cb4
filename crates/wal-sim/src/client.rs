//! Clients: append under their own numbers, repeat what they do not know the outcome of, and ask for strong reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use holdfast_qlog::{
    RequestId,
    writer::{AppendOutcome, AppendRequest, Writer, WriterEvent},
};
use holdfast_types::{ChannelId, Lsn, Timestamp};

use crate::world::{Event, PROCESSES, Step, World, trace};

/// The client of one log.
#[derive(Default)]
pub(crate) struct Client {
    next: u64,
    tokens: u64,
    /// By token: the request, and the process that was asked.
    waiting: BTreeMap<u64, (u64, usize)>,
    again: Vec<u64>,
    /// Requests that were rejected and never repeated: they must never be in the log.
    rejected: BTreeSet<u64>,
    /// Tokens of strong reads, and what was acknowledged before each.
    pub(crate) questions: BTreeMap<u64, Lsn>,
    pub(crate) done: u64,
}

impl Client {
    /// A process ended: what it was asked may have happened or not.
    pub(crate) fn forget(&mut self, process: usize) {
        let gone = self.waiting.iter().filter(|(_, (_, p))| *p == process);
        let gone: Vec<u64> = gone.map(|(token, _)| *token).collect();
        for token in gone {
            if let Some((serial, _)) = self.waiting.remove(&token) {
                self.again.push(serial);
            }
        }
    }
}

fn request_id(log: ChannelId, serial: u64) -> RequestId {
    RequestId {
        client: u64::from(log.0) + 1,
        sequence: serial,
    }
}

impl World {
    pub(crate) fn client(&mut self, log: ChannelId) -> &mut Client {
        self.clients.entry(log).or_default()
    }

    pub(crate) fn client_step(&mut self, log: ChannelId) -> Step {
        let mut pause = Duration::from_micros(self.rng.range(1_000, 30_000));
        if !self.calm && self.rng.chance(15_000) {
            // An idle log lives by its bare ticks.
            pause = Duration::from_millis(self.rng.range(200, 2_500));
        }
        self.at(pause, Event::Client { log });
        let writers: Vec<usize> = (0..PROCESSES)
            .filter(|p| {
                let state = self.processes[*p].logs.get(&log);
                state.is_some_and(|s| s.writer.is_some()) && self.processes[*p].paused <= self.now
            })
            .collect();
        if writers.is_empty() {
            return Ok(());
        }
        // Any that takes itself for the writer.
        let p = *self.rng.pick(&writers);
        if self.rng.chance(100_000) {
            let acknowledged = self.ledger.acknowledged_through(log);
            let client = self.client(log);
            client.tokens += 1;
            let token = client.tokens;
            client.questions.insert(token, acknowledged);
            return self.drive_writer(p, log, WriterEvent::Confirm { token });
        }
        let count = if self.rng.chance(100_000) { 12 } else { 1 };
        for _ in 0..count {
            self.client_append(p, log)?;
        }
        Ok(())
    }

    fn client_append(&mut self, p: usize, log: ChannelId) -> Step {
        let again = self.rng.chance(500_000);
        let size = self.rng.below(400) as usize;
        let wall = self.wall(p);
        let Some(last) = self.processes[p]
            .logs
            .get(&log)
            .and_then(|s| s.writer.as_ref())
            .map(Writer::last_tick)
        else {
            return Ok(());
        };
        let client = self.client(log);
        let serial = if again && !client.again.is_empty() {
            client.again.remove(0)
        } else {
            client.next += 1;
            client.next
        };
        client.tokens += 1;
        let token = client.tokens;
        client.waiting.insert(token, (serial, p));
        let mut payload = serial.to_le_bytes().to_vec();
        payload.resize(8 + size, log.0 as u8);
        let append = AppendRequest {
            token,
            request: Some(request_id(log, serial)),
            tick: wall.max(Timestamp(last.0 + 1)),
            payload: Bytes::from(payload),
        };
        self.drive_writer(p, log, WriterEvent::Append(append))
    }

    pub(crate) fn client_done(
        &mut self,
        log: ChannelId,
        token: u64,
        outcome: AppendOutcome,
    ) -> Step {
        let abandon = self.rng.chance(300_000);
        let Some((serial, _)) = self.client(log).waiting.remove(&token) else {
            return Ok(());
        };
        trace!(
            self,
            "log {log}: request {serial} is {}",
            Self::fate(&outcome)
        );
        match outcome {
            AppendOutcome::Done { lsn, tick } | AppendOutcome::Repeated { lsn, tick } => {
                self.client(log).done += 1;
                self.counts.acknowledged += 1;
                if matches!(outcome, AppendOutcome::Repeated { .. }) {
                    self.counts.repeated += 1;
                }
                self.ledger
                    .acknowledged(log, request_id(log, serial), lsn, tick)
            }
            AppendOutcome::Unknown => {
                self.counts.unknown += 1;
                self.client(log).again.push(serial);
                Ok(())
            }
            AppendOutcome::Rejected(_) => {
                // A request that was asked before, with an unknown outcome, may be there nevertheless.
                let client = self.client(log);
                if abandon && serial == client.next {
                    client.rejected.insert(serial);
                } else {
                    client.again.push(serial);
                }
                Ok(())
            }
        }
    }

    /// What was rejected is not in the log.
    pub(crate) fn check_rejected(&self) -> Step {
        for (log, client) in &self.clients {
            for serial in &client.rejected {
                self.ledger.absent(*log, request_id(*log, *serial))?;
            }
        }
        Ok(())
    }
}
