//! Settings of a log-node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of a log-node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Bytes of entries that may wait for the disk; beyond it, appends are refused as busy.
    pub pending_bytes_max: u64,
    /// Most entries in one answer.
    pub read_entries_max: usize,
    /// Reads of the disk at one time.
    pub reads_max: usize,
    /// Time between two looks at how much room the disk has.
    #[serde(with = "humantime_serde")]
    pub room_every: Duration,
    /// Time between two raises of the generation. A copy of the disk that is older than the last one is recognised as
    /// old; one that is younger is not.
    #[serde(with = "humantime_serde")]
    pub raise_every: Duration,
    /// Below this share of free space, in percent, writers are asked to slow down and new segments go elsewhere.
    pub little_percent: u8,
    /// Below this share of free space, in percent, entries are refused.
    pub full_percent: u8,
    /// The journal's settings.
    pub journal: holdfast_journal::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pending_bytes_max: 64 << 20,
            read_entries_max: 4096,
            reads_max: 16,
            room_every: Duration::from_secs(1),
            raise_every: Duration::from_secs(60),
            little_percent: 20,
            full_percent: 5,
            journal: holdfast_journal::Options::default(),
        }
    }
}

impl Options {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        if self.pending_bytes_max == 0 {
            return Err("pending_bytes_max: 0 would refuse everything".to_owned());
        }
        if self.read_entries_max == 0 || self.reads_max == 0 {
            return Err("read_entries_max, reads_max: 0 would refuse everything".to_owned());
        }
        if self.room_every < Duration::from_millis(10) {
            return Err(format!("room_every: {:?} is below 10ms", self.room_every));
        }
        if self.raise_every < Duration::from_millis(10) {
            return Err(format!("raise_every: {:?} is below 10ms", self.raise_every));
        }
        if self.little_percent > 90 || self.full_percent > self.little_percent {
            return Err(format!(
                "full_percent, little_percent: {} and {} do not rise, or are above 90",
                self.full_percent, self.little_percent
            ));
        }
        self.journal.validate().map_err(|e| e.to_string())
    }
}
