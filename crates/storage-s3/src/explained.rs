//! A layer over a bucket that puts its faults in our words, and keeps large puts from async threads.

use std::{fmt, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    aws::AmazonS3, path::Path,
};

use tokio::runtime::Handle;

use crate::{Fault, Options};

/// Up to here the bytes of a put are hashed, for the request's signature, on an async thread; more would take it too long.
const HASH_INLINE_BYTES: usize = 256 << 10;

/// The bucket; every failure that the caller cannot tell by its kind says what it means.
#[derive(Debug)]
pub(crate) struct Explained {
    bucket: AmazonS3,
    options: Options,
}

impl Explained {
    pub(crate) fn new(bucket: AmazonS3, options: Options) -> Self {
        Self { bucket, options }
    }

    fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| explain(error, &self.options))
    }
}

fn explain(error: Error, options: &Options) -> Error {
    match Fault::of(&error, options) {
        Some(fault) => Error::Generic {
            store: "S3",
            source: Box::new(fault),
        },
        None => error,
    }
}

fn explain_all<T: 'static>(
    stream: BoxStream<'static, Result<T>>,
    options: &Options,
) -> BoxStream<'static, Result<T>> {
    let options = options.clone();
    stream
        .map(move |item| item.map_err(|error| explain(error, &options)))
        .boxed()
}

#[async_trait]
impl ObjectStore for Explained {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let large = payload.content_length() > HASH_INLINE_BYTES;
        let (bucket, location) = (self.bucket.clone(), location.clone());
        let putting = async move { bucket.put_opts(&location, payload, opts).await };
        self.explain(if large {
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || runtime.block_on(putting)).await?
        } else {
            putting.await
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.explain(self.bucket.put_multipart_opts(location, opts).await)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.explain(self.bucket.get_opts(location, options).await)?;
        Ok(match found.payload {
            GetResultPayload::Stream(chunks) => GetResult {
                payload: GetResultPayload::Stream(explain_all(chunks, &self.options)),
                ..found
            },
            payload => GetResult { payload, ..found },
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.explain(self.bucket.get_ranges(location, ranges).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        explain_all(self.bucket.delete_stream(locations), &self.options)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        explain_all(self.bucket.list(prefix), &self.options)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        explain_all(self.bucket.list_with_offset(prefix, offset), &self.options)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.explain(self.bucket.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.explain(self.bucket.copy_opts(from, to, options).await)
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.options.name())
    }
}
