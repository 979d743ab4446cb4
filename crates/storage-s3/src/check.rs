//! What a bucket can do, and what of it is needed.
//!
//! Everything is tried in a folder of its own, `check/<random>/`, which is emptied again.

use bytes::Bytes;
use futures::{TryStreamExt, future::join_all};
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result, UpdateVersion,
    path::Path,
};

/// Smallest part of a multipart upload that is not its last.
const PART_BYTES: usize = 5 << 20;
/// How many create the same object at a time.
const RACERS: usize = 8;

/// How much something is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing works without it.
    Required,
    /// A second guard of what is right without it.
    Guard,
    /// Nothing uses it today.
    Unused,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub what: &'static str,
    /// How much it is needed.
    pub need: Need,
    /// Why it does not work, if it does not.
    pub problem: Option<String>,
    /// What an operator should do then.
    pub advice: &'static str,
}

/// Everything that was tried, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One by one.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether everything required works.
    #[must_use]
    pub fn suffices(&self) -> bool {
        let lacking = |f: &Finding| f.need == Need::Required && f.problem.is_some();
        !self.findings.iter().any(lacking)
    }

    fn note(
        &mut self,
        what: &'static str,
        need: Need,
        tried: std::result::Result<(), String>,
        advice: &'static str,
    ) -> bool {
        let problem = tried.err();
        let works = problem.is_none();
        self.findings.push(Finding {
            what,
            need,
            problem,
            advice,
        });
        works
    }
}

/// What a bucket makes of a put that must create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditional {
    /// The second put of a name is refused.
    Enforced,
    /// The second put of a name replaces the first.
    Ignored,
    /// It knows no such put.
    Unknown,
}

/// Puts one object twice, and deletes it: whether the bucket is there, lets us write, and knows conditional puts.
///
/// # Errors
/// The first put, or the clean-up, failed.
pub async fn probe(bucket: &dyn ObjectStore) -> Result<Conditional> {
    let place = folder().join("probe");
    let found = match create(bucket, &place, b"first").await {
        Err(Error::NotImplemented { .. }) => return Ok(Conditional::Unknown),
        Err(error) => return Err(error),
        Ok(()) => match create(bucket, &place, b"second").await {
            Err(Error::AlreadyExists { .. }) => Ok(Conditional::Enforced),
            Err(error) => Err(error),
            Ok(()) => Ok(Conditional::Ignored),
        },
    };
    bucket.delete(&place).await?;
    found
}

/// Tries everything.
pub async fn run(bucket: &dyn ObjectStore) -> Report {
    let folder = folder();
    let mut report = Report::default();
    try_all(bucket, &folder, &mut report).await;
    let cleaned = clean(bucket, &folder).await.map_err(said);
    report.note(
        "delete: the check's own objects are gone",
        Need::Required,
        cleaned,
        "allow s3:DeleteObject and s3:ListBucket; remove what is left below check/ by hand",
    );
    report
}

async fn try_all(bucket: &dyn ObjectStore, folder: &Path, report: &mut Report) {
    let plain = folder.clone().join("plain");
    let bytes = Bytes::from_static(b"0123456789 abcdefghijklmnopqrstuvwxyz");
    let put = bucket.put(&plain, bytes.clone().into()).await;
    let wrote = report.note(
        "put: an object is written",
        Need::Required,
        put.map(drop).map_err(said),
        "follow what the refusal says; nothing else was tried",
    );
    if !wrote {
        return;
    }
    report.note(
        "get: it is read back as it was written",
        Need::Required,
        reads(bucket, &plain, &bytes).await,
        "use a bucket that shows a write to every later read",
    );
    report.note(
        "ranged get: a part of it is read",
        Need::Required,
        ranged(bucket, &plain, &bytes).await,
        "use a server that knows the Range header: downloads go on with it where they broke off",
    );
    report.note(
        "list: it is shown at once, with its size",
        Need::Required,
        listed(bucket, folder, bytes.len() as u64).await,
        "use a bucket whose lists show every earlier write: garbage is found by listing",
    );
    report.note(
        "conditional create: the second put of a name is refused, of several at a time one wins",
        Need::Guard,
        creates(bucket, folder).await,
        "nothing has to change: names are never used twice, and the server looks before it writes. Give every \
         cluster a bucket or prefix of its own, for which this guard cannot stand in",
    );
    report.note(
        "conditional update: a put that expects another version is refused",
        Need::Unused,
        updates(bucket, folder).await,
        "nothing: pointers move in the metadata store",
    );
    report.note(
        "order: lists are sorted by name",
        Need::Unused,
        sorted(bucket, folder).await,
        "nothing",
    );
    report.note(
        "multipart: an object is written in parts, and one given up leaves nothing to see",
        Need::Unused,
        multipart(bucket, folder).await,
        "nothing: objects are written in one put, of at most 5 GiB",
    );
    report.note(
        "delete: an object is gone, and deleting it again is no error",
        Need::Required,
        deletes(bucket, &plain).await,
        "allow s3:DeleteObject",
    );
}

fn folder() -> Path {
    Path::from("check").join(uuid::Uuid::new_v4().simple().to_string())
}

fn said(error: Error) -> String {
    match error {
        Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

fn wrong(what: &str) -> std::result::Result<(), String> {
    Err(what.to_owned())
}

type Tried = std::result::Result<(), String>;

async fn create(bucket: &dyn ObjectStore, place: &Path, bytes: &'static [u8]) -> Result<()> {
    let payload = PutPayload::from_static(bytes);
    let options = PutOptions::from(PutMode::Create);
    bucket.put_opts(place, payload, options).await.map(drop)
}

async fn read(bucket: &dyn ObjectStore, place: &Path) -> std::result::Result<Bytes, String> {
    let found = bucket.get(place).await.map_err(said)?;
    found.bytes().await.map_err(said)
}

async fn reads(bucket: &dyn ObjectStore, place: &Path, bytes: &Bytes) -> Tried {
    if read(bucket, place).await? == *bytes {
        return Ok(());
    }
    wrong("other bytes came back")
}

async fn ranged(bucket: &dyn ObjectStore, place: &Path, bytes: &Bytes) -> Tried {
    let part = bucket.get_range(place, 3..17).await.map_err(said)?;
    if part == bytes.slice(3..17) {
        return Ok(());
    }
    Err(format!("{} bytes came back, or others", part.len()))
}

async fn listed(bucket: &dyn ObjectStore, folder: &Path, size: u64) -> Tried {
    let found: Vec<_> = bucket
        .list(Some(folder))
        .try_collect()
        .await
        .map_err(said)?;
    match found.as_slice() {
        [one] if one.size == size => Ok(()),
        [one] => Err(format!("its size is given as {}, not {size}", one.size)),
        found => Err(format!("{} objects are shown, not 1", found.len())),
    }
}

async fn creates(bucket: &dyn ObjectStore, folder: &Path) -> Tried {
    let place = folder.clone().join("created");
    create(bucket, &place, b"first").await.map_err(said)?;
    match create(bucket, &place, b"second").await {
        Err(Error::AlreadyExists { .. }) => {}
        Err(error) => return Err(said(error)),
        Ok(()) => return wrong("the second put replaced the first: the condition is ignored"),
    }
    if read(bucket, &place).await? != b"first"[..] {
        return wrong("the second put was refused, and replaced the first all the same");
    }
    let place = folder.clone().join("raced");
    let raced = join_all((0..RACERS).map(|_| create(bucket, &place, b"raced"))).await;
    match raced.iter().filter(|done| done.is_ok()).count() {
        1 => Ok(()),
        won => Err(format!(
            "of {RACERS} puts at a time {won} believe to have created it"
        )),
    }
}

async fn updates(bucket: &dyn ObjectStore, folder: &Path) -> Tried {
    let place = folder.clone().join("updated");
    let put = |bytes: &'static [u8], mode: PutMode| {
        bucket.put_opts(
            &place,
            PutPayload::from_static(bytes),
            PutOptions::from(mode),
        )
    };
    let version = |done: object_store::PutResult| UpdateVersion {
        e_tag: done.e_tag,
        version: done.version,
    };
    let first = version(put(b"1", PutMode::Overwrite).await.map_err(said)?);
    put(b"2", PutMode::Update(first.clone()))
        .await
        .map_err(said)?;
    match put(b"3", PutMode::Update(first)).await {
        Err(Error::Precondition { .. }) => Ok(()),
        Err(error) => Err(said(error)),
        Ok(_) => wrong("a put that expected an older version was done: the condition is ignored"),
    }
}

async fn sorted(bucket: &dyn ObjectStore, folder: &Path) -> Tried {
    let found: Vec<_> = bucket
        .list(Some(folder))
        .try_collect()
        .await
        .map_err(said)?;
    if found.is_sorted_by(|a, b| a.location < b.location) {
        return Ok(());
    }
    wrong("they are not")
}

async fn multipart(bucket: &dyn ObjectStore, folder: &Path) -> Tried {
    let place = folder.clone().join("parts");
    let first = Bytes::from(vec![7; PART_BYTES]);
    let mut upload = bucket.put_multipart(&place).await.map_err(said)?;
    upload.put_part(first.clone().into()).await.map_err(said)?;
    let last = PutPayload::from_static(b"the end");
    upload.put_part(last).await.map_err(said)?;
    upload.complete().await.map_err(said)?;
    let whole = read(bucket, &place).await?;
    if whole.len() != PART_BYTES + 7 || !whole.starts_with(&first) || !whole.ends_with(b"the end") {
        return wrong("the parts were not put together as they were sent");
    }
    let place = folder.clone().join("given-up");
    let mut upload = bucket.put_multipart(&place).await.map_err(said)?;
    upload.put_part(first.into()).await.map_err(said)?;
    upload.abort().await.map_err(said)?;
    match bucket.head(&place).await {
        Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(said(error)),
        Ok(_) => wrong("an upload that was given up is there"),
    }
}

async fn deletes(bucket: &dyn ObjectStore, place: &Path) -> Tried {
    bucket.delete(place).await.map_err(said)?;
    match bucket.head(place).await {
        Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(said(error)),
        Ok(_) => return wrong("it is still there"),
    }
    match bucket.delete(place).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(said(error)),
    }
}

/// Deletes what is below the folder, and looks that nothing is left.
async fn clean(bucket: &dyn ObjectStore, folder: &Path) -> Result<()> {
    let found: Vec<_> = bucket.list(Some(folder)).try_collect().await?;
    for object in found {
        bucket.delete(&object.location).await?;
    }
    Ok(())
}
