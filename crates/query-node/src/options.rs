//! Settings of the query-node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the query-node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long an older manifest version is still served after a newer one is.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// How often versions that are no longer to be served are looked for.
    #[serde(with = "humantime_serde")]
    pub maintenance_period: Duration,
    /// How long a read waits for the log to be applied, or for a load, before it fails.
    #[serde(with = "humantime_serde")]
    pub wait_max: Duration,
    /// Longest pause before a failed load of a manifest version is tried again.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(10),
            maintenance_period: Duration::from_secs(1),
            wait_max: Duration::from_secs(30),
            retry_max: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// Checks what a type can't say.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn validate(&self) -> Result<(), String> {
        if self.maintenance_period.is_zero() {
            return Err("maintenance_period: it must not be zero".to_owned());
        }
        Ok(())
    }
}
