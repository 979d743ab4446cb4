//! Which collection properties are accepted. Unknown ones are kept and shown: they are the client's.

use std::{collections::BTreeMap, time::Duration};

use holdfast_types::{Failure, Timestamp};

/// Seconds that a row lives.
pub(crate) const TTL: &str = "collection.ttl.seconds";
/// The key that changes a collection's consistency level.
pub(crate) const CONSISTENCY: &str = "consistency_level";
/// The key that changes a collection's description.
pub(crate) const DESCRIPTION: &str = "collection.description";
/// Where columns are read from. Holdfast maps all files; the setting is kept and shown.
pub(crate) const MMAP: &str = "mmap.enabled";
/// What to read ahead. Kept and shown.
pub(crate) const WARMUP: &str = "warmup";

/// A hundred years, as Milvus has it.
const TTL_SECONDS_MAX: i64 = 3_155_760_000;

/// Refuses a property whose value can't be used.
pub(crate) fn check(key: &str, value: &str) -> Result<(), Failure> {
    match key {
        TTL => {
            let seconds: i64 = value.parse().map_err(|_| {
                Failure::invalid(format!(
                    "collection TTL is not a valid positive integer: {TTL}={value}"
                ))
            })?;
            if !(-1..=TTL_SECONDS_MAX).contains(&seconds) {
                return Err(Failure::invalid(format!(
                    "collection TTL is out of range, expect [-1, {TTL_SECONDS_MAX}], got {seconds}"
                )));
            }
            Ok(())
        }
        MMAP => check_bool(key, value),
        _ => Ok(()),
    }
}

/// Refuses what is neither `true` nor `false`.
pub(crate) fn check_bool(key: &str, value: &str) -> Result<(), Failure> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "false" => Ok(()),
        _ => Err(Failure::invalid(format!(
            "invalid {key} value: {value}, expected: true, false"
        ))),
    }
}

/// Rows stamped at or before this have outlived the collection's time to live; `None` when it has none.
pub(crate) fn expired_before(
    properties: &BTreeMap<String, String>,
    now: Timestamp,
) -> Option<Timestamp> {
    let seconds: u64 = properties.get(TTL)?.parse().ok().filter(|&s| s > 0)?;
    let ttl = u64::try_from(Duration::from_secs(seconds).as_millis()).unwrap_or(u64::MAX);
    Some(Timestamp::from_unix_ms(now.unix_ms().saturating_sub(ttl)))
}

/// The wire number of a consistency level, given by name or number.
pub(crate) fn consistency(value: &str) -> Result<i32, Failure> {
    const NAMES: [&str; 5] = ["Strong", "Session", "Bounded", "Eventually", "Customized"];
    (0i32..)
        .zip(NAMES)
        .find(|(number, name)| value.eq_ignore_ascii_case(name) || value == number.to_string())
        .map(|(number, _)| number)
        .ok_or_else(|| Failure::invalid(format!("invalid consistency level: {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_number_of_seconds_up_to_a_century() {
        for good in ["-1", "0", "1", "3155760000"] {
            assert_eq!(check(TTL, good), Ok(()), "{good}");
        }
        for bad in ["", "x", "1.5", "-2", "3155760001", "99999999999999999999"] {
            let failure = check(TTL, bad).unwrap_err();
            assert!(
                failure.message.starts_with("collection TTL is "),
                "{failure}"
            );
        }
    }

    #[test]
    fn booleans_are_checked_and_strangers_kept() {
        assert_eq!(check(MMAP, "True"), Ok(()));
        assert_eq!(
            check(MMAP, "yes").unwrap_err().message,
            "invalid mmap.enabled value: yes, expected: true, false"
        );
        assert_eq!(check("my.own", "anything"), Ok(()));
    }

    #[test]
    fn rows_expire_after_their_time_to_live() {
        let now = Timestamp::from_unix_ms(100_000);
        let with =
            |ttl: &str| expired_before(&BTreeMap::from([(TTL.to_owned(), ttl.to_owned())]), now);
        assert_eq!(with("60"), Some(Timestamp::from_unix_ms(40_000)));
        assert_eq!(with("3155760000"), Some(Timestamp::ZERO));
        assert_eq!((with("0"), with("-1")), (None, None));
        assert_eq!(expired_before(&BTreeMap::new(), now), None);
    }

    #[test]
    fn consistency_levels_have_names_and_numbers() {
        assert_eq!(consistency("strong"), Ok(0));
        assert_eq!(consistency("2"), Ok(2));
        assert_eq!(consistency("Customized"), Ok(4));
        assert!(consistency("5").is_err() && consistency("").is_err());
    }
}
