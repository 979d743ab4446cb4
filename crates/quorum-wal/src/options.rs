//! Settings of the quorum log's clients.

use std::time::Duration;

use holdfast_qlog::place::CopyRule;
use serde::{Deserialize, Serialize};

/// Settings of the quorum log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// While records that are not yet durable have so many bytes, no more are taken, a channel: one goes beyond at most.
    pub window_bytes: usize,
    /// Most records that are not yet durable, a channel.
    pub window_records: usize,
    /// About the most bytes of one message to a log-node.
    pub batch_bytes: usize,
    /// A segment of this size is followed by another.
    pub segment_bytes: u64,
    /// A segment that is not empty and this old is followed by another.
    #[serde(with = "humantime_serde")]
    pub segment_age: Duration,
    /// Time between signs of life.
    #[serde(with = "humantime_serde")]
    pub beat_every: Duration,
    /// Time after which a message without an answer is sent again.
    #[serde(with = "humantime_serde")]
    pub resend_after: Duration,
    /// A log-node that lags by more bytes than this is left behind.
    pub lag_bytes_max: u64,
    /// A log-node that lags for longer than this is left behind.
    #[serde(with = "humantime_serde")]
    pub lag_time_max: Duration,
    /// How long a recovery waits for a lost copy before another node takes its place.
    #[serde(with = "humantime_serde")]
    pub replace_after: Duration,
    /// Time between questions of a reader at the end of a log.
    #[serde(with = "humantime_serde")]
    pub poll_every: Duration,
    /// Most by which the clocks of two machines may differ.
    #[serde(with = "humantime_serde")]
    pub clock_skew_max: Duration,
    /// Copies of a segment.
    pub copies: usize,
    /// Durable copies before an acknowledgement.
    pub quorum: usize,
    /// Zones in which those copies lie. 1 where all log-nodes share one: such a cluster outlives the loss of a node, not of
    /// the zone.
    pub zones: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window_bytes: 32 << 20,
            window_records: 4096,
            batch_bytes: 1 << 20,
            segment_bytes: 128 << 20,
            segment_age: Duration::from_secs(600),
            beat_every: Duration::from_millis(50),
            resend_after: Duration::from_millis(500),
            lag_bytes_max: 32 << 20,
            lag_time_max: Duration::from_secs(2),
            replace_after: Duration::from_secs(3),
            poll_every: Duration::from_millis(5),
            clock_skew_max: Duration::from_millis(500),
            copies: 3,
            quorum: 2,
            zones: 2,
        }
    }
}

impl Options {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        let positive = [
            ("window_bytes", self.window_bytes),
            ("window_records", self.window_records),
            ("batch_bytes", self.batch_bytes),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(format!("{name}: 0 is too little"));
            }
        }
        if self.segment_bytes < 1 << 16 {
            return Err(format!(
                "segment_bytes: {} is below 65536",
                self.segment_bytes
            ));
        }
        let times = [
            ("segment_age", self.segment_age),
            ("beat_every", self.beat_every),
            ("resend_after", self.resend_after),
            ("lag_time_max", self.lag_time_max),
            ("replace_after", self.replace_after),
            ("poll_every", self.poll_every),
        ];
        for (name, value) in times {
            if value < Duration::from_millis(1) {
                return Err(format!("{name}: {value:?} is below 1ms"));
            }
        }
        if !(2..=9).contains(&self.copies) {
            return Err(format!("copies: {} is not in 2..=9", self.copies));
        }
        if self.quorum < 2 || self.quorum > self.copies || self.quorum * 2 <= self.copies {
            return Err(format!(
                "quorum: {} is not a majority of {} copies, or is below 2",
                self.quorum, self.copies
            ));
        }
        if self.zones == 0 || self.zones > self.quorum {
            return Err(format!(
                "zones: {} is not in 1..={}",
                self.zones, self.quorum
            ));
        }
        Ok(())
    }

    pub(crate) fn rule(&self) -> CopyRule {
        CopyRule {
            copies: self.copies,
            quorum: self.quorum,
            zones: self.zones,
            ..CopyRule::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_lose_data_are_refused_by_name() {
        fn check(change: impl Fn(&mut Options), expect: &str) {
            let mut options = Options::default();
            assert_eq!(options.validate(), Ok(()));
            change(&mut options);
            let refused = options.validate().unwrap_err();
            assert!(refused.starts_with(expect), "{refused}");
        }
        check(|o| o.quorum = 1, "quorum");
        check(|o| o.copies = 4, "quorum");
        check(|o| o.quorum = 4, "quorum");
        check(|o| o.zones = 0, "zones");
        check(|o| o.zones = 3, "zones");
        check(|o| o.copies = 1, "copies");
        check(|o| o.window_bytes = 0, "window_bytes");
        check(|o| o.segment_bytes = 1, "segment_bytes");
        check(|o| o.beat_every = Duration::ZERO, "beat_every");
    }
}
