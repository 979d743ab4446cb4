//! The one place where a [`Failure`] becomes what a client sees.
//!
//! A failed request is a [`Status`] inside an ordinary answer; [`tonic_status`] is for the refusals
//! below the request: calls that are not built, and calls whose answer holds no `Status`.

use std::collections::HashMap;

use holdfast_types::{Code, Failure};

use crate::milvus::common::{ErrorCode, Status};

/// Code that clients know as "unexpected error".
const UNEXPECTED: i32 = 65_535;
/// What a client reads in place of a text that names our internals.
const INTERNAL_TEXT: &str = "internal error, the log of the server says more";

/// How one kind of failure looks on the public wire.
struct Face {
    code: i32,
    legacy: ErrorCode,
    /// Whether the same request may succeed later.
    retriable: bool,
    /// Whether the request itself is at fault.
    input: bool,
}

/// The numbers are those of Milvus, so that clients and test suites recognize them.
fn face(code: Code) -> Face {
    let input = |code, legacy| Face {
        code,
        legacy,
        retriable: false,
        input: true,
    };
    let ours = |code, legacy, retriable| Face {
        code,
        legacy,
        retriable,
        input: false,
    };
    match code {
        Code::InvalidArgument => input(1100, ErrorCode::IllegalArgument),
        Code::DatabaseNotFound => input(800, ErrorCode::UnexpectedError),
        Code::CollectionNotFound => input(100, ErrorCode::CollectionNotExists),
        Code::CollectionNotLoaded => input(101, ErrorCode::UnexpectedError),
        Code::PartitionNotFound => input(200, ErrorCode::MetaFailed),
        Code::PartitionNotLoaded => input(201, ErrorCode::UnexpectedError),
        Code::IndexNotFound => input(700, ErrorCode::IndexNotExist),
        Code::AliasNotFound => input(1600, ErrorCode::UnexpectedError),
        Code::AliasNameConflict => input(1601, ErrorCode::UnexpectedError),
        Code::AliasExists => input(1602, ErrorCode::UnexpectedError),
        Code::SchemaMismatch => input(109, ErrorCode::SchemaMismatch),
        Code::Unsupported => input(3000, ErrorCode::UnexpectedError),
        Code::RateLimited => ours(8, ErrorCode::RateLimit, true),
        Code::QuotaExceeded => ours(9, ErrorCode::ForceDeny, false),
        Code::NotLeader => ours(503, ErrorCode::NoReplicaAvailable, true),
        Code::Unavailable | Code::Conflict => ours(2, ErrorCode::UnexpectedError, true),
        Code::DeadlineExceeded => ours(10_001, ErrorCode::UnexpectedError, false),
        Code::Corrupt => ours(1001, ErrorCode::UnexpectedError, false),
        Code::OutcomeUnknown | Code::Internal => {
            ours(UNEXPECTED, ErrorCode::UnexpectedError, false)
        }
    }
}

/// Success. Nothing is set: clients read numbers out of a non-empty `extra_info`.
#[must_use]
pub fn ok() -> Status {
    Status::default()
}

/// The failure as clients know it. A failure that a person has to look into is logged here, and only
/// here is an internal text withheld.
#[must_use]
pub fn from_failure(failure: &Failure) -> Status {
    let face = face(failure.code);
    let text = public_text(failure);
    Status {
        error_code: face.legacy.into(),
        reason: text.clone(),
        code: face.code,
        retriable: face.retriable,
        detail: text,
        extra_info: if face.input {
            HashMap::from([("is_input_error".to_owned(), "true".to_owned())])
        } else {
            HashMap::new()
        },
    }
}

/// `Ok(())` is success.
#[must_use]
pub fn from_result(result: &Result<(), Failure>) -> Status {
    match result {
        Ok(()) => ok(),
        Err(failure) => from_failure(failure),
    }
}

/// The failure as a gRPC status, for calls that are refused as a whole.
#[must_use]
pub fn tonic_status(failure: &Failure) -> tonic::Status {
    let code = match failure.code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::DatabaseNotFound
        | Code::CollectionNotFound
        | Code::PartitionNotFound
        | Code::IndexNotFound
        | Code::AliasNotFound => tonic::Code::NotFound,
        Code::CollectionNotLoaded | Code::PartitionNotLoaded | Code::SchemaMismatch => {
            tonic::Code::FailedPrecondition
        }
        Code::AliasNameConflict | Code::AliasExists => tonic::Code::AlreadyExists,
        Code::RateLimited | Code::QuotaExceeded => tonic::Code::ResourceExhausted,
        Code::NotLeader | Code::Unavailable => tonic::Code::Unavailable,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::OutcomeUnknown => tonic::Code::Unknown,
        Code::Conflict => tonic::Code::Aborted,
        Code::Corrupt => tonic::Code::DataLoss,
        Code::Unsupported => tonic::Code::Unimplemented,
        Code::Internal => tonic::Code::Internal,
    };
    tonic::Status::new(code, public_text(failure))
}

fn public_text(failure: &Failure) -> String {
    match failure.code {
        Code::Internal => {
            tracing::error!(error = %failure, "a defect failed a request");
            INTERNAL_TEXT.to_owned()
        }
        Code::Corrupt => {
            tracing::error!(error = %failure, "damaged bytes failed a request");
            failure.message.clone()
        }
        _ => failure.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Code; 21] = [
        Code::InvalidArgument,
        Code::DatabaseNotFound,
        Code::CollectionNotFound,
        Code::CollectionNotLoaded,
        Code::PartitionNotFound,
        Code::PartitionNotLoaded,
        Code::IndexNotFound,
        Code::AliasNotFound,
        Code::AliasNameConflict,
        Code::AliasExists,
        Code::SchemaMismatch,
        Code::RateLimited,
        Code::QuotaExceeded,
        Code::NotLeader,
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::OutcomeUnknown,
        Code::Conflict,
        Code::Corrupt,
        Code::Unsupported,
        Code::Internal,
    ];

    #[test]
    fn every_failure_is_seen_by_old_and_by_new_clients() {
        for code in ALL {
            let status = from_failure(&Failure::new(code, "why"));
            assert_ne!(status.code, 0, "{code:?}");
            assert_ne!(status.error_code, 0, "{code:?}");
            assert!(!status.reason.is_empty(), "{code:?}");
            assert_eq!(status.reason, status.detail, "{code:?}");
            assert_ne!(
                tonic_status(&Failure::new(code, "why")).code(),
                tonic::Code::Ok,
                "{code:?}"
            );
        }
    }

    #[test]
    fn codes_are_those_that_clients_know() {
        #[track_caller]
        fn check(code: Code, expect: (i32, i32, bool)) {
            let s = from_failure(&Failure::new(code, "why"));
            assert_eq!((s.code, s.error_code, s.retriable), expect, "{code:?}");
        }
        check(Code::InvalidArgument, (1100, 5, false));
        check(Code::CollectionNotFound, (100, 4, false));
        check(Code::PartitionNotFound, (200, 15, false));
        check(Code::IndexNotFound, (700, 25, false));
        check(Code::SchemaMismatch, (109, 62, false));
        check(Code::RateLimited, (8, 49, true));
        check(Code::QuotaExceeded, (9, 48, false));
        check(Code::NotLeader, (503, 46, true));
        check(Code::Internal, (65_535, 1, false));
    }

    #[test]
    fn only_the_request_s_own_fault_is_an_input_error() {
        let flag = |code| {
            let status = from_failure(&Failure::new(code, "why"));
            status.extra_info.get("is_input_error").cloned()
        };
        assert_eq!(flag(Code::InvalidArgument).as_deref(), Some("true"));
        assert_eq!(flag(Code::CollectionNotFound).as_deref(), Some("true"));
        for code in [Code::RateLimited, Code::Unavailable, Code::Internal] {
            assert_eq!(flag(code), None, "{code:?}");
        }
        assert!(ok().extra_info.is_empty());
        assert_eq!((ok().code, ok().error_code), (0, 0));
    }

    #[test]
    fn an_internal_text_stays_on_the_server() {
        let failure = Failure::internal("row 7 of /secret/path");
        assert_eq!(from_failure(&failure).reason, INTERNAL_TEXT);
        assert_eq!(tonic_status(&failure).message(), INTERNAL_TEXT);
    }

    #[test]
    fn a_call_that_is_not_built_says_so() {
        let status = tonic_status(&Failure::new(Code::Unsupported, "Import is not built"));
        assert_eq!(status.code(), tonic::Code::Unimplemented);
        assert_eq!(status.message(), "Import is not built");
    }
}
