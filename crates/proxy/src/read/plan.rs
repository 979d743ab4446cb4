//! The parameters of a search.

use std::{ops::Bound, sync::Arc};

use holdfast_expr::Predicate;
use holdfast_index::{QueryVector, Within};
use holdfast_meta::{CollectionMeta, IndexKind};
use holdfast_proto::kv::Params;
use holdfast_segment::{GroupBy, SearchParams, SearchSpec};
use holdfast_types::{
    DataType, Failure, FieldSchema, Metric, Timestamp,
    limits::{MAX_GROUP_SIZE, MAX_TOP_K},
};

/// Where a search iterator stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IteratorState {
    /// Names the iterator; made by the server at the first call.
    pub(crate) token: String,
    /// The score after which the next batch begins; absent at the first call.
    pub(crate) last_bound: Option<f32>,
}

/// A search as its parameters describe it, without query vectors.
#[derive(Clone, Debug)]
pub(crate) struct SearchPlan {
    pub(crate) field: FieldSchema,
    pub(crate) metric: Metric,
    /// Hits wanted per query, `offset` not included.
    pub(crate) limit: usize,
    pub(crate) offset: usize,
    pub(crate) params: SearchParams,
    pub(crate) within: Within,
    pub(crate) group_by: Option<GroupBy>,
    /// The legacy key was used: the group's value is answered in the legacy place, too.
    pub(crate) legacy_group: bool,
    /// Digits after the point that scores are rounded to.
    pub(crate) round_decimal: Option<u32>,
    pub(crate) iterator: Option<IteratorState>,
    /// Whether this is a page of any kind of iterator.
    pub(crate) is_iterator: bool,
    /// Only flushed rows.
    pub(crate) ignore_growing: bool,
}

impl SearchPlan {
    /// Reads the parameters.
    pub(crate) fn of(meta: &CollectionMeta, params: &Params) -> Result<Self, Failure> {
        check_collection(meta, params)?;
        let field = vector_field(meta, params.text("anns_field").unwrap_or(""))?.clone();
        let metric = metric(meta, &field, params)?;
        let is_iterator = params.boolean("iterator")?.unwrap_or(false);
        let iterator = iterator(params, is_iterator)?;
        let batch = match &iterator {
            Some(_) => params.number::<u64>("search_iter_batch_size")?,
            None => None,
        };
        let limit = match batch {
            Some(batch) if batch == 0 || batch > MAX_TOP_K => {
                return Err(params.invalid(
                    "search_iter_batch_size",
                    format_args!("batch size {batch} is not in 1..={MAX_TOP_K}"),
                ));
            }
            Some(batch) => batch,
            None => params
                .number::<u64>("topk")?
                .ok_or_else(|| params.invalid("topk", "it is required: pass limit"))?,
        };
        let offset = params.number::<u64>("offset")?.unwrap_or(0);
        let (limit, offset) = window(limit, offset)?;
        let group_by = group_by(meta, params)?;
        if is_iterator && group_by.is_some() {
            return Err(Failure::invalid(
                "group_by_field: Not allowed to do groupBy when doing iteration",
            ));
        }
        if iterator.is_some() && offset > 0 {
            return Err(Failure::invalid(
                "offset: it can't be used with a search iterator",
            ));
        }
        let within = within(metric, params, iterator.as_ref())?;
        if group_by.is_some() && params.text("radius").is_some() {
            return Err(Failure::invalid(
                "group_by_field: Not allowed to do range-search when doing search-group-by",
            ));
        }
        if params
            .text("order_by_fields")
            .is_some_and(|t| !t.is_empty())
        {
            return Err(unsupported(
                "order_by_fields: ordering search results by fields",
            ));
        }
        let ignore_growing = params.boolean("ignore_growing")?.unwrap_or(false);
        Ok(Self {
            params: search_params(meta, &field, params)?,
            field,
            metric,
            limit,
            offset,
            within,
            legacy_group: params.text("group_by_field").is_some_and(|t| !t.is_empty()),
            group_by,
            round_decimal: round_decimal(params)?,
            iterator,
            is_iterator,
            ignore_growing,
        })
    }

    /// The search as segments understand it.
    pub(crate) fn spec(
        &self,
        queries: Arc<[QueryVector]>,
        filter: Option<Arc<Predicate>>,
        at: Timestamp,
        ttl_before: Option<Timestamp>,
    ) -> SearchSpec {
        SearchSpec {
            field: self.field.id,
            metric: self.metric,
            queries,
            top_k: self.limit + self.offset + usize::from(self.iterator.is_some()),
            params: self.params,
            within: self.within,
            filter,
            group_by: self.group_by.clone(),
            at,
            ttl_before,
        }
    }

    /// The score that a client sees.
    pub(crate) fn score(&self, distance: f32) -> f32 {
        // Adding zero turns -0 into 0.
        round(self.metric.score(distance) + 0.0, self.round_decimal)
    }
}

/// Rounds to that many digits after the point.
pub(crate) fn round(score: f32, digits: Option<u32>) -> f32 {
    let Some(digits) = digits else { return score };
    let factor = 10f64.powi(digits.cast_signed());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "scores are 32 bit on the wire"
    )]
    let rounded = ((f64::from(score) * factor).round() / factor) as f32;
    rounded
}

/// Digits asked for; absent for -1.
pub(crate) fn round_decimal(params: &Params) -> Result<Option<u32>, Failure> {
    match params.number::<i64>("round_decimal")? {
        None | Some(-1) => Ok(None),
        Some(digits @ 0..=6) => Ok(u32::try_from(digits).ok()),
        Some(other) => {
            Err(params.invalid("round_decimal", format_args!("{other} is not in -1..=6")))
        }
    }
}

/// Checks limit and offset.
pub(crate) fn window(limit: u64, offset: u64) -> Result<(usize, usize), Failure> {
    if limit == 0 || limit > MAX_TOP_K {
        return Err(Failure::invalid(format!(
            "topk [{limit}] is invalid, it should be in range [1, {MAX_TOP_K}]: choose another limit"
        )));
    }
    if limit.saturating_add(offset) > MAX_TOP_K {
        return Err(Failure::invalid(format!(
            "(offset+limit) should be in range [1, {MAX_TOP_K}], but got {}",
            limit.saturating_add(offset)
        )));
    }
    let size = |n: u64| usize::try_from(n).expect("at most MAX_TOP_K");
    Ok((size(limit), size(offset)))
}

/// Refuses a request that was meant for a collection that had this name before.
pub(crate) fn check_collection(meta: &CollectionMeta, params: &Params) -> Result<(), Failure> {
    match params.number::<i64>("collection_id")? {
        Some(id) if id != 0 && id != meta.id.0 => Err(params.invalid(
            "collection_id",
            format_args!(
                "{id} is not collection {} ({}): it was dropped or renamed while it was iterated",
                meta.name, meta.id
            ),
        )),
        _ => Ok(()),
    }
}

/// The vector field that is searched.
pub(crate) fn vector_field<'a>(
    meta: &'a CollectionMeta,
    name: &str,
) -> Result<&'a FieldSchema, Failure> {
    if name.is_empty() {
        let mut vectors = meta.schema.vectors();
        return match (vectors.next(), vectors.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Failure::invalid(
                "anns_field: multiple anns_fields exist, please specify a anns_field in search_params",
            )),
        };
    }
    let field = meta.schema.field(name).ok_or_else(|| {
        Failure::invalid(format!(
            "anns_field: failed to get field schema by name: fieldName({name}) not found"
        ))
    })?;
    if !field.data_type.is_vector() {
        return Err(Failure::invalid(format!(
            "anns_field: field ({name}) to search is not of vector data type but {}",
            field.data_type
        )));
    }
    Ok(field)
}

fn metric(meta: &CollectionMeta, field: &FieldSchema, params: &Params) -> Result<Metric, Failure> {
    let of_index = meta.indexes_on(field.id).find_map(|i| i.metric);
    let asked = match params
        .text("metric_type")
        .map(str::trim)
        .filter(|t| !t.is_empty())
    {
        Some(text) => Some(
            text.parse::<Metric>()
                .map_err(|e| Failure::invalid(e.to_string()))?,
        ),
        None => None,
    };
    let metric = match (asked, of_index) {
        (Some(asked), Some(of_index)) if asked != of_index => {
            return Err(Failure::invalid(format!(
                "metric type not match: invalid parameter[expected={of_index}][actual={asked}]"
            )));
        }
        (asked, of_index) => asked
            .or(of_index)
            .unwrap_or_else(|| Metric::default_for(field.data_type)),
    };
    if metric.applies_to(field.data_type) {
        Ok(metric)
    } else {
        Err(Failure::invalid(format!(
            "metric_type: {metric} does not apply to field {} of type {}",
            field.name, field.data_type
        )))
    }
}

fn search_params(
    meta: &CollectionMeta,
    field: &FieldSchema,
    params: &Params,
) -> Result<SearchParams, Failure> {
    let ef = match params.number::<i64>("ef")? {
        None => None,
        Some(ef) => Some(
            usize::try_from(ef)
                .ok()
                .filter(|&ef| (1..=i32::MAX as usize).contains(&ef))
                .ok_or_else(|| {
                    params.invalid(
                        "ef",
                        format_args!("param 'ef' ({ef}) should be in range [1, {}]", i32::MAX),
                    )
                })?,
        ),
    };
    if let Some(nprobe) = params.number::<i64>("nprobe")?
        && !(1..=65_536).contains(&nprobe)
    {
        return Err(params.invalid("nprobe", format_args!("{nprobe} is not in 1..=65536")));
    }
    let drop_ratio_search = params.number::<f32>("drop_ratio_search")?.unwrap_or(0.0);
    if !(0.0..1.0).contains(&drop_ratio_search) {
        return Err(params.invalid(
            "drop_ratio_search",
            format_args!("{drop_ratio_search} is not in [0, 1)"),
        ));
    }
    let exact = meta
        .indexes_on(field.id)
        .any(|i| matches!(i.kind, IndexKind::Flat | IndexKind::BinFlat));
    Ok(SearchParams {
        ef,
        drop_ratio_search,
        exact,
    })
}

/// The distances that count: those of a range search, beyond where an iterator stands.
fn within(
    metric: Metric,
    params: &Params,
    iterator: Option<&IteratorState>,
) -> Result<Within, Failure> {
    let radius = params.number::<f32>("radius")?;
    let range_filter = params.number::<f32>("range_filter")?;
    let mut within = Within::ALL;
    match (radius, range_filter) {
        (None, Some(_)) => return Err(params.invalid("range_filter", "it needs radius")),
        (Some(radius), Some(range_filter)) => {
            let ordered = if metric.larger_is_closer() {
                range_filter > radius
            } else {
                range_filter < radius
            };
            if !ordered {
                let relation = if metric.larger_is_closer() {
                    "greater"
                } else {
                    "less"
                };
                return Err(params.invalid(
                    "range_filter",
                    format_args!(
                        "{range_filter} must be {relation} than radius {radius} for metric {metric}"
                    ),
                ));
            }
        }
        _ => {}
    }
    if let Some(range_filter) = range_filter {
        within.from = Bound::Included(metric.score(range_filter));
    }
    if let Some(radius) = radius {
        within.to = Bound::Excluded(metric.score(radius));
    }
    if let Some(bound) = iterator.and_then(|i| i.last_bound) {
        let bound = metric.score(bound);
        let inside = match within.from {
            Bound::Included(from) | Bound::Excluded(from) => bound < from,
            Bound::Unbounded => false,
        };
        if !inside {
            within.from = Bound::Excluded(bound);
        }
    }
    Ok(within)
}

fn iterator(params: &Params, is_iterator: bool) -> Result<Option<IteratorState>, Failure> {
    if !is_iterator || !params.boolean("search_iter_v2")?.unwrap_or(false) {
        return Ok(None);
    }
    let token = match params.text("search_iter_id").filter(|t| !t.is_empty()) {
        Some(text) => uuid::Uuid::parse_str(text)
            .map_err(|_| {
                params.invalid(
                    "search_iter_id",
                    format_args!("{text:?} is not a token of this server"),
                )
            })?
            .to_string(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    Ok(Some(IteratorState {
        token,
        last_bound: params.number::<f32>("search_iter_last_bound")?,
    }))
}

fn group_by(meta: &CollectionMeta, params: &Params) -> Result<Option<GroupBy>, Failure> {
    let text = |key: &str| {
        params
            .text(key)
            .map(str::trim)
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
    };
    let name = match (text("group_by_field"), text("group_by_fields")) {
        (Some(single), _) => single,
        (None, Some(list)) if list.contains(',') => {
            return Err(unsupported("group_by_fields: grouping by several fields"));
        }
        (None, Some(single)) => single,
        (None, None) => return Ok(None),
    };
    let size = params.number::<u64>("group_size")?.unwrap_or(1);
    if size == 0 || size > MAX_GROUP_SIZE {
        return Err(params.invalid("group_size", format_args!("input group size:{size} exceeds configured max group size:{MAX_GROUP_SIZE}, or is 0")));
    }
    let access = holdfast_expr::parse_json_path(&name, &meta.schema).map_err(|e| {
        params.invalid(
            "group_by_field",
            format_args!("groupBy field not found in schema: {}", e.message),
        )
    })?;
    let groupable = match access.result_type() {
        None => true,
        Some(t) => t.is_integer() || matches!(t, DataType::Bool | DataType::VarChar),
    };
    if !groupable {
        return Err(params.invalid(
            "group_by_field",
            format_args!(
                "field {name} of type {} can't be grouped by",
                access.data_type
            ),
        ));
    }
    if vector_field(meta, params.text("anns_field").unwrap_or(""))?.data_type
        == DataType::BinaryVector
    {
        return Err(params.invalid(
            "group_by_field",
            "not support search_group_by operation based on binary vector column",
        ));
    }
    Ok(Some(GroupBy {
        access,
        group_size: usize::try_from(size).expect("at most MAX_GROUP_SIZE"),
        strict: params.boolean("strict_group_size")?.unwrap_or(false),
    }))
}

pub(crate) fn unsupported(what: &str) -> Failure {
    Failure::new(
        holdfast_types::Code::Unsupported,
        format!("{what} is not supported by this version of Holdfast"),
    )
}
