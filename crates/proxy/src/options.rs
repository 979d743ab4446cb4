//! Settings of the proxy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Largest message a client may send, in bytes.
    pub message_bytes_max: usize,
    /// Largest answer, in bytes.
    pub answer_bytes_max: usize,
    /// How long a request waits for memory before it is refused.
    #[serde(with = "humantime_serde")]
    pub memory_wait_max: Duration,
    /// How long a read waits for a state that satisfies its guarantee, when the client set no deadline.
    #[serde(with = "humantime_serde")]
    pub read_wait_max: Duration,
    /// How often a partial upsert is tried again when its rows change under it.
    pub partial_upsert_tries_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_bytes_max: holdfast_types::limits::MAX_MESSAGE_BYTES,
            answer_bytes_max: 256 << 20,
            memory_wait_max: Duration::from_secs(2),
            read_wait_max: Duration::from_secs(30),
            partial_upsert_tries_max: 20,
        }
    }
}
