//! Several searches, ranked together.

use holdfast_proto::{
    kv::Params,
    milvus::{milvus, schema},
    status,
};
use holdfast_segment::Hit;
use holdfast_types::{Failure, Metric, limits::MAX_HYBRID_REQUESTS};

use crate::{
    Proxy,
    read::{
        output::Output,
        plan::{self, unsupported},
        rank::Ranker,
        search::{self, Search},
        view::{self, Found, View, with_view},
    },
    resolve,
    session::Caller,
};

/// Wire number of a function that reranks.
const RERANK: i32 = 3;

/// Searches several vector fields and ranks what they find together.
pub(crate) async fn hybrid_search(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::HybridSearchRequest,
) -> Result<milvus::SearchResults, Failure> {
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    let partitions = resolve::partitions(&meta, &request.partition_names)?;
    let output = Output::resolve(&meta, &request.output_fields)?;
    if !request.function_chains.is_empty() {
        return Err(unsupported("function_chains"));
    }
    let params = Params::new("rank_params", &request.rank_params)?.flatten("params")?;
    let searches = parse(&meta, request.requests)?;
    let ranker = match request.function_score {
        Some(functions) => Ranker::of(&rerank_params(&functions)?, searches.len())?,
        None => Ranker::of(&params, searches.len())?,
    };
    let limit = params
        .number::<u64>("limit")?
        .ok_or_else(|| params.invalid("limit", "it is required"))?;
    let (limit, offset) = plan::window(limit, params.number::<u64>("offset")?.unwrap_or(0))?;
    let digits = plan::round_decimal(&params)?;
    if params.text("group_by_field").is_some_and(|t| !t.is_empty()) {
        return Err(unsupported("group_by_field: grouping in a hybrid search"));
    }
    let partitions = view::loaded(&meta, partitions)?;
    let guarantee = view::guarantee(
        proxy,
        &meta,
        request.consistency_level,
        request.use_default_consistency,
        request.guarantee_timestamp,
        false,
    )?;
    let hybrid = Hybrid {
        searches,
        ranker,
        offset,
        limit,
        digits,
        output,
    };
    let results = with_view!(proxy, &meta, partitions, guarantee, |view| hybrid
        .run(proxy, view))?;
    Ok(milvus::SearchResults {
        status: Some(status::ok()),
        results: Some(results),
        collection_name: request.collection_name,
        session_ts: 0,
    })
}

/// A hybrid search, parsed.
struct Hybrid {
    searches: Vec<Search>,
    ranker: Ranker,
    offset: usize,
    limit: usize,
    /// Digits after the point that scores are rounded to.
    digits: Option<u32>,
    output: Output,
}

impl Hybrid {
    async fn run(&self, proxy: &Proxy, view: &View) -> Result<schema::SearchResultData, Failure> {
        let mut found = Vec::with_capacity(self.searches.len());
        for search in &self.searches {
            found.push(search::hits(proxy, view, search).await?);
        }
        let (found, scores) = rank(found, &self.searches, &self.ranker, self.offset, self.limit);
        let scores = scores
            .into_iter()
            .map(|s| plan::round(s, self.digits))
            .collect();
        search::collect(proxy, view, &found, &self.output, scores).await
    }
}

fn parse(
    meta: &holdfast_meta::CollectionMeta,
    requests: Vec<milvus::SearchRequest>,
) -> Result<Vec<Search>, Failure> {
    if requests.is_empty() || requests.len() > MAX_HYBRID_REQUESTS {
        return Err(Failure::invalid(format!(
            "requests: {} sub-requests, but a hybrid search has 1 to {MAX_HYBRID_REQUESTS}",
            requests.len()
        )));
    }
    let mut searches = Vec::with_capacity(requests.len());
    for (i, request) in requests.into_iter().enumerate() {
        let mut search =
            search::parse(meta, request).map_err(|f| f.within(format_args!("requests[{i}]")))?;
        if search.plan.is_iterator || search.plan.group_by.is_some() {
            return Err(Failure::invalid(format!(
                "requests[{i}]: iterators and grouping don't go with a hybrid search"
            )));
        }
        // Only the whole has an offset.
        search.plan.offset = 0;
        searches.push(search);
    }
    let queries = searches.iter().map(Search::queries).collect::<Vec<_>>();
    match queries.iter().find(|n| **n != queries[0]) {
        None => Ok(searches),
        Some(other) => Err(Failure::invalid(format!(
            "requests: all sub-requests must have the same nq, but one has {} and another {other}",
            queries[0]
        ))),
    }
}

fn rerank_params(functions: &schema::FunctionScore) -> Result<Params, Failure> {
    match functions.functions.as_slice() {
        [function] if function.r#type == RERANK => {
            Params::new("function_score", &function.params)?.flatten("params")
        }
        [_] => Err(Failure::invalid(
            "function_score: only functions of type RERANK rank a hybrid search",
        )),
        _ => Err(unsupported("function_score: other than one function")),
    }
}

/// One list a query vector out of those of all searches, and its scores.
fn rank(
    found: Vec<Found>,
    searches: &[Search],
    ranker: &Ranker,
    offset: usize,
    limit: usize,
) -> (Found, Vec<f32>) {
    let queries = found.first().map_or(0, |f| f.hits.len());
    let mut all = Found::none(0);
    let mut lists: Vec<Vec<(Metric, Vec<Hit>)>> = (0..queries).map(|_| Vec::new()).collect();
    for (found, search) in found.into_iter().zip(searches) {
        all.learn(&found);
        for (list, hits) in lists.iter_mut().zip(found.hits) {
            list.push((search.plan.metric, hits));
        }
    }
    let mut scores = Vec::new();
    let mut ranked_lists = Vec::with_capacity(queries);
    for lists in lists {
        let (_, ranked) = ranker.rank(lists);
        let mut hits = Vec::new();
        for ranked in ranked.into_iter().skip(offset).take(limit) {
            scores.push(ranked.score);
            hits.push(ranked.hit);
        }
        ranked_lists.push(hits);
    }
    (all.map_hits(ranked_lists), scores)
}
