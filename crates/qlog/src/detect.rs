//! The failure detector of a standby: is the writer of a log gone?
//!
//! Suspicion costs nothing and comes from beats that are missing. Promotion costs a little, so suspicion is confirmed
//! first: so many log-nodes must not have heard the writer that it cannot commit with the others. A wrong answer is safe: the writer that was not gone is
//! fenced, and steps down.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use holdfast_types::{ChannelId, Epoch};

use crate::{
    copies::Copies,
    messages::{Answer, Ask, ClusterId, Inspected, Owner, Reply, Request},
};

/// A detector's names and bounds.
#[derive(Clone, Debug)]
pub struct DetectOptions {
    /// The cluster.
    pub cluster: ClusterId,
    /// The log.
    pub log: ChannelId,
    /// This process.
    pub owner: Owner,
    /// Time between the writer's beats.
    pub beat_every: Duration,
    /// Beats missed before the writer is suspected.
    pub misses: u32,
    /// Longest silence that a noisy network may make normal.
    pub silence_max: Duration,
    /// How long a log-node must not have heard the writer to confirm the suspicion.
    pub unheard: Duration,
    /// Time after which an inspection without answers is repeated.
    pub inspect_again: Duration,
    /// Shortest time between two promotions; doubles with each that follows at once.
    pub pause: Duration,
    /// Longest such time.
    pub pause_max: Duration,
}

/// What happens to a detector.
#[derive(Clone, Debug)]
pub enum DetectEvent {
    /// The log has this writer now, and these holders.
    Writer {
        /// Its epoch.
        epoch: Epoch,
        /// Holders of the segment it writes.
        copies: Copies,
    },
    /// The writer gave a sign of life.
    Beat {
        /// Its epoch.
        epoch: Epoch,
    },
    /// The connection to the writer was refused or reset: its process is likely gone.
    Reset,
    /// A log-node answers.
    Reply {
        /// Its name.
        from: Arc<str>,
        /// What.
        reply: Reply,
    },
    /// Time passed.
    Tick,
}

/// What a detector wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetectAction {
    /// Send to a log-node.
    Send {
        /// Its name.
        to: Arc<str>,
        /// What.
        request: Request,
    },
    /// The writer of this epoch is gone: recover the log.
    Promote {
        /// The epoch that is to be overtaken.
        epoch: Epoch,
    },
}

/// Watches the writer of one log.
#[derive(Clone, Debug)]
pub struct Detector {
    options: DetectOptions,
    writer: Option<(Epoch, Copies)>,
    heard: Duration,
    /// Smoothed time between beats, and its smoothed deviation.
    rhythm: (Duration, Duration),
    reset: bool,
    inspection: Option<Inspection>,
    promoted: Option<Duration>,
    pause: Duration,
}

#[derive(Clone, Debug)]
struct Inspection {
    asked: Duration,
    unheard: BTreeMap<Arc<str>, bool>,
}

impl Detector {
    /// A detector that knows no writer yet.
    #[must_use]
    pub fn new(options: DetectOptions, now: Duration) -> Self {
        let rhythm = (options.beat_every, Duration::ZERO);
        let pause = options.pause;
        Self {
            options,
            writer: None,
            heard: now,
            rhythm,
            reset: false,
            inspection: None,
            promoted: None,
            pause,
        }
    }

    /// Takes an event and says what to do.
    pub fn step(&mut self, event: DetectEvent, now: Duration) -> Vec<DetectAction> {
        match event {
            DetectEvent::Writer { epoch, copies } => {
                let newer = self.writer.as_ref().is_none_or(|(known, _)| *known < epoch);
                if newer {
                    self.heard = now;
                    self.reset = false;
                    self.inspection = None;
                    self.rhythm = (self.options.beat_every, Duration::ZERO);
                }
                if self
                    .writer
                    .as_ref()
                    .is_none_or(|(known, _)| *known <= epoch)
                {
                    self.writer = Some((epoch, copies));
                }
                Vec::new()
            }
            DetectEvent::Beat { epoch } => {
                if self
                    .writer
                    .as_ref()
                    .is_some_and(|(known, _)| *known == epoch)
                {
                    self.hear(now);
                }
                Vec::new()
            }
            DetectEvent::Reset => {
                self.reset = self.writer.is_some();
                self.suspect(now)
            }
            DetectEvent::Reply { from, reply } => self.inspected(&from, reply, now),
            DetectEvent::Tick => self.suspect(now),
        }
    }

    /// When to step with [`DetectEvent::Tick`] next.
    #[must_use]
    pub fn wake_at(&self, now: Duration) -> Duration {
        let due = match &self.inspection {
            Some(inspection) => inspection.asked + self.options.inspect_again,
            None => self.heard + self.patience(),
        };
        due.max(now + self.options.beat_every / 2)
    }

    fn hear(&mut self, now: Duration) {
        let gap = now.saturating_sub(self.heard);
        let (mean, deviation) = self.rhythm;
        let off = gap.abs_diff(mean);
        self.rhythm = ((mean * 7 + gap) / 8, (deviation * 3 + off) / 4);
        self.heard = now;
        self.reset = false;
        self.inspection = None;
        if self
            .promoted
            .is_some_and(|at| now.saturating_sub(at) > self.pause * 2)
        {
            self.pause = self.options.pause;
        }
    }

    /// Silence that is normal: some beats' time, more when beats come unevenly.
    fn patience(&self) -> Duration {
        let (mean, deviation) = self.rhythm;
        let even = self.options.beat_every.max(mean) * self.options.misses;
        (even + deviation * 4)
            .min(self.options.silence_max)
            .max(self.options.beat_every)
    }

    fn suspect(&mut self, now: Duration) -> Vec<DetectAction> {
        let Some((_, copies)) = &self.writer else {
            return Vec::new();
        };
        let silent = now.saturating_sub(self.heard) >= self.patience();
        if !silent && !self.reset {
            return Vec::new();
        }
        let damped = self
            .promoted
            .is_some_and(|at| now.saturating_sub(at) < self.pause);
        let asked = self
            .inspection
            .as_ref()
            .is_some_and(|i| now.saturating_sub(i.asked) < self.options.inspect_again);
        if damped || asked {
            return Vec::new();
        }
        let asks = copies.holders.iter().map(|holder| DetectAction::Send {
            to: holder.node.clone(),
            request: Request {
                cluster: self.options.cluster,
                storage: None,
                sender: self.options.owner.clone(),
                ask: Ask::Inspect(vec![self.options.log]),
            },
        });
        let asks = asks.collect();
        self.inspection = Some(Inspection {
            asked: now,
            unheard: BTreeMap::new(),
        });
        asks
    }

    fn inspected(&mut self, from: &Arc<str>, reply: Reply, now: Duration) -> Vec<DetectAction> {
        let (Answer::Inspected(logs), Some((epoch, copies))) = (reply.answer, &self.writer) else {
            return Vec::new();
        };
        let Some(inspection) = &mut self.inspection else {
            return Vec::new();
        };
        let Some(at) = copies.holders.iter().position(|h| h.node == *from) else {
            return Vec::new();
        };
        let Some(about) = logs.iter().find(|l| l.log == self.options.log) else {
            return Vec::new();
        };
        if about.promise > *epoch {
            // Somebody else is at it already.
            self.inspection = None;
            return Vec::new();
        }
        let unheard = not_heard(about, *epoch, self.options.unheard);
        inspection
            .unheard
            .insert(copies.holders[at].node.clone(), unheard);
        let hears = |i: &usize| inspection.unheard.get(&copies.holders[*i].node) != Some(&true);
        if copies.suffice((0..copies.holders.len()).filter(hears)) {
            // With the others the writer may well go on.
            return Vec::new();
        }
        let epoch = *epoch;
        if self
            .promoted
            .is_some_and(|at| now.saturating_sub(at) < self.pause * 2)
        {
            self.pause = (self.pause * 2).min(self.options.pause_max);
        }
        self.promoted = Some(now);
        self.inspection = None;
        self.reset = false;
        vec![DetectAction::Promote { epoch }]
    }
}

/// A node that heard nothing since it started has not heard the writer either.
fn not_heard(about: &Inspected, epoch: Epoch, unheard: Duration) -> bool {
    about
        .heard
        .is_none_or(|(from, ago)| from < epoch || ago > unheard)
}
