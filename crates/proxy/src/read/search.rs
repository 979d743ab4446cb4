//! One search.

use std::{ops::Bound, sync::Arc};

use holdfast_expr::{Access, InList, Operand, Predicate};
use holdfast_index::{QueryVector, Within};
use holdfast_meta::CollectionMeta;
use holdfast_proto::{
    ids,
    kv::Params,
    milvus::{milvus, milvus::search_request::SearchInput, schema},
    placeholder, status,
};
use holdfast_runtime::MemoryKind;
use holdfast_segment::{GroupBy, GroupValue, Hit, QuerySpec, RowRef, SearchSpec};
use holdfast_types::{
    Code, Coded, DataType, Failure, FieldSchema, Pk, PkList, Timestamp, Value, columns,
    limits::MAX_TOP_K,
};

use crate::{
    Proxy,
    read::{
        filter,
        output::Output,
        plan::{SearchPlan, unsupported},
        view::{self, Found, View, with_view},
    },
    resolve,
    session::Caller,
};

/// Memory that a hit needs until it is answered.
const HIT_BYTES: u64 = 160;
/// Lists of hits that a query vector has at a time: the best of either kind of node, and what a segment has just
/// found, a thread; a thread has its part of many vectors.
const LISTS: u64 = 3;

/// A search request, parsed.
#[derive(Clone)]
pub(crate) struct Search {
    pub(crate) plan: SearchPlan,
    pub(crate) filter: Option<Arc<Predicate>>,
    pub(crate) input: Input,
}

impl Search {
    /// How many lists of hits it answers with.
    pub(crate) fn queries(&self) -> usize {
        match &self.input {
            Input::Vectors(queries) => queries.len(),
            Input::Keys(keys) => keys.len(),
        }
    }
}

/// What is searched for.
#[derive(Clone)]
pub(crate) enum Input {
    Vectors(Arc<[QueryVector]>),
    /// The vectors of these rows.
    Keys(PkList),
}

/// Finds the nearest rows of each query vector.
pub(crate) async fn search(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::SearchRequest,
) -> Result<milvus::SearchResults, Failure> {
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    let partitions = resolve::partitions(&meta, &request.partition_names)?;
    let output = Output::resolve(&meta, &request.output_fields)?;
    let collection_name = request.collection_name.clone();
    let (level, use_default, stamp) = (
        request.consistency_level,
        request.use_default_consistency,
        request.guarantee_timestamp,
    );
    let search = parse(&meta, request)?;
    let partitions = view::loaded(&meta, partitions)?;
    let guarantee = view::guarantee(
        proxy,
        &meta,
        level,
        use_default,
        stamp,
        search.plan.is_iterator,
    )?;
    let (results, ts) = with_view!(proxy, &meta, partitions, guarantee, |view| run(
        proxy, view, &search, &output
    ))?;
    Ok(milvus::SearchResults {
        status: Some(status::ok()),
        results: Some(results),
        collection_name,
        session_ts: if search.plan.is_iterator { ts.0 } else { 0 },
    })
}

/// Parses a search, or one part of a hybrid search.
pub(crate) fn parse(
    meta: &CollectionMeta,
    request: milvus::SearchRequest,
) -> Result<Search, Failure> {
    if request
        .function_score
        .is_some_and(|f| !f.functions.is_empty())
    {
        return Err(unsupported(
            "function_score: reranking a search by functions",
        ));
    }
    if request.highlighter.is_some() {
        return Err(unsupported("highlighter"));
    }
    if request.search_aggregation.is_some() {
        return Err(unsupported("search_aggregation"));
    }
    if !request.function_chains.is_empty() {
        return Err(unsupported("function_chains"));
    }
    let params = Params::new("search_params", &request.search_params)?.flatten("params")?;
    let plan = SearchPlan::of(meta, &params)?;
    let filter = filter::parse(&request.dsl, request.expr_template_values, &meta.schema)?;
    let input = match request.search_input {
        Some(SearchInput::PlaceholderGroup(bytes)) => {
            Input::Vectors(placeholder::decode(&bytes, &plan.field)?.into())
        }
        Some(SearchInput::Ids(keys)) => {
            Input::Keys(distinct(ids::to_domain(keys, meta.schema.primary())?)?)
        }
        None => {
            return Err(Failure::invalid(
                "placeholder_group: there is nothing to search for",
            ));
        }
    };
    let search = Search {
        plan,
        filter,
        input,
    };
    // Clients that count for themselves send 0.
    if request.nq != 0 && usize::try_from(request.nq) != Ok(search.queries()) {
        return Err(Failure::invalid(format!(
            "nq: {} was said, but there are {} query vectors",
            request.nq,
            search.queries()
        )));
    }
    Ok(search)
}

fn distinct(keys: PkList) -> Result<PkList, Failure> {
    let mut seen = std::collections::HashSet::new();
    if keys.is_empty() {
        return Err(Failure::invalid("ids: there is nothing to search for"));
    }
    let twice = keys.iter().find(|key| !seen.insert(key.clone()));
    match twice {
        None => Ok(keys),
        Some(twice) => Err(Failure::invalid(format!(
            "ids: duplicate primary key {twice}"
        ))),
    }
}

/// Searches a view and answers from it.
async fn run(
    proxy: &Proxy,
    view: &View,
    search: &Search,
    output: &Output,
) -> Result<(schema::SearchResultData, Timestamp), Failure> {
    let mut found = hits(proxy, view, search).await?;
    if search.plan.iterator.is_some() {
        found = whole_ties(proxy, view, search, found).await?;
        let results = answer(proxy, view, found, output, &search.plan).await?;
        return Ok((results, view.ts));
    }
    let lists: Vec<Vec<Hit>> = found
        .hits
        .iter()
        .map(|list| page(list, &search.plan))
        .collect();
    let found = found.map_hits(lists);
    let results = answer(proxy, view, found, output, &search.plan).await?;
    Ok((results, view.ts))
}

/// A page of an iterator, of which one hit more than it may have was looked for. The next page begins beyond the last
/// score of this one, which is all that the client tells: so rows of one score have to be on one page. The page is
/// cut before them; if it has no other rows, it holds all of them and may be longer than was asked for.
async fn whole_ties(
    proxy: &Proxy,
    view: &View,
    search: &Search,
    mut found: Found,
) -> Result<Found, Failure> {
    let limit = search.plan.limit;
    let [list] = found.hits.as_mut_slice() else {
        return Ok(found);
    };
    let Some(beyond) = list.get(limit).map(|hit| hit.distance) else {
        return Ok(found);
    };
    let before = list.partition_point(|hit| hit.distance < beyond);
    if before > 0 {
        list.truncate(before);
        return Ok(found);
    }
    let most = usize::try_from(MAX_TOP_K).unwrap_or(usize::MAX);
    let mut ties = search.clone();
    ties.plan.limit = most;
    ties.plan.within = Within {
        from: Bound::Included(beyond),
        to: Bound::Included(beyond),
    };
    ties.plan.params.exact = true;
    let found = hits(proxy, view, &ties).await?;
    if found.hits.iter().any(|list| list.len() > most) {
        return Err(Failure::invalid(format!(
            "more than {most} rows have the same score, {}: an iterator can't divide them, narrow the search by a filter",
            search.plan.metric.score(beyond)
        )));
    }
    Ok(found)
}

/// The hits of a search of a view, offset included; one more than fits on a page of an iterator.
pub(crate) async fn hits(proxy: &Proxy, view: &View, search: &Search) -> Result<Found, Failure> {
    let (queries, places) = match &search.input {
        Input::Vectors(queries) => (Arc::clone(queries), None),
        Input::Keys(keys) => {
            let (queries, places) = vectors_of(proxy, view, &search.plan.field, keys).await?;
            (queries, Some((places, keys.len())))
        }
    };
    let plan = &search.plan;
    let per_query = (plan.limit + plan.offset) * plan.group_by.as_ref().map_or(1, |g| g.group_size);
    let bytes = (HIT_BYTES * LISTS)
        .saturating_mul(per_query as u64)
        .saturating_mul(queries.len() as u64);
    let _memory = proxy.budget.try_reserve(MemoryKind::Query, bytes).map_err(|e| {
        e.to_failure().within("search results: ask for fewer hits or fewer vectors at a time, or raise memory_budget")
    })?;
    if queries.is_empty() {
        let lists = places.map_or(0, |(_, n)| n);
        return Ok(Found::none(lists));
    }
    let ttl = resolve::expired_before(proxy, &view.meta);
    let spec = plan.spec(queries, search.filter.clone(), view.ts, ttl);
    let mut found = nearest(proxy, view, spec, plan.ignore_growing).await?;
    if let Some((places, n)) = places {
        let mut lists = vec![Vec::new(); n];
        for (list, place) in std::mem::take(&mut found.hits).into_iter().zip(places) {
            lists[place] = list;
        }
        found.hits = lists;
    }
    Ok(found)
}

/// Searches a view. Groups of several hits take two searches a query: the groups that are best overall
/// need not be among the best of each part of the rows, so the second looks for their members everywhere.
async fn nearest(
    proxy: &Proxy,
    view: &View,
    spec: SearchSpec,
    ignore_growing: bool,
) -> Result<Found, Failure> {
    let Some(group_by) = spec.group_by.clone().filter(|g| g.group_size > 1) else {
        return view.search(proxy, Arc::new(spec), ignore_growing).await;
    };
    let mut best = spec.clone();
    best.group_by = Some(GroupBy {
        group_size: 1,
        ..group_by.clone()
    });
    let best = view.search(proxy, Arc::new(best), ignore_growing).await?;
    let mut all = Found::none(0);
    let mut lists = Vec::with_capacity(best.hits.len());
    for (query, hits) in spec.queries.iter().zip(&best.hits) {
        let mut members = spec.clone();
        members.queries = Arc::new([query.clone()]);
        let groups = hits.iter().filter_map(|h| h.group.as_ref());
        members.filter = Some(Arc::new(in_groups(
            &group_by.access,
            groups,
            spec.filter.as_deref(),
        )));
        let mut found = view
            .search(proxy, Arc::new(members), ignore_growing)
            .await?;
        lists.append(&mut found.hits);
        all.learn(&found);
    }
    Ok(all.map_hits(lists))
}

/// The filter that also keeps only members of these groups. Groups that a filter can't name exactly (JSON
/// lists and objects) are not narrowed down.
fn in_groups<'a>(
    access: &Access,
    groups: impl Iterator<Item = &'a GroupValue>,
    filter: Option<&Predicate>,
) -> Predicate {
    let mut any = Vec::new();
    let mut values = Vec::new();
    for group in groups {
        match group {
            GroupValue::Null => any.push(Predicate::IsNull {
                access: access.clone(),
            }),
            GroupValue::Bool(b) => values.push(Value::Bool(*b)),
            GroupValue::Int(i) => values.push(Value::Int(*i)),
            GroupValue::Str(s) => values.push(Value::Str(s.to_string())),
            GroupValue::Json(_) => return filter.cloned().unwrap_or(Predicate::Const(true)),
        }
    }
    any.push(Predicate::In {
        operand: Operand::Column(access.clone()),
        values: InList::new(values),
    });
    let member = if any.len() == 1 {
        any.remove(0)
    } else {
        Predicate::Or(any)
    };
    match filter {
        None => member,
        Some(Predicate::And(all)) => Predicate::And(all.iter().cloned().chain([member]).collect()),
        Some(other) => Predicate::And(vec![other.clone(), member]),
    }
}

/// The vectors of rows by key, and for each the position of its key. Rows without a vector have none.
async fn vectors_of(
    proxy: &Proxy,
    view: &View,
    field: &FieldSchema,
    keys: &PkList,
) -> Result<(Arc<[QueryVector]>, Vec<usize>), Failure> {
    let spec = QuerySpec {
        filter: None,
        keys: Some(keys.clone()),
        fields: vec![field.id],
        limit: None,
        after: None,
        at: view.ts,
        ttl_before: resolve::expired_before(proxy, &view.meta),
    };
    let rows = view.query(proxy, spec, false).await?.batch;
    let primary = view.meta.schema.primary().id;
    let found = columns::column(&rows, primary)
        .and_then(|c| PkList::from_array(c))
        .ok_or_else(|| Failure::internal("rows without their primary key"))?;
    let at: std::collections::HashMap<Pk, usize> = found.iter().zip(0..).collect();
    let column = columns::column(&rows, field.id)
        .ok_or_else(|| Failure::internal("rows without the vector asked for"))?;
    let mut queries = Vec::with_capacity(keys.len());
    let mut places = Vec::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        let row = *at.get(&key).ok_or_else(|| {
            Failure::invalid(format!(
                "ids: primary key {key} not found in collection {}",
                view.meta.name
            ))
        })?;
        if let Some(vector) = holdfast_segment::query_vector(column, row, field)? {
            queries.push(vector);
            places.push(place);
        }
    }
    Ok((queries.into(), places))
}

/// The hits after the offset; with grouping, the offset counts groups.
fn page(list: &[Hit], plan: &SearchPlan) -> Vec<Hit> {
    if plan.group_by.is_none() {
        return list
            .iter()
            .skip(plan.offset)
            .take(plan.limit)
            .cloned()
            .collect();
    }
    let groups = list.chunk_by(|a, b| a.group == b.group);
    groups
        .skip(plan.offset)
        .take(plan.limit)
        .flatten()
        .cloned()
        .collect()
}

/// The answer: keys, scores and fields of the hits.
pub(crate) async fn answer(
    proxy: &Proxy,
    view: &View,
    found: Found,
    output: &Output,
    plan: &SearchPlan,
) -> Result<schema::SearchResultData, Failure> {
    let scores = found
        .hits
        .iter()
        .flatten()
        .map(|h| plan.score(h.distance))
        .collect();
    let mut results = collect(proxy, view, &found, output, scores).await?;
    if let Some(group_by) = &plan.group_by {
        let values = group_values(found.hits.iter().flatten(), group_by, &view.meta)?;
        if plan.legacy_group {
            results.group_by_field_value = Some(values);
        } else {
            results.group_by_field_values = vec![values];
        }
    }
    if let Some(iterator) = &plan.iterator {
        let last = found.hits.last().and_then(|list| list.last());
        let exhausted = if plan.metric.larger_is_closer() {
            f32::MIN
        } else {
            f32::MAX
        };
        // The bound is exact, also where scores are rounded for the eye.
        let last_bound = last.map_or(iterator.last_bound.unwrap_or(exhausted), |h| {
            plan.metric.score(h.distance)
        });
        results.search_iterator_v2_results = Some(schema::SearchIteratorV2Results {
            token: iterator.token.clone(),
            last_bound,
        });
    }
    Ok(results)
}

/// Keys, scores (in the order of the hits) and fields of hits.
pub(crate) async fn collect(
    proxy: &Proxy,
    view: &View,
    found: &Found,
    output: &Output,
    scores: Vec<f32>,
) -> Result<schema::SearchResultData, Failure> {
    let primary = view.meta.schema.primary();
    let rows: Vec<RowRef> = found.hits.iter().flatten().map(|h| h.row).collect();
    let keys: PkList = found.hits.iter().flatten().map(|h| h.pk.clone()).collect();
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let fields_data = if output.fields.is_empty() {
        Vec::new()
    } else {
        let bytes = output
            .row_bytes(&view.meta.schema)
            .saturating_mul(rows.len() as u64);
        let mut memory = proxy.budget.try_reserve(MemoryKind::Query, bytes).map_err(|e| {
            e.to_failure().within("output_fields: ask for fewer rows or fewer fields at a time, or raise memory_budget")
        })?;
        let batch = view
            .fetch(proxy, found.fresh(), &rows, &output.fields)
            .await?;
        memory.resize(batch.get_array_memory_size() as u64);
        output.to_wire(&view.meta.schema, &batch)?
    };
    Ok(schema::SearchResultData {
        num_queries: count(found.hits.len()),
        top_k: found.hits.last().map_or(0, |list| count(list.len())),
        fields_data,
        scores,
        ids: Some(if keys.is_empty() {
            ids::none(primary)
        } else {
            ids::to_wire(keys)
        }),
        topks: found.hits.iter().map(|list| count(list.len())).collect(),
        output_fields: output.names.clone(),
        primary_field_name: primary.name.clone(),
        ..Default::default()
    })
}

/// The group of each hit, as a column.
fn group_values<'a>(
    hits: impl Iterator<Item = &'a Hit>,
    group_by: &holdfast_segment::GroupBy,
    meta: &CollectionMeta,
) -> Result<schema::FieldData, Failure> {
    use schema::{field_data::Field, scalar_field::Data};
    let field = meta
        .schema
        .field_by_id(group_by.access.field)
        .ok_or_else(|| {
            Failure::new(
                Code::InvalidArgument,
                "the field that was grouped by was dropped meanwhile",
            )
        })?;
    let groups: Vec<Option<&GroupValue>> = hits
        .map(|h| h.group.as_ref().filter(|g| **g != GroupValue::Null))
        .collect();
    let int = |g: &Option<&GroupValue>| {
        if let Some(GroupValue::Int(i)) = g {
            *i
        } else {
            0
        }
    };
    let text = |g: &Option<&GroupValue>| match g {
        Some(GroupValue::Str(s) | GroupValue::Json(s)) => s.to_string(),
        Some(GroupValue::Int(i)) => i.to_string(),
        Some(GroupValue::Bool(b)) => b.to_string(),
        Some(GroupValue::Null) | None => String::new(),
    };
    let (data_type, data) = match group_by.access.result_type() {
        Some(DataType::Bool) => {
            let data = groups
                .iter()
                .map(|g| matches!(g, Some(GroupValue::Bool(true))))
                .collect();
            (DataType::Bool, Data::BoolData(schema::BoolArray { data }))
        }
        Some(DataType::Int64) => (
            DataType::Int64,
            Data::LongData(schema::LongArray {
                data: groups.iter().map(int).collect(),
            }),
        ),
        Some(t) if t.is_integer() => {
            let data = groups
                .iter()
                .map(|g| i32::try_from(int(g)).unwrap_or_default())
                .collect();
            (t, Data::IntData(schema::IntArray { data }))
        }
        _ => (
            DataType::VarChar,
            Data::StringData(schema::StringArray {
                data: groups.iter().map(text).collect(),
            }),
        ),
    };
    let nullable = field.nullable || groups.iter().any(Option::is_none);
    Ok(schema::FieldData {
        r#type: data_type.wire_number(),
        field_name: field.name.clone(),
        field_id: field.id.0,
        valid_data: if nullable {
            groups.iter().map(Option::is_some).collect()
        } else {
            Vec::new()
        },
        field: Some(Field::Scalars(schema::ScalarField {
            data: Some(data),
            valid_data: Vec::new(),
        })),
        ..Default::default()
    })
}
