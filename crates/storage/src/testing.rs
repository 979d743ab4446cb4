//! An object store that fails on demand, around another one.

use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    path::Path,
};
use parking_lot::Mutex;

/// How one call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full; nothing is written.
    Full,
    /// The store does not answer; nothing is written.
    Unavailable,
    /// The store does what it was asked, and the answer is lost.
    AnswerLost,
    /// The store has no conditional put.
    Unconditional,
    /// A get answers with one bit of this byte flipped (counted modulo the length).
    Flipped(usize),
    /// A get ends after this many bytes, without an error.
    Cut(usize),
}

/// An object store that fails as it was told to, and counts what reaches it.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    puts: Mutex<VecDeque<Option<Fault>>>,
    gets: Mutex<VecDeque<Option<Fault>>>,
    deletes: Mutex<VecDeque<Option<Fault>>>,
    get_count: AtomicU64,
}

impl Faulty {
    /// A store that works like `inner` until it is told otherwise.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            puts: Mutex::default(),
            gets: Mutex::default(),
            deletes: Mutex::default(),
            get_count: AtomicU64::new(0),
        })
    }

    /// What becomes of the next puts, one after the other; `None` is success, as is everything later.
    pub fn fail_puts(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.puts.lock().extend(faults);
    }

    /// What becomes of the next gets.
    pub fn fail_gets(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.gets.lock().extend(faults);
    }

    /// What becomes of the next deletes.
    pub fn fail_deletes(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.deletes.lock().extend(faults);
    }

    /// How often an object's bytes were asked for.
    #[must_use]
    pub fn get_count(&self) -> u64 {
        self.get_count.load(Ordering::SeqCst)
    }
}

fn failed(kind: io::ErrorKind, what: &str) -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: Box::new(io::Error::new(kind, what.to_owned())),
    }
}

/// The failure of a call that did nothing, if there is to be one.
fn before(fault: Option<Fault>) -> Result<()> {
    match fault {
        Some(Fault::Full) => Err(failed(io::ErrorKind::StorageFull, "disk full")),
        Some(Fault::Unavailable) => Err(failed(io::ErrorKind::TimedOut, "no answer")),
        Some(Fault::AnswerLost | Fault::Unconditional | Fault::Flipped(_) | Fault::Cut(_))
        | None => Ok(()),
    }
}

/// The failure of a call that was done.
fn after<T>(fault: Option<Fault>, done: T) -> Result<T> {
    if fault == Some(Fault::AnswerLost) {
        return Err(failed(io::ErrorKind::ConnectionReset, "answer lost"));
    }
    Ok(done)
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.puts.lock().pop_front().flatten();
        before(fault)?;
        if fault == Some(Fault::Unconditional) && opts.mode != PutMode::Overwrite {
            return Err(object_store::Error::NotImplemented {
                operation: "conditional put".to_owned(),
                implementer: self.to_string(),
            });
        }
        let done = self.inner.put_opts(location, payload, opts).await?;
        after(fault, done)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.inner.get_opts(location, options).await;
        }
        self.get_count.fetch_add(1, Ordering::SeqCst);
        let fault = self.gets.lock().pop_front().flatten();
        before(fault)?;
        let found = after(fault, self.inner.get_opts(location, options).await?)?;
        let (meta, range) = (found.meta.clone(), found.range.clone());
        let (attributes, extensions) = (found.attributes.clone(), found.extensions.clone());
        let bytes = match fault {
            Some(Fault::Flipped(at)) => {
                let mut bytes = found.bytes().await?.to_vec();
                let at = at % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1;
                }
                Bytes::from(bytes)
            }
            Some(Fault::Cut(at)) => {
                let bytes = found.bytes().await?;
                bytes.slice(..at.min(bytes.len()))
            }
            _ => return Ok(found),
        };
        let payload = futures::stream::iter([Ok(bytes)]).boxed();
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes,
            extensions,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let fault = self.deletes.lock().pop_front().flatten();
        match before(fault) {
            Ok(()) => {
                let deleted = self.inner.delete_stream(locations);
                deleted
                    .map(move |path| path.and_then(|p| after(fault, p)))
                    .boxed()
            }
            Err(e) => futures::stream::iter([Err(e)]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty({})", self.inner)
    }
}

/// A manifest as the bytes of its object: for fuzzing.
#[must_use]
pub fn encode_manifest(manifest: &crate::Manifest) -> Bytes {
    crate::codec::encode_manifest(manifest)
}

/// A manifest from the bytes of its object: for fuzzing.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn decode_manifest(bytes: &Bytes) -> std::result::Result<crate::Manifest, String> {
    crate::codec::decode_manifest(bytes)
}
