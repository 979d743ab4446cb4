//! What a refusal of a bucket means, and what to do about it.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

use crate::Options;

/// Most bytes of the bucket's own words that are repeated.
const WORDS_MAX: usize = 300;

/// A failed request, in words that say whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no such bucket.
    #[error(
        "there is no bucket {bucket:?} at {endpoint}: create it, or correct bucket, endpoint and region"
    )]
    NoBucket {
        /// The bucket.
        bucket: String,
        /// Where it was looked for.
        endpoint: String,
    },
    /// No credentials were found.
    #[error(
        "no credentials for bucket {bucket:?}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or credentials_file, \
         or run where AWS gives the machine a role ({problem})"
    )]
    NoCredentials {
        /// The bucket.
        bucket: String,
        /// What was tried.
        problem: String,
    },
    /// The credentials are not known, or do not match.
    #[error(
        "bucket {bucket:?} does not accept the credentials ({words}): they are unknown at {endpoint}, have run out, or \
         the secret key is wrong"
    )]
    BadCredentials {
        /// The bucket.
        bucket: String,
        /// Where.
        endpoint: String,
        /// The bucket's words.
        words: String,
    },
    /// The two clocks differ too much.
    #[error("bucket {bucket:?} says that this machine's clock is wrong ({words}): synchronize it")]
    Clock {
        /// The bucket.
        bucket: String,
        /// The bucket's words.
        words: String,
    },
    /// The credentials are good, and not good enough.
    #[error(
        "bucket {bucket:?} refuses access ({words}): allow s3:GetObject, s3:PutObject, s3:DeleteObject and \
         s3:ListBucket for these credentials"
    )]
    Denied {
        /// The bucket.
        bucket: String,
        /// The bucket's words.
        words: String,
    },
    /// The bucket is in another region.
    #[error("bucket {bucket:?} is not in region {region:?} ({words}): correct region or endpoint")]
    Region {
        /// The bucket.
        bucket: String,
        /// The region asked.
        region: String,
        /// The bucket's words.
        words: String,
    },
    /// It asks for patience, or is broken.
    #[error("bucket {bucket:?} is busy or out of order ({words})")]
    Busy {
        /// The bucket.
        bucket: String,
        /// The bucket's words.
        words: String,
    },
    /// Nobody answers at the endpoint.
    #[error("{endpoint} cannot be reached: {problem}")]
    OutOfReach {
        /// Where.
        endpoint: String,
        /// What the network said.
        problem: String,
    },
    /// An answer did not come in time.
    #[error("{endpoint} did not answer in time: {problem}")]
    Slow {
        /// Where.
        endpoint: String,
        /// What was waited for.
        problem: String,
    },
    /// Anything else.
    #[error("bucket {bucket:?} answers {words}")]
    Other {
        /// The bucket.
        bucket: String,
        /// The bucket's words.
        words: String,
    },
}

impl Fault {
    /// What the error means. `None`: it is one of those that the caller understands by its kind, such as an absent
    /// object.
    #[must_use]
    pub fn of(error: &object_store::Error, options: &Options) -> Option<Self> {
        let text = chain(error);
        let code = between(&text, "<Code>", "</Code>");
        let by_code = code.and_then(|code| Self::of_code(code, &text, options));
        if by_code.is_some() {
            return by_code;
        }
        if matches!(
            error,
            object_store::Error::NotFound { .. }
                | object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotModified { .. }
                | object_store::Error::NotImplemented { .. }
        ) {
            return None;
        }
        Some(Self::of_status(error, &text, options))
    }

    fn of_code(code: &str, text: &str, options: &Options) -> Option<Self> {
        let bucket = options.bucket.clone();
        let words = words(text);
        Some(match code {
            "NoSuchBucket" => Self::NoBucket {
                bucket,
                endpoint: options.endpoint_name(),
            },
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "InvalidSecurity" => Self::BadCredentials {
                bucket,
                endpoint: options.endpoint_name(),
                words,
            },
            "RequestTimeTooSkewed" => Self::Clock { bucket, words },
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => {
                Self::Denied { bucket, words }
            }
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => Self::Region {
                bucket,
                region: options.region.clone(),
                words,
            },
            "SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestLimitExceeded" => {
                Self::Busy { bucket, words }
            }
            _ => return None,
        })
    }

    fn of_status(error: &object_store::Error, text: &str, options: &Options) -> Self {
        let bucket = options.bucket.clone();
        let endpoint = options.endpoint_name();
        let words = words(text);
        let http = find::<HttpError>(error);
        // The addresses where AWS gives a machine its credentials; no other request goes there.
        let asked_the_machine = text.contains("169.254.169.254")
            || text.contains("169.254.170.2")
            || text.contains("169.254.170.23");
        if asked_the_machine {
            let problem = "the machine's own role was asked for, in vain".to_owned();
            return Self::NoCredentials { bucket, problem };
        }
        if let Some(http) = http {
            let problem = innermost(http);
            return match http.kind() {
                HttpErrorKind::Timeout => Self::Slow { endpoint, problem },
                _ => Self::OutOfReach { endpoint, problem },
            };
        }
        if text.contains("redirect without LOCATION") {
            return Self::Region {
                bucket,
                region: options.region.clone(),
                words,
            };
        }
        match status(text) {
            Some(401) => Self::BadCredentials {
                bucket,
                endpoint,
                words,
            },
            Some(403) => Self::Denied { bucket, words },
            Some(301 | 307 | 308) => Self::Region {
                bucket,
                region: options.region.clone(),
                words,
            },
            Some(429 | 500..=599) => Self::Busy { bucket, words },
            _ => Self::Other { bucket, words },
        }
    }
}

/// The texts of an error and of all its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inside, _)| inside)
}

/// The HTTP status that the error's text tells.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// What the bucket said: status, code and message. Not the rest of its answer, which may tell the access key.
fn words(text: &str) -> String {
    let status = status(text).map(|status| status.to_string());
    let code = between(text, "<Code>", "</Code>").map(str::to_owned);
    let message = between(text, "<Message>", "</Message>").map(|m| format!("{m:?}"));
    let said: Vec<String> = [status, code, message].into_iter().flatten().collect();
    let said = match said.is_empty() {
        true => text.to_owned(),
        false => said.join(" "),
    };
    let end = said.floor_char_boundary(WORDS_MAX);
    said[..end].to_owned()
}
