//! Running and merging reads.

use std::{collections::HashMap, hash::BuildHasher, sync::Arc};

use arrow_array::RecordBatch;
use futures::future::try_join_all;
use holdfast_index::{Cancel, QueryVector};
use holdfast_runtime::CpuPool;
use holdfast_segment::{Hit, QuerySpec, RowRef, Rows, SearchSpec, gather, merge_rows};
use holdfast_types::{Code, CollectionSchema, Failure, FieldId, SegmentId};

use crate::{Readable, best::Best};

/// A search of this many query vectors is spread over the pool's threads.
const SPREAD_QUERIES: usize = 8;

/// Raises the flag when the read is dropped before it is done.
struct CancelOnDrop(Option<Cancel>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(cancel) = &self.0 {
            cancel.cancel();
        }
    }
}

async fn on_each<I: Send + 'static, T: Send + 'static>(
    pool: &CpuPool,
    items: Vec<I>,
    work: impl Fn(I, &Cancel) -> Result<T, Failure> + Send + Sync + 'static,
) -> Result<Vec<T>, Failure> {
    let cancel = Cancel::new();
    let mut guard = CancelOnDrop(Some(cancel.clone()));
    let work = Arc::new(work);
    let runs = items.into_iter().map(|item| {
        let (work, cancel) = (Arc::clone(&work), cancel.clone());
        pool.run(move || work(item, &cancel))
    });
    let results = try_join_all(runs).await?;
    guard.0 = None;
    results.into_iter().collect()
}

/// Searches segments; one list of hits a query vector, best first.
///
/// # Errors
/// The first failure of a segment.
///
/// # Cancel safety
/// Dropping it stops the search soon.
pub async fn search<S: Readable>(
    pool: &CpuPool,
    segments: Vec<Arc<S>>,
    spec: &Arc<SearchSpec>,
) -> Result<Vec<Vec<Hit>>, Failure> {
    let slices = slices(spec, pool.threads());
    let best: Vec<Arc<Best>> = slices
        .iter()
        .map(|slice| Arc::new(Best::new(slice.queries.len())))
        .collect();
    let tasks: Vec<(Arc<Best>, Arc<S>, Arc<SearchSpec>)> = best
        .iter()
        .zip(&slices)
        .flat_map(|(best, slice)| {
            segments
                .iter()
                .map(move |s| (Arc::clone(best), Arc::clone(s), Arc::clone(slice)))
        })
        .collect();
    on_each(pool, tasks, |(best, segment, spec), cancel| {
        best.merge(segment.search(&spec, cancel)?, &spec);
        Ok(())
    })
    .await?;
    Ok(best.iter().flat_map(|best| best.take()).collect())
}

/// The search cut into parts of its query vectors.
fn slices(spec: &Arc<SearchSpec>, threads: usize) -> Vec<Arc<SearchSpec>> {
    let n = spec.queries.len();
    if n < SPREAD_QUERIES || threads < 2 {
        return vec![Arc::clone(spec)];
    }
    spec.queries
        .chunks(n.div_ceil(threads))
        .map(|queries: &[QueryVector]| {
            Arc::new(SearchSpec {
                queries: queries.into(),
                ..SearchSpec::clone(spec)
            })
        })
        .collect()
}

/// Matching rows of all segments in key order, one row a key.
///
/// # Errors
/// The first failure of a segment.
///
/// # Cancel safety
/// Dropping it stops the query soon.
pub async fn query<S: Readable>(
    pool: &CpuPool,
    segments: Vec<Arc<S>>,
    spec: &Arc<QuerySpec>,
    schema: &Arc<CollectionSchema>,
) -> Result<Rows, Failure> {
    let each = Arc::clone(spec);
    let parts = on_each(pool, segments, move |segment, cancel| {
        segment.query(&each, cancel)
    })
    .await?;
    if parts.is_empty() {
        return Rows::none(spec, schema).map_err(Failure::from);
    }
    let limit = spec.limit;
    pool.run(move || merge_rows(parts, limit))
        .await?
        .map_err(Failure::from)
}

/// Number of matching rows of all segments.
///
/// # Errors
/// The first failure of a segment.
///
/// # Cancel safety
/// Dropping it stops the count soon.
pub async fn count<S: Readable>(
    pool: &CpuPool,
    segments: Vec<Arc<S>>,
    spec: &Arc<QuerySpec>,
) -> Result<u64, Failure> {
    let spec = Arc::clone(spec);
    let parts = on_each(pool, segments, move |segment, cancel| {
        segment.count(&spec, cancel)
    })
    .await?;
    Ok(parts.into_iter().sum())
}

/// Fields of rows of several segments, in the order asked.
///
/// # Errors
/// `Conflict` when a row's segment is not among `segments`.
pub async fn fetch<S: Readable, H: BuildHasher + Send + 'static>(
    pool: &CpuPool,
    segments: HashMap<SegmentId, Arc<S>, H>,
    rows: Vec<RowRef>,
    fields: Vec<FieldId>,
    schema: Arc<CollectionSchema>,
) -> Result<RecordBatch, Failure> {
    pool.run(move || {
        gather(&rows, &fields, &schema, |id, rows| {
            let segment = segments.get(&id).ok_or_else(|| {
                Failure::new(Code::Conflict, format!("segment {id} is no longer held"))
            })?;
            segment.fetch(rows, &fields)
        })
    })
    .await?
}
