//! Settings of the journal.

use serde::{Deserialize, Serialize};

use crate::{error::JournalError, format::BLOCK};

/// Settings of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Length of a file; a multiple of 4096, at least 64 KiB. What does not fit gets a longer one.
    pub file_bytes: u64,
    /// About how much one batch holds, and one sync makes durable, at most.
    pub batch_bytes_max: usize,
    /// The share of the disk, in percent, that appends leave free for what must still be written when it is full:
    /// promises, ends and trims. One file is set aside for them as well.
    pub reserve_percent: u8,
    /// Records waiting to be written, in bytes; beyond it submissions are refused as busy.
    pub queue_bytes_max: usize,
    /// Prepared files kept at most, the one set aside among them.
    pub spares_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_bytes: 256 << 20,
            batch_bytes_max: 4 << 20,
            reserve_percent: 2,
            queue_bytes_max: 64 << 20,
            spares_max: 3,
        }
    }
}

impl Options {
    /// Refuses settings that cannot work.
    ///
    /// # Errors
    /// [`JournalError::Options`] names the first one.
    pub fn validate(&self) -> Result<(), JournalError> {
        let refuse = |field, problem: String| Err(JournalError::Options { field, problem });
        let file = self.file_bytes;
        if !file.is_multiple_of(BLOCK) || !(64 << 10..=16 << 30).contains(&file) {
            let problem = format!("{file} is not a multiple of 4096 in 64 KiB..=16 GiB");
            return refuse("file_bytes", problem);
        }
        if !(1..=256 << 20).contains(&self.batch_bytes_max) {
            let problem = format!("{} is not in 1..=256 MiB", self.batch_bytes_max);
            return refuse("batch_bytes_max", problem);
        }
        if self.reserve_percent > 50 {
            let problem = format!("{} is not in 0..=50", self.reserve_percent);
            return refuse("reserve_percent", problem);
        }
        if self.queue_bytes_max == 0 {
            return refuse("queue_bytes_max", "0 would refuse everything".to_owned());
        }
        if !(1..=1024).contains(&self.spares_max) {
            let problem = format!("{} is not in 1..=1024", self.spares_max);
            return refuse("spares_max", problem);
        }
        Ok(())
    }
}
