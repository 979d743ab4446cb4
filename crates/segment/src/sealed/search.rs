//! The planner: which rows count, and how they are compared.

use std::sync::Arc;

use holdfast_expr::Predicate;
use holdfast_index::{Allow, BitSet, Cancel, Neighbor, QueryVector, Within, flat_search};
use holdfast_types::{PkList, Timestamp};

use super::{Core, SealedSegment, indexes::VectorIndex, overlay::Rows};
use crate::{
    GroupValue, Hit, SearchSpec, SegmentError, answer,
    filter::{self, truth},
    rows,
    vectors::VectorColumn,
};

/// With fewer passing rows than this, comparing them all is faster than any walk.
const FLAT_ROWS: usize = 4_096;
/// Below this share of passing rows a graph walk mostly visits rows that do not pass.
const FLAT_SHARE: f64 = 0.04;
/// Beam width when the client gives none.
const EF_MIN: usize = 64;

/// How one search is done.
#[derive(Debug)]
pub(super) enum Plan<'a> {
    /// No row passes.
    Nothing,
    /// Compare every allowed row.
    Flat,
    /// Ask the index.
    Index(&'a VectorIndex),
}

impl SealedSegment {
    /// The nearest rows for each query vector, nearest first; with `group_by`, rows of a group adjacent.
    ///
    /// Exact when few rows pass, when there is no index for the metric, or when asked for. An index that
    /// finds fewer rows than pass is not believed: all passing rows are compared then.
    ///
    /// # Errors
    /// [`SegmentError::Invalid`] when a query does not fit the field; [`SegmentError::Cancelled`].
    pub fn search(
        &self,
        spec: &SearchSpec,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<Hit>>, SegmentError> {
        let core = &*self.core;
        let schema = core.reads.get();
        let field = rows::check_search(&schema, spec)?;
        let allowed = self.allowed(spec.filter.as_deref(), spec.at, spec.ttl_before, cancel)?;
        let column = core.vectors_to_read(field)?;
        let column = &*column;
        let search = VectorSearch {
            spec,
            column,
            passing: passing_vectors(column, &allowed),
            plan: self.plan(spec, column, &allowed),
            allowed,
            cancel,
        };
        let mut answers = Vec::with_capacity(spec.queries.len());
        for query in spec.queries.iter() {
            let found: Vec<(Neighbor, Option<GroupValue>)> = match &spec.group_by {
                None => {
                    let found = search.nearest(query, spec.top_k)?;
                    found.into_iter().map(|n| (n, None)).collect()
                }
                Some(group_by) => {
                    let access = &group_by.access;
                    let found = answer::grouped(
                        group_by,
                        spec.top_k,
                        search.passing,
                        cancel,
                        |k| search.nearest(query, k),
                        |rows| answer::group_values(access, &core.gather(access.field, rows)?),
                    )?;
                    found.into_iter().map(|(n, g)| (n, Some(g))).collect()
                }
            };
            answers.push(rows::hits(core.id, found, |row| {
                Ok((core.keys.get(row as usize), core.stamp(row as usize)))
            })?);
        }
        Ok(answers)
    }

    pub(super) fn plan<'a>(
        &'a self,
        spec: &SearchSpec,
        column: &VectorColumn,
        allowed: &Rows,
    ) -> Plan<'a> {
        let passing = passing_vectors(column, allowed);
        if passing == 0 || spec.top_k == 0 {
            return Plan::Nothing;
        }
        let few = passing < FLAT_ROWS
            || (passing as f64) < FLAT_SHARE * column.positions() as f64
            // The walk would have to visit most rows anyway.
            || spec.top_k >= passing / 2;
        let index = self
            .indexes
            .iter()
            .find_map(|index| index.vectors(spec.field, spec.metric));
        let plan = match index {
            Some(index) if !spec.params.exact && !few => Plan::Index(index),
            _ => Plan::Flat,
        };
        tracing::debug!(
            segment = self.core.id.0,
            rows = column.len(),
            passing,
            indexed = matches!(plan, Plan::Index(_)),
            "search planned"
        );
        plan
    }

    /// The rows that are visible and for which the filter is true.
    pub(super) fn allowed(
        &self,
        filter: Option<&Predicate>,
        at: Timestamp,
        ttl_before: Option<Timestamp>,
        cancel: &Cancel,
    ) -> Result<Rows, SegmentError> {
        let visible = self.core.visible(at, ttl_before);
        let Some(filter) = filter.filter(|f| !f.is_always_true()) else {
            return Ok(visible);
        };
        let (mut bits, rest) = self.narrowed(visible, filter);
        if let Some(rest) = rest {
            for part in 0..self.core.parts.len() {
                if let Some(words) = self.core.passing_in(part, &rest, &bits, cancel)? {
                    bits = replaced(bits, self.core.parts[part].base, &words);
                }
            }
        }
        Ok(Rows::Some(Arc::new(bits)))
    }

    /// The rows of `visible` that pass the conditions which indexes and keys answer, and what is left
    /// of the filter.
    pub(super) fn narrowed(
        &self,
        visible: Rows,
        filter: &Predicate,
    ) -> (BitSet, Option<Predicate>) {
        let core = &*self.core;
        let rows = core.keys.len();
        let mut bits = visible.into_bits(rows);
        let mut rest: Vec<Predicate> = Vec::new();
        let primary = core.reads.get().primary().id;
        for part in filter.conjuncts() {
            if part.is_always_true() {
                continue;
            }
            if let Some(keys) = part.pk_equals(primary) {
                bits.and(&core.rows_of(&keys));
            } else if let Some(answer) = self.answer(part) {
                bits.and(&BitSet::from_rows(&answer, rows));
            } else {
                rest.push(part.clone());
            }
        }
        rest.sort_by_key(filter::cost);
        let rest = match rest.len() {
            0 => None,
            1 => rest.pop(),
            _ => Some(Predicate::And(rest)),
        };
        (bits, rest)
    }
}

impl Core {
    /// All versions of these keys.
    pub(super) fn rows_of(&self, keys: &PkList) -> BitSet {
        let mut bits = BitSet::new(self.keys.len());
        for key in keys.iter() {
            for row in self.keys.rows(&key) {
                bits.set(row);
            }
        }
        bits
    }

    /// The rows of a part's words of `bits` that pass; `None` when no bit is set there.
    pub(super) fn passing_in(
        &self,
        part: usize,
        filter: &Predicate,
        bits: &BitSet,
        cancel: &Cancel,
    ) -> Result<Option<Vec<u64>>, SegmentError> {
        cancel.check()?;
        let part = &self.parts[part];
        // Parts start at whole words: checked when the segment was opened.
        let words = part.base / 64..(part.base + part.batch.num_rows()).div_ceil(64);
        let open = &bits.words()[words];
        if truth::count(open) == 0 {
            return Ok(None);
        }
        let rows = part.base..part.base + part.batch.num_rows();
        let schema = self.reads.get();
        let batch = filter::with_presence(filter, &part.batch, &schema, |field| {
            let field = schema
                .field_by_id(field)
                .ok_or(SegmentError::UnknownField(field))?;
            Ok(self.vectors_to_read(field)?.presence(rows.clone()))
        })?;
        filter::passing(filter, &batch, &schema, open, cancel).map(Some)
    }
}

/// `bits` with the words from row `base` replaced.
fn replaced(bits: BitSet, base: usize, words: &[u64]) -> BitSet {
    let len = bits.len();
    let mut all = bits.into_words();
    all[base / 64..base / 64 + words.len()].copy_from_slice(words);
    BitSet::from_words(all, len)
}

/// How many allowed rows have a vector.
fn passing_vectors(column: &VectorColumn, allowed: &Rows) -> usize {
    match (allowed, column.rows()) {
        (Rows::All, _) => column.positions(),
        (Rows::Some(bits), None) => bits.count(),
        (Rows::Some(bits), Some(rows)) => {
            rows.iter().filter(|row| bits.get(**row as usize)).count()
        }
    }
}

/// One search over the allowed rows.
struct VectorSearch<'a> {
    spec: &'a SearchSpec,
    column: &'a VectorColumn,
    allowed: Rows,
    /// Allowed rows that have a vector.
    passing: usize,
    plan: Plan<'a>,
    cancel: &'a Cancel,
}

impl VectorSearch<'_> {
    /// The `k` nearest allowed rows inside the window.
    fn nearest(&self, query: &QueryVector, k: usize) -> Result<Vec<Neighbor>, SegmentError> {
        match self.plan {
            Plan::Nothing => Ok(Vec::new()),
            Plan::Flat => self.flat(query, k),
            Plan::Index(index) => {
                let found = self.indexed(index, query, k)?;
                match found {
                    Some(found) => Ok(found),
                    None => self.flat(query, k),
                }
            }
        }
    }

    fn allow(&self) -> Allow<'_> {
        match &self.allowed {
            Rows::All => Allow::All,
            Rows::Some(bits) => Allow::Bits(bits),
        }
    }

    fn flat(&self, query: &QueryVector, k: usize) -> Result<Vec<Neighbor>, SegmentError> {
        let positions = match &self.allowed {
            Rows::All => None,
            Rows::Some(bits) => Some(self.column.allowed_positions(bits)),
        };
        let allow = positions.as_deref().map_or(Allow::All, Allow::Bits);
        let found = flat_search(
            &self.column.data()?,
            query,
            self.spec.metric,
            allow,
            k,
            &self.spec.within,
            self.cancel,
        )?;
        Ok(self.column.to_rows(found))
    }

    /// What the index finds; `None` when that may lack rows that it should have found.
    fn indexed(
        &self,
        index: &VectorIndex,
        query: &QueryVector,
        k: usize,
    ) -> Result<Option<Vec<Neighbor>>, SegmentError> {
        let data = self.column.data()?;
        match index {
            VectorIndex::Hnsw(graph) => {
                let ef = self.spec.params.ef.unwrap_or(EF_MIN.max(k));
                let allow = self.allow();
                let within = &self.spec.within;
                if matches!(within.from, std::ops::Bound::Unbounded) {
                    // The window only cuts off the far end: a walk that ignores it finds k rows at a
                    // known quality, and those inside of the window are a prefix of them.
                    let all = &Within::ALL;
                    let mut found = graph.search(&data, query, k, ef, allow, all, self.cancel)?;
                    let complete = found.len() >= k.min(self.passing);
                    found.retain(|n| within.contains(n.distance));
                    return Ok(complete.then_some(found));
                }
                let found = graph.search(&data, query, k, ef, allow, within, self.cancel)?;
                Ok((found.len() >= k.min(self.passing)).then_some(found))
            }
            // Inverted lists reach every row that shares anything with the query. Leaving out small
            // entries of the query is what the client asked for.
            VectorIndex::Sparse(lists) => {
                let QueryVector::Sparse(query) = query else {
                    return Ok(None);
                };
                let found = lists.search(
                    &data,
                    query,
                    k,
                    self.spec.params.drop_ratio_search,
                    self.allow(),
                    &self.spec.within,
                    self.cancel,
                )?;
                Ok(Some(found))
            }
        }
    }
}
