//! What an error of etcd says about the request that it answers.
//!
//! For a write only one question counts: is it certain that nothing happened, now or later? etcd says so when
//! it refuses a request before it proposes it to the members, and so does a connection that was never made.
//! Everything else (a broken connection, a deadline, a change of leader) leaves it open.

use std::error::Error as _;

use etcd_client::Error;
use holdfast_meta::MetaError;
use tonic::{Code, ConnectError, Status};

/// Why a request was not answered as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The member did nothing and will do nothing: any member may be asked again.
    NotApplied(String),
    /// Nobody knows whether a write happened, or will. A read may be repeated.
    Unknown(String),
    /// The request is wrong, everywhere and always.
    Refused(String),
    /// The credentials or their rights are not enough.
    Denied(String),
    /// The revision asked for is no longer remembered.
    Compacted,
    /// The answer is larger than this client takes.
    AnswerTooLarge(String),
}

impl Fault {
    /// Whether another member, or the same one a little later, may do better.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::NotApplied(_) | Self::Unknown(_))
    }

    /// The error for the caller; `what` names the servers.
    pub(crate) fn into_meta(self, what: &str) -> MetaError {
        let what = what.to_owned();
        match self {
            Self::NotApplied(problem) => MetaError::OutOfReach { what, problem },
            Self::Unknown(problem) => MetaError::OutcomeUnknown { what, problem },
            Self::Refused(problem) => MetaError::Refused(format!("{what}: {problem}")),
            Self::Denied(problem) => MetaError::Denied { what, problem },
            Self::Compacted => MetaError::OutOfReach {
                what,
                problem: "a revision was compacted while it was read".to_owned(),
            },
            Self::AnswerTooLarge(problem) => MetaError::Damaged { what, problem },
        }
    }

    /// What is known about this fault.
    pub(crate) fn problem(&self) -> &str {
        match self {
            Self::NotApplied(problem)
            | Self::Unknown(problem)
            | Self::Refused(problem)
            | Self::Denied(problem)
            | Self::AnswerTooLarge(problem) => problem,
            Self::Compacted => "compacted",
        }
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        match error {
            Error::GRpcStatus(status) => Self::from(status),
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                Self::Refused(error.to_string())
            }
            // A transport error by itself comes from connecting: requests report theirs as a status.
            Error::TransportError(transport) => Self::NotApplied(chain(transport)),
            _ => Self::Unknown(error.to_string()),
        }
    }
}

impl From<&Status> for Fault {
    fn from(status: &Status) -> Self {
        let said = status.message().to_owned();
        if never_connected(status) {
            return Self::NotApplied(said);
        }
        match status.code() {
            Code::OutOfRange if said.contains("compacted") => Self::Compacted,
            Code::OutOfRange if said.contains("message length too large") => {
                Self::AnswerTooLarge(said)
            }
            Code::PermissionDenied => Self::Denied(said),
            Code::InvalidArgument | Code::FailedPrecondition if is_about_login(&said) => {
                Self::Denied(said)
            }
            // The token or the rights it stands for are older than the member's: log in again.
            Code::Unauthenticated => Self::NotApplied(said),
            Code::InvalidArgument if said.contains("revision of auth store is old") => {
                Self::NotApplied(said)
            }
            Code::InvalidArgument | Code::NotFound | Code::Unimplemented | Code::OutOfRange => {
                Self::Refused(said)
            }
            // Answered by the interceptor that looks for a leader, before the request is read.
            Code::Unavailable if said == "etcdserver: no leader" => Self::NotApplied(said),
            Code::Unavailable if said == "etcdserver: not capable" => Self::NotApplied(said),
            // The member did not even decode it.
            Code::ResourceExhausted if said.contains("received message larger than max") => {
                Self::Refused(said)
            }
            // Answered before the request is proposed. "Space exceeded" has the same code, but the
            // transaction that first goes over the quota is applied and gets that answer too.
            Code::ResourceExhausted if said.contains("too many requests") => Self::NotApplied(said),
            // The member knew of no leader to pass it to.
            Code::Unknown if said == "raft proposal dropped" => Self::NotApplied(said),
            _ if said.is_empty() => Self::Unknown(status.code().to_string()),
            _ => Self::Unknown(said),
        }
    }
}

fn is_about_login(said: &str) -> bool {
    [
        "authentication failed",
        "user name is empty",
        "user name not found",
        "authentication is not enabled",
    ]
    .iter()
    .any(|text| said.contains(text))
}

/// Whether the request failed because there was no connection to send it on.
fn never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: Code, said: &str, expect: fn(String) -> Fault) {
        let fault = Fault::from(&Status::new(code, said));
        assert_eq!(fault, expect(said.to_owned()), "{code:?} {said}");
    }

    #[test]
    fn only_what_is_refused_before_it_is_proposed_is_certainly_not_applied() {
        let not_applied = [
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::ResourceExhausted, "etcdserver: too many requests"),
            (Code::Unauthenticated, "etcdserver: invalid auth token"),
            (Code::Unknown, "raft proposal dropped"),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
            ),
        ];
        for (code, said) in not_applied {
            check(code, said, Fault::NotApplied);
        }
        let unknown = [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            (Code::Unknown, "transport error"),
            (Code::Cancelled, "h2 protocol error"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
        ];
        for (code, said) in unknown {
            check(code, said, Fault::Unknown);
        }
    }

    #[test]
    fn wrong_requests_and_wrong_passwords_are_told_apart() {
        check(
            Code::InvalidArgument,
            "etcdserver: request is too large",
            Fault::Refused,
        );
        check(
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
            Fault::Denied,
        );
        check(
            Code::PermissionDenied,
            "etcdserver: permission denied",
            Fault::Denied,
        );
        check(
            Code::FailedPrecondition,
            "etcdserver: authentication is not enabled",
            Fault::Denied,
        );
    }

    #[test]
    fn a_compacted_revision_is_its_own_fault() {
        let said = "etcdserver: mvcc: required revision has been compacted";
        check(Code::OutOfRange, said, |_| Fault::Compacted);
    }
}
