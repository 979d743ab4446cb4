//! Settings of a bucket. Credentials are none of them: they would be shown by whoever shows settings.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Where the bucket is, and how patient its client is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The bucket.
    pub bucket: String,
    /// All objects have names that begin with this, and a slash. Empty: the bucket is the cluster's alone.
    pub prefix: String,
    /// `https://host:port` or `http://host:port`; empty: that of AWS in the region.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket is part of the path. Off: it is part of the endpoint's name.
    pub path_style: bool,
    /// A file of profiles as the AWS tools write it; empty: credentials come from the environment.
    pub credentials_file: PathBuf,
    /// Which profile of that file.
    pub profile: String,
    /// How long a connection may take to be made.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How long one try of a request may take, its whole body included.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How often a request is sent again after the bucket was busy or out of reach.
    pub retries_max: usize,
    /// Time after which a request is not sent again.
    #[serde(with = "humantime_serde")]
    pub retry_time_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            region: "us-east-1".to_owned(),
            path_style: true,
            credentials_file: PathBuf::new(),
            profile: "default".to_owned(),
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(120),
            retries_max: 5,
            retry_time_max: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// Checks the ranges.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub fn validate(&self) -> Result<(), String> {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !(3..=63).contains(&self.bucket.len()) || !self.bucket.chars().all(letters) {
            return Err(format!(
                "bucket: {:?} is not 3 to 63 letters, digits, '-', '.' or '_'",
                self.bucket
            ));
        }
        let parts = || self.prefix.split('/');
        let plain = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && part.chars().all(letters)
        };
        if !self.prefix.is_empty() && !parts().all(plain) {
            return Err(format!(
                "prefix: {:?} is not names of letters, digits, '-', '.' and '_' with single slashes between them",
                self.prefix
            ));
        }
        if self.prefix.len() > 256 {
            return Err("prefix: more than 256 bytes".to_owned());
        }
        let host = self
            .endpoint
            .strip_prefix("https://")
            .or(self.endpoint.strip_prefix("http://"));
        match host {
            None if self.endpoint.is_empty() => {}
            // Whoever puts a password there would find it in the log; the value is not repeated here either.
            Some(host) if host.contains('@') => {
                return Err(
                    "endpoint: it holds a name or password before '@'; credentials come from the environment or \
                     credentials_file"
                        .to_owned(),
                );
            }
            Some(host) if !host.is_empty() && !host.contains(['?', '#', ' ']) => {}
            _ => {
                return Err(format!(
                    "endpoint: {:?} is not like https://host or http://host:9000",
                    self.endpoint
                ));
            }
        }
        if !self.path_style && !self.endpoint.is_empty() && !self.endpoint.contains(&self.bucket) {
            return Err(
                "path_style: when it is off, the endpoint's name must hold the bucket's, such as \
                 https://bucket.host"
                    .to_owned(),
            );
        }
        if self.region.is_empty() || !self.region.chars().all(letters) {
            return Err(format!("region: {:?} is no region", self.region));
        }
        for (name, value) in [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
        ] {
            if value < Duration::from_millis(100) {
                return Err(format!("{name}: {value:?} is below 100ms"));
            }
        }
        // Requests are not signed anew for another try, and signatures age.
        if self.retry_time_max > Duration::from_secs(300) {
            return Err(format!(
                "retry_time_max: {:?} is above 5m",
                self.retry_time_max
            ));
        }
        Ok(())
    }

    /// The bucket and prefix as people write them.
    #[must_use]
    pub fn name(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }

    /// Where requests go, as people write it.
    #[must_use]
    pub fn endpoint_name(&self) -> String {
        if self.endpoint.is_empty() {
            format!("AWS in {}", self.region)
        } else {
            self.endpoint.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_passwords_are_not_repeated() {
        #[track_caller]
        fn check(change: impl Fn(&mut Options), expect: &str) {
            let mut options = Options {
                bucket: "books".to_owned(),
                ..Options::default()
            };
            assert_eq!(options.validate(), Ok(()));
            change(&mut options);
            let refused = options.validate().unwrap_err();
            assert!(refused.starts_with(expect), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        check(|o| o.bucket = String::new(), "bucket");
        check(|o| o.bucket = "a/b/c".to_owned(), "bucket");
        for prefix in ["/a", "a/", "a//b", "../a", "a/./b", "a b"] {
            check(|o| o.prefix = prefix.to_owned(), "prefix");
        }
        for endpoint in ["here:9000", "ftp://here", "http://", "http://here/?x"] {
            check(|o| o.endpoint = endpoint.to_owned(), "endpoint");
        }
        check(
            |o| o.endpoint = "http://me:hunter2@here".to_owned(),
            "endpoint",
        );
        check(
            |o| {
                o.path_style = false;
                o.endpoint = "https://here".to_owned();
            },
            "path_style",
        );
        check(|o| o.region = String::new(), "region");
        check(|o| o.request_timeout = Duration::ZERO, "request_timeout");
        check(
            |o| o.retry_time_max = Duration::from_secs(301),
            "retry_time_max",
        );
    }
}
