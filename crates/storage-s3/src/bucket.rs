//! Opening a bucket as an `ObjectStore`.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder,
    path::Path as Location, prefix::PrefixStore,
};

use crate::{Credentials, Options, explained::Explained};

/// First and longest pause before a request is sent again.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The bucket's client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{name}: its client cannot be made")]
pub struct OpenError {
    name: String,
    #[source]
    source: object_store::Error,
}

/// The objects of a bucket under the prefix. Nothing is sent yet.
///
/// A request is sent again, with growing pauses, when the bucket answers 5xx or 429 or cannot be reached; also when
/// the answer is lost, if doing it twice is the same as once. A conditional put that is sent again may find its
/// own object there: whoever puts treats "exists already" as a name used up.
///
/// # Errors
/// [`OpenError`].
pub fn open(
    options: &Options,
    credentials: &Credentials,
) -> Result<Arc<dyn ObjectStore>, OpenError> {
    // The first one stays; it is only a default for whoever names none.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = ClientOptions::new()
        .with_connect_timeout(options.connect_timeout)
        .with_timeout(options.request_timeout)
        .with_allow_http(options.endpoint.starts_with("http://"));
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: PAUSE_FIRST,
            max_backoff: PAUSE_MAX,
            base: 2.0,
        },
        max_retries: options.retries_max,
        retry_timeout: options.retry_time_max,
    };
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&options.bucket)
        .with_region(&options.region)
        .with_virtual_hosted_style_request(!options.path_style)
        .with_client_options(client)
        .with_retry(retry);
    let builder = match options.endpoint.as_str() {
        "" => builder,
        endpoint => builder.with_endpoint(endpoint),
    };
    let bucket = credentials.give(builder).build();
    let bucket = bucket.map_err(|source| OpenError {
        name: options.name(),
        source,
    })?;
    let explained = Explained::new(bucket, options.clone());
    Ok(match options.prefix.as_str() {
        "" => Arc::new(explained),
        prefix => Arc::new(PrefixStore::new(explained, Location::from(prefix))),
    })
}
