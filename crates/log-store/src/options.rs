//! Settings of object storage for logs.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Where ended segments are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// A directory that all log-nodes and all readers of the logs share, such as a mounted network file system. Empty:
    /// where the process is given a bucket, ended segments go there; else they stay on log-nodes.
    pub dir: PathBuf,
    /// About the most bytes of one object.
    pub object_bytes: usize,
    /// About the bytes of what is read at once.
    pub block_bytes: usize,
    /// Longest time that one call may take.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            object_bytes: 32 << 20,
            block_bytes: 1 << 20,
            patience: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        if self.block_bytes == 0 || self.object_bytes < self.block_bytes {
            return Err(format!(
                "block_bytes, object_bytes: {} and {} do not rise",
                self.block_bytes, self.object_bytes
            ));
        }
        if self.object_bytes > 1 << 30 {
            return Err(format!(
                "object_bytes: {} is above 1073741824",
                self.object_bytes
            ));
        }
        if self.patience < Duration::from_millis(10) {
            return Err(format!("patience: {:?} is below 10ms", self.patience));
        }
        Ok(())
    }
}
