//! Settings of a log-node's keeper.

use std::time::Duration;

use holdfast_qlog::{
    heal::{LOSS_GRACE, LocalRule, UPLOAD_PATIENCE},
    place::CopyRule,
};
use serde::{Deserialize, Serialize};

/// Settings of the keeper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Time between two looks at the logs and at the other log-nodes.
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
    /// Copies that a segment is to have while object storage does not have it.
    pub copies: usize,
    /// Silence after which a log-node counts as lost.
    #[serde(with = "humantime_serde")]
    pub loss_grace: Duration,
    /// Time without progress after which the next in line uploads or copies a segment.
    #[serde(with = "humantime_serde")]
    pub upload_patience: Duration,
    /// Time after which object storage that failed is tried again. Meanwhile segments are copied from node to node.
    #[serde(with = "humantime_serde")]
    pub store_retry: Duration,
    /// Segments that object storage has are kept here as well up to so many bytes; the oldest go.
    pub local_bytes: u64,
    /// Segments that object storage has are kept here as well for so long.
    #[serde(with = "humantime_serde")]
    pub local_age: Duration,
    /// Time between two looks for objects that nobody can reach.
    #[serde(with = "humantime_serde")]
    pub garbage_every: Duration,
    /// How long such objects stay, for readers that are at them.
    #[serde(with = "humantime_serde")]
    pub garbage_grace: Duration,
    /// Time between the ends and the beginnings of reading everything on this disk, to find damage.
    #[serde(with = "humantime_serde")]
    pub scrub_every: Duration,
    /// Most bytes a second of that.
    pub scrub_bytes_per_second: u64,
    /// Time after which another log-node is asked again.
    #[serde(with = "humantime_serde")]
    pub resend_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(5),
            copies: CopyRule::default().copies,
            loss_grace: LOSS_GRACE,
            upload_patience: UPLOAD_PATIENCE,
            store_retry: Duration::from_secs(30),
            local_bytes: 4 << 30,
            local_age: Duration::from_secs(3600),
            garbage_every: Duration::from_secs(600),
            garbage_grace: Duration::from_secs(600),
            scrub_every: Duration::from_secs(24 * 3600),
            scrub_bytes_per_second: 32 << 20,
            resend_after: Duration::from_millis(500),
        }
    }
}

impl Options {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        let times = [
            ("look_every", self.look_every),
            ("upload_patience", self.upload_patience),
            ("store_retry", self.store_retry),
            ("garbage_every", self.garbage_every),
            ("scrub_every", self.scrub_every),
            ("resend_after", self.resend_after),
        ];
        for (name, value) in times {
            if value < Duration::from_millis(10) {
                return Err(format!("{name}: {value:?} is below 10ms"));
            }
        }
        if !(2..=9).contains(&self.copies) {
            return Err(format!("copies: {} is not in 2..=9", self.copies));
        }
        if self.scrub_bytes_per_second == 0 {
            return Err("scrub_bytes_per_second: 0 would never end".to_owned());
        }
        Ok(())
    }

    pub(crate) fn rule(&self) -> CopyRule {
        CopyRule {
            copies: self.copies,
            ..CopyRule::default()
        }
    }

    pub(crate) fn local(&self) -> LocalRule {
        LocalRule {
            bytes: self.local_bytes,
            age: self.local_age,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        fn check(change: impl Fn(&mut Options), expect: &str) {
            let mut options = Options::default();
            assert_eq!(options.validate(), Ok(()));
            change(&mut options);
            let refused = options.validate().unwrap_err();
            assert!(refused.starts_with(expect), "{refused}");
        }
        check(|o| o.look_every = Duration::ZERO, "look_every");
        check(|o| o.scrub_every = Duration::ZERO, "scrub_every");
        check(|o| o.copies = 1, "copies");
        check(|o| o.scrub_bytes_per_second = 0, "scrub_bytes_per_second");
    }
}
