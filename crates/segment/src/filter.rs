//! Which rows of a batch satisfy a predicate.
//!
//! Truth has three values, as [`holdfast_expr::predicate`] says. Cheap conditions go first; expensive
//! ones (text patterns, JSON) only look at rows that are still open. A JSON document is read at most
//! once per row, and only the paths that the predicate names are taken out of it.
//!
//! A floating literal that meets a `Float` column is rounded to binary32 first, so that
//! `price == 0.1` finds the row that was written as 0.1.
//!
//! | module      | what it knows                                        |
//! |-------------|------------------------------------------------------|
//! | [`truth`]   | a three-valued bit per row                           |
//! | [`operand`] | the value of an operand in a row                     |
//! | [`leaf`]    | conditions on one or two operands                    |
//! | [`json`]    | taking paths out of JSON text                        |

pub(crate) mod json;
mod leaf;
mod operand;
#[cfg(test)]
mod tests;
pub(crate) mod truth;

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use arrow_array::{ArrayRef, RecordBatch};
use holdfast_expr::{Access, Predicate};
use holdfast_index::Cancel;
use holdfast_types::{CollectionSchema, DataType, FieldId};

use self::json::JsonColumn;
pub use self::truth::Truth;
use crate::{SegmentError, fields, table};

/// Rows evaluated at once when JSON is involved: bounds the memory that extracted values take.
const JSON_ROWS: usize = 1_024;
/// Rows evaluated between two looks at the cancel flag.
const ROWS: usize = 65_536;

/// The truth of `predicate` in every row of `batch`.
///
/// # Errors
/// [`SegmentError::UnknownField`] when the predicate was made for another schema.
pub fn eval(
    predicate: &Predicate,
    batch: &RecordBatch,
    schema: &CollectionSchema,
) -> Result<Truth, SegmentError> {
    let open = truth::full(batch.num_rows());
    eval_open(predicate, batch, schema, &open, &Cancel::new())
}

/// As [`eval`], for the rows whose bit is set in `open`; the others' truth means nothing.
pub(crate) fn eval_open(
    predicate: &Predicate,
    batch: &RecordBatch,
    schema: &CollectionSchema,
    open: &[u64],
    cancel: &Cancel,
) -> Result<Truth, SegmentError> {
    let mut uses_json = false;
    predicate.visit_accesses(&mut |access| uses_json |= access.data_type == DataType::Json);
    let step = if uses_json { JSON_ROWS } else { ROWS };
    let mut truth = Truth::with_capacity(batch.num_rows());
    for start in (0..batch.num_rows()).step_by(step) {
        cancel.check()?;
        let rows = step.min(batch.num_rows() - start);
        let open = &open[start / 64..(start + rows).div_ceil(64)];
        if open.iter().all(|word| *word == 0) {
            truth.append(&Truth::unknown(rows));
            continue;
        }
        let slice = batch.slice(start, rows);
        let mut rows = Evaluation::new(predicate, &slice, schema)?;
        truth.append(&rows.node(predicate, open)?);
    }
    Ok(truth)
}

/// The rows, with a column for each vector field that `predicate` asks about, made by `presence`: vectors
/// are kept apart from the rows that filters read, and whether there is one is all that a filter asks.
pub(crate) fn with_presence<'b>(
    predicate: &Predicate,
    batch: &'b RecordBatch,
    schema: &CollectionSchema,
    presence: impl Fn(FieldId) -> Result<ArrayRef, SegmentError>,
) -> Result<Cow<'b, RecordBatch>, SegmentError> {
    let mut vectors: Vec<FieldId> = Vec::new();
    predicate.visit_accesses(&mut |access| {
        if access.data_type.is_vector() {
            vectors.push(access.field);
        }
    });
    vectors.sort_unstable();
    vectors.dedup();
    vectors
        .into_iter()
        .try_fold(Cow::Borrowed(batch), |batch, field| {
            table::with_column(&batch, schema, field, presence(field)?).map(Cow::Owned)
        })
}

/// The rows of `open` in which `predicate` is true.
pub(crate) fn passing(
    predicate: &Predicate,
    batch: &RecordBatch,
    schema: &CollectionSchema,
    open: &[u64],
    cancel: &Cancel,
) -> Result<Vec<u64>, SegmentError> {
    let mut words = eval_open(predicate, batch, schema, open, cancel)?.into_yes();
    for (word, open) in words.iter_mut().zip(open) {
        *word &= open;
    }
    Ok(words)
}

/// One predicate over one slice of rows.
struct Evaluation {
    rows: usize,
    columns: HashMap<FieldId, ArrayRef>,
    json: HashMap<FieldId, JsonColumn>,
}

impl Evaluation {
    fn new(
        predicate: &Predicate,
        batch: &RecordBatch,
        schema: &CollectionSchema,
    ) -> Result<Self, SegmentError> {
        let mut accesses: Vec<&Access> = Vec::new();
        predicate.visit_accesses(&mut |access| accesses.push(access));
        let mut columns = HashMap::new();
        let mut json: HashMap<FieldId, JsonColumn> = HashMap::new();
        for access in accesses {
            let id = access.field;
            if let Entry::Vacant(place) = columns.entry(id) {
                place.insert(fields::column(batch, schema, id)?);
            }
            if access.data_type == DataType::Json {
                json.entry(id)
                    .or_insert_with(|| JsonColumn::new(batch.num_rows()))
                    .want(&access.path);
            }
        }
        Ok(Self {
            rows: batch.num_rows(),
            columns,
            json,
        })
    }

    /// Recursion is bounded by the parser's depth limit.
    fn node(&mut self, predicate: &Predicate, open: &[u64]) -> Result<Truth, SegmentError> {
        match predicate {
            Predicate::Const(value) => Ok(Truth::constant(self.rows, *value)),
            Predicate::And(children) => {
                let mut truth = Truth::constant(self.rows, true);
                let mut open = open.to_vec();
                for child in cheapest_first(children) {
                    let child = self.node(child, &open)?;
                    truth.and(&child);
                    if !truth::exclude(&mut open, child.no()) {
                        break;
                    }
                }
                Ok(truth)
            }
            Predicate::Or(children) => {
                let mut truth = Truth::constant(self.rows, false);
                let mut open = open.to_vec();
                for child in cheapest_first(children) {
                    let child = self.node(child, &open)?;
                    truth.or(&child);
                    if !truth::exclude(&mut open, child.yes()) {
                        break;
                    }
                }
                Ok(truth)
            }
            Predicate::Not(child) => Ok(self.node(child, open)?.not()),
            leaf => {
                self.read_json(leaf, open)?;
                self.leaf(leaf, open)
            }
        }
    }

    /// Takes the documents apart that `leaf` needs in open rows.
    fn read_json(&mut self, leaf: &Predicate, open: &[u64]) -> Result<(), SegmentError> {
        let mut wanted: Vec<FieldId> = Vec::new();
        leaf.visit_accesses(&mut |access| {
            if access.data_type == DataType::Json {
                wanted.push(access.field);
            }
        });
        for id in wanted {
            if let (Some(json), Some(column)) = (self.json.get_mut(&id), self.columns.get(&id)) {
                json.read(fields::downcast(column)?, open);
            }
        }
        Ok(())
    }
}

fn cheapest_first(children: &[Predicate]) -> Vec<&Predicate> {
    let mut sorted: Vec<&Predicate> = children.iter().collect();
    sorted.sort_by_key(|child| cost(child));
    sorted
}

/// Rough cost per row, in comparisons of two numbers.
pub(crate) fn cost(predicate: &Predicate) -> u32 {
    match predicate {
        Predicate::Const(_) => 0,
        Predicate::And(children) | Predicate::Or(children) => {
            children.iter().map(cost).fold(0, u32::saturating_add)
        }
        Predicate::Not(child) => cost(child),
        leaf => {
            let mut sum = match leaf {
                Predicate::Like { .. } => 10_u32,
                Predicate::In { .. } => 4,
                _ => 0,
            };
            leaf.visit_accesses(&mut |access| {
                sum = sum.saturating_add(match access.data_type {
                    DataType::Json => 200,
                    DataType::Array => 10,
                    DataType::VarChar => 4,
                    _ => 1,
                });
            });
            sum
        }
    }
}
