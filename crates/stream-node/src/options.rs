//! Settings of the stream-node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the stream-node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Rows of one shard are flushed when they hold this many bytes in memory.
    pub segment_bytes_max: u64,
    /// Rows of a shard are flushed when this many bytes of log came after the first of them: the bound of
    /// what a restart has to replay.
    pub replay_bytes_max: u64,
    /// How long a flushed segment still answers reads of older manifest versions, and how long the log
    /// keeps what a flush made superfluous.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// How often what lingers, the log's length and the conditions of a flush are looked at.
    #[serde(with = "humantime_serde")]
    pub maintenance_period: Duration,
    /// How long a write waits for memory before it is refused.
    #[serde(with = "humantime_serde")]
    pub memory_wait_max: Duration,
    /// Bytes of writes that may be on their way to the log at a time, a channel.
    pub inflight_bytes_max: u64,
    /// Longest pause before a failed flush is tried again.
    #[serde(with = "humantime_serde")]
    pub flush_retry_max: Duration,
    /// How far beyond this node's clock a read may ask to see.
    #[serde(with = "humantime_serde")]
    pub future_read_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: 512 << 20,
            replay_bytes_max: 512 << 20,
            linger: Duration::from_secs(5),
            maintenance_period: Duration::from_millis(500),
            memory_wait_max: Duration::from_secs(2),
            inflight_bytes_max: 256 << 20,
            flush_retry_max: Duration::from_secs(10),
            future_read_max: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// Checks what a type can't say.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn validate(&self) -> Result<(), String> {
        for (key, bytes, least) in [
            ("segment_bytes_max", self.segment_bytes_max, 1 << 20),
            ("replay_bytes_max", self.replay_bytes_max, 1 << 20),
            ("inflight_bytes_max", self.inflight_bytes_max, 1 << 20),
        ] {
            if bytes < least {
                return Err(format!("{key}: {bytes} is less than {least}"));
            }
        }
        if self.maintenance_period.is_zero() {
            return Err("maintenance_period: it must not be zero".to_owned());
        }
        Ok(())
    }
}
