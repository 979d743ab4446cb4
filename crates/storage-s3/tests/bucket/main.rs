//! A bucket over HTTP: the contract of object stores, what the check finds, and what refusals say.

mod server;

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use holdfast_storage::{CacheOptions, Store, contract};
use holdfast_storage_s3::{
    Credentials, Options,
    check::{self, Conditional, Need},
    open,
};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use server::{ACCESS_KEY, BUCKET, Mood, S3Server, SECRET_KEY};

fn options(server: &S3Server) -> Options {
    Options {
        bucket: BUCKET.to_owned(),
        endpoint: server.endpoint(),
        retries_max: 2,
        ..Options::default()
    }
}

fn credentials(secret: &str) -> Credentials {
    let variable = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some(ACCESS_KEY.to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some(secret.to_owned()),
        _ => None,
    };
    Credentials::load(&Options::default(), variable).expect("both halves are given")
}

fn bucket(options: &Options) -> Arc<dyn ObjectStore> {
    open(options, &credentials(SECRET_KEY)).expect("both halves are given")
}

#[tokio::test]
async fn a_bucket_keeps_the_contract_of_object_stores() {
    let server = S3Server::start().await;
    let folders = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let fresh = |objects: Arc<dyn ObjectStore>| {
        let cache = CacheOptions {
            folder: folders.path().join(count.get().to_string()),
            bytes_max: 32 << 20,
        };
        Store::new(objects, &cache).unwrap()
    };
    let prefixed = || {
        count.set(count.get() + 1);
        bucket(&Options {
            prefix: format!("clusters/{}", count.get()),
            ..options(&server)
        })
    };
    contract::run(|| async { fresh(prefixed()) }).await;
    contract::run(|| async { fresh(prefixed()).without_conditional_puts() }).await;
}

#[tokio::test]
async fn the_check_finds_what_a_bucket_can_do() {
    let server = S3Server::start().await;
    let bucket = bucket(&options(&server));
    assert_eq!(check::probe(&*bucket).await.unwrap(), Conditional::Enforced);
    let report = check::run(&*bucket).await;
    let problems: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.problem.is_some())
        .collect();
    assert!(problems.is_empty() && report.suffices(), "{problems:#?}");
    assert_eq!(report.findings.len(), 10);
    assert_eq!(server.objects(), 0, "the check left something behind");
}

#[tokio::test]
async fn a_bucket_that_ignores_conditions_is_found_out_and_still_suffices() {
    let server = S3Server::start().await;
    server.set(Mood::NoConditions);
    let bucket = bucket(&options(&server));
    assert_eq!(check::probe(&*bucket).await.unwrap(), Conditional::Ignored);
    let report = check::run(&*bucket).await;
    let lacking: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.problem.is_some())
        .collect();
    let needs: Vec<Need> = lacking.iter().map(|f| f.need).collect();
    assert_eq!(needs, [Need::Guard, Need::Unused], "{lacking:#?}");
    assert!(report.suffices());
}

#[tokio::test]
async fn a_refusal_says_whose_fault_it_is_and_no_secret() {
    #[track_caller]
    fn check(error: &object_store::Error, expect: &str) {
        let text = format!("{error} {error:?}");
        assert!(text.contains(expect), "{text}");
        assert!(
            !text.contains(SECRET_KEY) && !text.contains("AWSAccessKeyId"),
            "{text}"
        );
    }
    let server = S3Server::start().await;
    let place = Path::from("a");
    let error = open(&options(&server), &credentials("wrong")).unwrap();
    check(
        &error.get(&place).await.unwrap_err(),
        "does not accept the credentials",
    );

    let bucket = bucket(&options(&server));
    let absent = bucket.get(&place).await.unwrap_err();
    assert!(
        matches!(absent, object_store::Error::NotFound { .. }),
        "{absent}"
    );
    server.set(Mood::Answer(StatusCode::NOT_FOUND, "NoSuchBucket"));
    check(
        &bucket.get(&place).await.unwrap_err(),
        "there is no bucket \"books\"",
    );
    server.set(Mood::Answer(StatusCode::FORBIDDEN, "AccessDenied"));
    check(
        &bucket.get(&place).await.unwrap_err(),
        "refuses access (403 AccessDenied",
    );
    check(
        &bucket.put(&place, "x".into()).await.unwrap_err(),
        "s3:PutObject",
    );
    server.set(Mood::Answer(StatusCode::FORBIDDEN, "RequestTimeTooSkewed"));
    check(&bucket.get(&place).await.unwrap_err(), "clock is wrong");
    server.set(Mood::Answer(
        StatusCode::BAD_REQUEST,
        "AuthorizationHeaderMalformed",
    ));
    check(
        &bucket.get(&place).await.unwrap_err(),
        "is not in region \"us-east-1\"",
    );
    server.set(Mood::Answer(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"));
    let asked = server.requests();
    check(
        &bucket.get(&place).await.unwrap_err(),
        "is busy or out of order (503 SlowDown",
    );
    assert_eq!(server.requests() - asked, 3, "one try and two more");
    server.set(Mood::Well);
    bucket.put(&place, "x".into()).await.unwrap();
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let server = S3Server::start().await;
    let bucket = bucket(&options(&server));
    server.set(Mood::BusyFor(2));
    bucket.put(&Path::from("a"), "x".into()).await.unwrap();
    assert_eq!(bucket.get(&Path::from("a")).await.unwrap().meta.size, 1);
}

#[tokio::test]
async fn silence_and_absence_are_told_apart() {
    let server = S3Server::start().await;
    server.set(Mood::Silent);
    let patient = Options {
        request_timeout: Duration::from_millis(200),
        retries_max: 0,
        ..options(&server)
    };
    let place = Path::from("a");
    let error = bucket(&patient).get(&place).await.unwrap_err().to_string();
    assert!(error.contains("did not answer in time"), "{error}");
    let unbound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unbound.local_addr().unwrap();
    drop(unbound);
    for endpoint in [
        format!("http://{address}"),
        "http://no-such-host.invalid:9000".to_owned(),
    ] {
        let away = Options {
            endpoint: endpoint.clone(),
            ..patient.clone()
        };
        let error = bucket(&away).get(&place).await.unwrap_err().to_string();
        assert!(
            error.contains(&endpoint) && error.contains("cannot be reached"),
            "{error}"
        );
    }
}
