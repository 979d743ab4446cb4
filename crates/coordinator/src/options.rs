//! Settings of the coordinator.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How often everything is looked at for work that nobody announced.
    #[serde(with = "humantime_serde")]
    pub scheduling_period: Duration,
    /// Segments are merged into ones of up to this many bytes; those of half as many are left as they are.
    pub segment_bytes: u64,
    /// The same for a compaction that a client forces.
    pub forced_segment_bytes: u64,
    /// Small segments are merged when this many are found together.
    pub small_segments_min: usize,
    /// A segment is rewritten when more than this part of its rows is dead or expired.
    pub dead_fraction_max: f64,
    /// Dead rows are kept for this long, for reads at older stamps.
    #[serde(with = "humantime_serde")]
    pub dead_rows_retention: Duration,
    /// Segments of fewer rows get no index: comparing all rows is as fast.
    pub index_rows_min: u64,
    /// Index builds under way at a time.
    pub index_builds_max: usize,
    /// First pause before a failed job is tried again; doubled each time.
    #[serde(with = "humantime_serde")]
    pub retry_min: Duration,
    /// Longest pause before a failed job is tried again.
    #[serde(with = "humantime_serde")]
    pub retry_max: Duration,
    /// How long an object must have been unreachable before it is deleted. Longer than the longest read,
    /// and than any time from writing an object to the commit that names it.
    #[serde(with = "humantime_serde")]
    pub gc_grace: Duration,
    /// How often objects are looked through for unreachable ones.
    #[serde(with = "humantime_serde")]
    pub gc_period: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scheduling_period: Duration::from_secs(10),
            segment_bytes: 512 << 20,
            forced_segment_bytes: 4 << 30,
            small_segments_min: 4,
            dead_fraction_max: 0.2,
            dead_rows_retention: Duration::from_secs(600),
            index_rows_min: 1_024,
            index_builds_max: 1,
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            gc_grace: Duration::from_secs(3_600),
            gc_period: Duration::from_secs(600),
        }
    }
}

impl Options {
    /// Checks what a type can't say.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn validate(&self) -> Result<(), String> {
        for (key, period) in [
            ("scheduling_period", self.scheduling_period),
            ("retry_min", self.retry_min),
            ("gc_grace", self.gc_grace),
            ("gc_period", self.gc_period),
        ] {
            if period.is_zero() {
                return Err(format!("{key}: it must be longer than 0"));
            }
        }
        if self.retry_max < self.retry_min {
            return Err("retry_max: it is less than retry_min".to_owned());
        }
        if self.segment_bytes < 1 << 20 {
            return Err(format!(
                "segment_bytes: {} is less than {}",
                self.segment_bytes,
                1 << 20
            ));
        }
        if self.forced_segment_bytes < self.segment_bytes {
            return Err("forced_segment_bytes: it is less than segment_bytes".to_owned());
        }
        if self.small_segments_min < 2 {
            return Err(format!(
                "small_segments_min: {} is less than 2",
                self.small_segments_min
            ));
        }
        if !(self.dead_fraction_max > 0.0 && self.dead_fraction_max <= 1.0) {
            return Err(format!(
                "dead_fraction_max: {} is not above 0 and up to 1",
                self.dead_fraction_max
            ));
        }
        if self.index_builds_max == 0 {
            return Err("index_builds_max: it must be at least 1".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_a_file() {
        let options = Options::default();
        assert_eq!(options.validate(), Ok(()));
        let text = serde_json::to_string(&options).unwrap();
        assert!(text.contains(r#""dead_rows_retention":"10m""#), "{text}");
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
        assert!(serde_json::from_str::<Options>(r#"{"segment_byte": 1}"#).is_err());
    }

    #[test]
    fn senseless_settings_are_named() {
        type Spoil = fn(&mut Options);
        let cases: [(Spoil, &str); 8] = [
            (
                |o| o.scheduling_period = Duration::ZERO,
                "scheduling_period:",
            ),
            (|o| o.gc_grace = Duration::ZERO, "gc_grace:"),
            (|o| o.retry_max = Duration::ZERO, "retry_max:"),
            (|o| o.segment_bytes = 1, "segment_bytes:"),
            (
                |o| o.forced_segment_bytes = 2 << 20,
                "forced_segment_bytes:",
            ),
            (|o| o.small_segments_min = 1, "small_segments_min:"),
            (|o| o.dead_fraction_max = f64::NAN, "dead_fraction_max:"),
            (|o| o.index_builds_max = 0, "index_builds_max:"),
        ];
        for (spoil, key) in cases {
            let mut options = Options::default();
            spoil(&mut options);
            let problem = options.validate().unwrap_err();
            assert!(problem.starts_with(key), "{problem}");
        }
    }
}
