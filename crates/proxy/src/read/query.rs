//! Rows by filter or key, counts.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};
use holdfast_expr::Predicate;
use holdfast_meta::CollectionMeta;
use holdfast_proto::{
    field_data,
    kv::Params,
    milvus::{milvus, schema},
    status,
};
use holdfast_runtime::MemoryKind;
use holdfast_segment::QuerySpec;
use holdfast_types::{Coded, DataType, Failure, FieldId, FieldSchema, limits::MAX_TOP_K};

use crate::{
    Proxy,
    read::{
        filter,
        output::Output,
        plan::{check_collection, unsupported},
        view::{self, View, with_view},
    },
    resolve,
    session::Caller,
};

/// The output field that asks for the number of rows.
const COUNT: &str = "count(*)";

/// What a query asks for.
struct Plan {
    filter: Option<Arc<Predicate>>,
    limit: Option<usize>,
    offset: usize,
    is_iterator: bool,
    ignore_growing: bool,
}

/// Answers with matching rows, in key order, or with their number.
pub(crate) async fn query(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::QueryRequest,
) -> Result<milvus::QueryResults, Failure> {
    let meta = resolve::collection(proxy, caller, &request.db_name, &request.collection_name)?;
    let partitions = resolve::partitions(&meta, &request.partition_names)?;
    let params = Params::new("query_params", &request.query_params)?;
    check_collection(&meta, &params)?;
    for (key, what) in [
        ("order_by_fields", "ordering query results by fields"),
        ("group_by_fields", "grouping query results"),
    ] {
        if params.text(key).is_some_and(|t| !t.is_empty()) {
            return Err(unsupported(&format!("{key}: {what}")));
        }
    }
    let filter = filter::parse(&request.expr, request.expr_template_values, &meta.schema)?;
    let counts = request.output_fields.iter().any(|f| is_count(f));
    let is_aggregate = |f: &&String| f.ends_with(')') && f.contains('(') && !is_count(f);
    if let Some(aggregate) = request.output_fields.iter().find(is_aggregate) {
        return Err(unsupported(&format!(
            "output_fields: aggregate {aggregate}"
        )));
    }
    let plan = plan(&params, filter, &request.expr, counts)?;
    let output = if counts {
        if request.output_fields.len() > 1 {
            return Err(Failure::invalid(
                "output_fields: count(*) can't be combined with other fields",
            ));
        }
        if plan.limit.is_some() {
            return Err(Failure::invalid(
                "limit: count entities with pagination is not allowed",
            ));
        }
        None
    } else {
        Some(Output::resolve(&meta, &request.output_fields)?.with_primary(&meta.schema))
    };
    let partitions = view::loaded(&meta, partitions)?;
    let guarantee = view::guarantee(
        proxy,
        &meta,
        request.consistency_level,
        request.use_default_consistency,
        request.guarantee_timestamp,
        plan.is_iterator,
    )?;
    let mut results = with_view!(proxy, &meta, partitions, guarantee, |view| answer(
        proxy,
        view,
        &plan,
        output.as_ref()
    ))?;
    results.collection_name = request.collection_name;
    Ok(results)
}

fn is_count(name: &str) -> bool {
    name.trim().eq_ignore_ascii_case(COUNT)
}

fn plan(
    params: &Params,
    filter: Option<Arc<Predicate>>,
    text: &str,
    counts: bool,
) -> Result<Plan, Failure> {
    let is_iterator = params.boolean("iterator")?.unwrap_or(false);
    let limit = params.number::<i64>("limit")?;
    let offset = params.number::<i64>("offset")?.unwrap_or(0);
    let in_range = |name: &str, n: i64, least: u64| {
        u64::try_from(n)
            .ok()
            .filter(|n| (least..=MAX_TOP_K).contains(n))
            .ok_or_else(|| {
                params.invalid(
                    name,
                    format_args!(
                        "{name} [{n}] is invalid, it should be in range [{least}, {MAX_TOP_K}]"
                    ),
                )
            })
    };
    let offset = in_range("offset", offset, 0)?;
    let limit = match limit {
        Some(limit) => Some(in_range("limit", limit, 1)?),
        None if offset > 0 => return Err(params.invalid("offset", "it needs a limit")),
        None => None,
    };
    if let Some(limit) = limit
        && limit + offset > MAX_TOP_K
    {
        return Err(Failure::invalid(format!(
            "(offset+limit) should be in range [1, {MAX_TOP_K}], but got {}",
            limit + offset
        )));
    }
    if text.trim().is_empty() && limit.is_none() && !counts {
        return Err(Failure::invalid(
            "empty expression should be used with limit",
        ));
    }
    let size = |n: u64| usize::try_from(n).expect("at most MAX_TOP_K");
    Ok(Plan {
        filter,
        limit: limit.map(size),
        offset: size(offset),
        is_iterator,
        ignore_growing: params.boolean("ignore_growing")?.unwrap_or(false),
    })
}

impl Plan {
    fn spec(
        &self,
        proxy: &Proxy,
        view: &View,
        fields: Vec<FieldId>,
        limit: Option<usize>,
    ) -> QuerySpec {
        let primary = view.meta.schema.primary().id;
        QuerySpec {
            keys: self.filter.as_ref().and_then(|f| f.required_keys(primary)),
            filter: self.filter.clone(),
            fields,
            limit,
            after: None,
            at: view.ts,
            ttl_before: resolve::expired_before(proxy, &view.meta),
        }
    }
}

async fn answer(
    proxy: &Proxy,
    view: &View,
    plan: &Plan,
    output: Option<&Output>,
) -> Result<milvus::QueryResults, Failure> {
    match output {
        None => count(proxy, view, plan).await,
        Some(output) => rows(proxy, view, plan, output).await,
    }
}

async fn count(proxy: &Proxy, view: &View, plan: &Plan) -> Result<milvus::QueryResults, Failure> {
    let rows = view
        .count(
            proxy,
            plan.spec(proxy, view, Vec::new(), None),
            plan.ignore_growing,
        )
        .await?;
    let column: ArrayRef = Arc::new(Int64Array::from(vec![
        i64::try_from(rows).unwrap_or(i64::MAX),
    ]));
    let data = field_data::from_column(&column, &count_field())?;
    Ok(results(view, plan, vec![data], vec![COUNT.to_owned()]))
}

/// The field that a count is answered as.
fn count_field() -> FieldSchema {
    FieldSchema {
        id: FieldId(0),
        name: COUNT.to_owned(),
        description: String::new(),
        data_type: DataType::Int64,
        element_type: None,
        dim: None,
        max_length: None,
        max_capacity: None,
        is_primary: false,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: false,
        type_params: Vec::new(),
    }
}

async fn rows(
    proxy: &Proxy,
    view: &View,
    plan: &Plan,
    output: &Output,
) -> Result<milvus::QueryResults, Failure> {
    let row_bytes = output.row_bytes(&view.meta.schema).max(1);
    // More rows than an answer can hold are not worth reading; one more tells that there are.
    let most = usize::try_from(proxy.options.answer_bytes_max as u64 / row_bytes)
        .unwrap_or(usize::MAX)
        .max(1);
    let wanted = plan.limit.map_or(most + 1, |limit| limit + plan.offset);
    let expected = match plan.limit {
        Some(_) => wanted as u64,
        // Counted first, so that there is memory for them before they are there.
        None => {
            let spec = plan.spec(proxy, view, Vec::new(), None);
            let rows = view.count(proxy, spec, plan.ignore_growing).await?;
            if rows > most as u64 {
                return Err(too_large(&view.meta, proxy));
            }
            rows
        }
    };
    let mut memory = reserve(proxy, row_bytes.saturating_mul(expected))?;
    let spec = plan.spec(proxy, view, output.fields.clone(), Some(wanted));
    let found = view.query(proxy, spec, plan.ignore_growing).await?;
    if plan.limit.is_none() && found.len() > most {
        return Err(too_large(&view.meta, proxy));
    }
    memory.resize(found.batch.get_array_memory_size() as u64);
    let rows = found.len();
    let offset = plan.offset.min(rows);
    let batch = found
        .batch
        .slice(offset, plan.limit.unwrap_or(rows).min(rows - offset));
    let output = output.clone();
    let schema = Arc::clone(&view.meta.schema);
    let names = output.names.clone();
    let columns = proxy
        .pool
        .run(move || output.to_wire(&schema, &batch))
        .await??;
    Ok(results(view, plan, columns, names))
}

fn reserve(proxy: &Proxy, bytes: u64) -> Result<holdfast_runtime::Reservation, Failure> {
    proxy
        .budget
        .try_reserve(MemoryKind::Query, bytes)
        .map_err(|e| {
            e.to_failure().within(
                "query results: ask for fewer rows or fields at a time, or raise memory_budget",
            )
        })
}

fn too_large(meta: &CollectionMeta, proxy: &Proxy) -> Failure {
    Failure::invalid(format!(
        "query results of collection {} exceed the limit of {} bytes of one answer: use a limit, a narrower filter or a query iterator",
        meta.name, proxy.options.answer_bytes_max
    ))
}

fn results(
    view: &View,
    plan: &Plan,
    fields_data: Vec<schema::FieldData>,
    output_fields: Vec<String>,
) -> milvus::QueryResults {
    milvus::QueryResults {
        status: Some(status::ok()),
        fields_data,
        output_fields,
        session_ts: if plan.is_iterator { view.ts.0 } else { 0 },
        primary_field_name: view.meta.schema.primary().name.clone(),
        ..Default::default()
    }
}
