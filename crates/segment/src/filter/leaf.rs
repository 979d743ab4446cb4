//! Conditions on one or two operands.

use std::cmp::Ordering;

use arrow_array::{Array, ListArray, PrimitiveArray, StringArray, types::ArrowPrimitiveType};
use holdfast_expr::{Access, CompareOp, ContainsMode, InList, LikePattern, Operand, Predicate};
use holdfast_types::{DataType, Value};
use serde_json::Value as Json;

use super::{
    Evaluation, Truth,
    operand::{Reader, Scalar, Scalars, rounded},
    truth,
};
use crate::{SegmentError, fields::downcast};

/// Below one open row in this many, rows are looked at one by one.
const SPARSE: usize = 16;

impl Evaluation {
    pub(super) fn leaf(&self, leaf: &Predicate, open: &[u64]) -> Result<Truth, SegmentError> {
        match leaf {
            Predicate::Compare { left, op, right } => self.compare(left, *op, right, open),
            Predicate::In { operand, values } => self.is_in(operand, values, open),
            Predicate::Like { operand, pattern } => self.like(operand, pattern, open),
            Predicate::IsNull { access } => self.is_null(access, open),
            Predicate::Exists { access } => Ok(self.is_null(access, open)?.not()),
            Predicate::Contains {
                access,
                mode,
                values,
            } => self.contains(access, *mode, values, open),
            Predicate::Truth(access) => {
                let reader = self.access(access)?;
                Ok(self.each(open, |row| match reader.get(row)? {
                    Scalar::Bool(b) => Some(b),
                    _ => Some(false),
                }))
            }
            Predicate::Const(_) | Predicate::And(_) | Predicate::Or(_) | Predicate::Not(_) => Err(
                SegmentError::Internal("a branch was evaluated as a leaf".to_owned()),
            ),
        }
    }

    fn each(&self, open: &[u64], condition: impl FnMut(usize) -> Option<bool>) -> Truth {
        Truth::of_open(self.rows, open, condition)
    }

    fn compare(
        &self,
        left: &Operand,
        op: CompareOp,
        right: &Operand,
        open: &[u64],
    ) -> Result<Truth, SegmentError> {
        if let (Operand::Column(access), Operand::Literal(literal)) = (left, right) {
            if let Value::List(items) = literal {
                return self.compare_list(access, op, items, open);
            }
            let float_column = access.result_type() == Some(DataType::Float);
            let literal = match literal {
                Value::Float(x) if float_column => Some(Scalar::Float(rounded(*x))),
                other => Scalar::of_value(other),
            };
            let Some(literal) = literal else {
                return Ok(Truth::unknown(self.rows));
            };
            let reader = self.access(access)?;
            if let Reader::Column(column) = &reader
                && truth::count(open) * SPARSE >= self.rows
                && let Some(truth) = compare_column(*column, op, literal)
            {
                return Ok(truth);
            }
            return Ok(self.each(open, |row| Some(holds(op, reader.get(row)?, literal))));
        }
        let (left, right) = (self.reader(left)?, self.reader(right)?);
        Ok(self.each(open, |row| Some(holds(op, left.get(row)?, right.get(row)?))))
    }

    /// A whole array, or a JSON array, against a list: `==` and `!=` only.
    fn compare_list(
        &self,
        access: &Access,
        op: CompareOp,
        items: &[Value],
        open: &[u64],
    ) -> Result<Truth, SegmentError> {
        if !op.is_equality() {
            return Ok(Truth::unknown(self.rows));
        }
        let wanted_equal = op == CompareOp::Eq;
        if access.data_type == DataType::Json {
            let (column, slot) = self.json(access)?;
            return Ok(self.each(open, |row| {
                let found = column.value(row, slot).filter(|found| !found.is_null())?;
                let equal = found.as_array().is_some_and(|list| {
                    list.len() == items.len()
                        && list.iter().zip(items).all(|(a, b)| json_equals(a, b))
                });
                Some(equal == wanted_equal)
            }));
        }
        let list: &ListArray = downcast(self.column(access)?)?;
        let elements = Scalars::new(list.values())?;
        let items = prepared(items, access.element);
        Ok(self.each(open, |row| {
            let range = list_range(list, row)?;
            let equal = range.len() == items.len()
                && range
                    .zip(&items)
                    .all(|(i, item)| item.is_some_and(|item| elements.value(i).equals(item)));
            Some(equal == wanted_equal)
        }))
    }

    fn is_in(
        &self,
        operand: &Operand,
        values: &InList,
        open: &[u64],
    ) -> Result<Truth, SegmentError> {
        let reader = self.reader(operand)?;
        let float_column = operand.result_type() == Some(DataType::Float);
        if float_column {
            // Rounded as the column's values are, which keeps them in order.
            let floats: Vec<f64> = values.floats().iter().map(|x| rounded(*x)).collect();
            return Ok(self.each(open, |row| match reader.get(row)? {
                Scalar::Float(x) => Some(
                    floats.binary_search_by(|f| f.total_cmp(&(x + 0.0))).is_ok()
                        || values.contains_float(x),
                ),
                _ => None,
            }));
        }
        Ok(self.each(open, |row| {
            Some(match reader.get(row)? {
                Scalar::Int(i) => values.contains_int(i),
                Scalar::Float(x) => values.contains_float(x),
                Scalar::Str(s) => values.contains_str(s),
                Scalar::Bool(b) => values.contains_bool(b),
                Scalar::Other => false,
            })
        }))
    }

    fn like(
        &self,
        operand: &Operand,
        pattern: &LikePattern,
        open: &[u64],
    ) -> Result<Truth, SegmentError> {
        let reader = self.reader(operand)?;
        Ok(self.each(open, |row| match reader.get(row)? {
            Scalar::Str(text) => Some(pattern.matches(text)),
            _ => Some(false),
        }))
    }

    /// Never unknown.
    fn is_null(&self, access: &Access, open: &[u64]) -> Result<Truth, SegmentError> {
        if access.data_type == DataType::Json && !access.path.is_empty() {
            let (column, slot) = self.json(access)?;
            return Ok(self.each(open, |row| {
                Some(column.value(row, slot).is_none_or(Json::is_null))
            }));
        }
        if access.path.is_empty() {
            let column = self.column(access)?;
            return Ok(self.each(open, |row| Some(column.is_null(row))));
        }
        let reader = self.access(access)?;
        Ok(self.each(open, |row| Some(reader.get(row).is_none())))
    }

    fn contains(
        &self,
        access: &Access,
        mode: ContainsMode,
        values: &[Value],
        open: &[u64],
    ) -> Result<Truth, SegmentError> {
        if access.data_type == DataType::Json {
            let (column, slot) = self.json(access)?;
            return Ok(self.each(open, |row| {
                let found = column.value(row, slot).filter(|found| !found.is_null())?;
                let Some(list) = found.as_array() else {
                    return Some(false);
                };
                let found = values
                    .iter()
                    .map(|value| list.iter().any(|item| json_equals(item, value)));
                Some(enough(mode, found))
            }));
        }
        let list: &ListArray = downcast(self.column(access)?)?;
        let elements = Scalars::new(list.values())?;
        let values = prepared(values, access.element);
        Ok(self.each(open, |row| {
            let range = list_range(list, row)?;
            let found = values.iter().map(|value| {
                value.is_some_and(|value| range.clone().any(|i| elements.value(i).equals(value)))
            });
            Some(enough(mode, found))
        }))
    }
}

/// Values of different kinds are different, and NaN from everything; neither has an order.
fn holds(op: CompareOp, left: Scalar<'_>, right: Scalar<'_>) -> bool {
    match left.compare(right) {
        Some(order) => op.holds(order),
        None => op == CompareOp::Ne,
    }
}

fn enough(mode: ContainsMode, mut found: impl Iterator<Item = bool>) -> bool {
    match mode {
        ContainsMode::One | ContainsMode::All => found.all(|f| f),
        ContainsMode::Any => found.any(|f| f),
    }
}

/// The elements of a row's list; `None` when it is null.
fn list_range(list: &ListArray, row: usize) -> Option<std::ops::Range<usize>> {
    let offsets = list.value_offsets();
    (!list.is_null(row)).then(|| offsets[row] as usize..offsets[row + 1] as usize)
}

/// Literals as they meet elements of this type.
fn prepared(values: &[Value], element: Option<DataType>) -> Vec<Option<Scalar<'_>>> {
    values
        .iter()
        .map(|value| match value {
            Value::Float(x) if element == Some(DataType::Float) => Some(Scalar::Float(rounded(*x))),
            other => Scalar::of_value(other),
        })
        .collect()
}

/// Numbers by value. Recursion is bounded by the literal, which the parser bounds.
fn json_equals(json: &Json, value: &Value) -> bool {
    match (json, value) {
        (Json::Null, Value::Null) => true,
        (Json::Array(list), Value::List(items)) => {
            list.len() == items.len() && list.iter().zip(items).all(|(a, b)| json_equals(a, b))
        }
        _ => match (Scalar::of_json(json), Scalar::of_value(value)) {
            (Some(a), Some(b)) => a.equals(b),
            _ => false,
        },
    }
}

/// A column against a literal in loops that the compiler can vectorise; `None` when there is no such
/// loop for this pair.
fn compare_column(column: Scalars<'_>, op: CompareOp, literal: Scalar<'_>) -> Option<Truth> {
    match (column, literal) {
        (Scalars::Int8(a), Scalar::Int(x)) => Some(integers(a, op, x)),
        (Scalars::Int16(a), Scalar::Int(x)) => Some(integers(a, op, x)),
        (Scalars::Int32(a), Scalar::Int(x)) => Some(integers(a, op, x)),
        (Scalars::Int64(a), Scalar::Int(x)) => Some(integers(a, op, x)),
        (Scalars::Float(a), Scalar::Float(x)) => Some(floats(a, op, x)),
        (Scalars::Double(a), Scalar::Float(x)) => Some(floats(a, op, x)),
        (Scalars::Int64(a), Scalar::Float(x)) => {
            let values = a.values();
            Some(Truth::of_column(a, |row| {
                holds(op, Scalar::Int(values[row]), Scalar::Float(x))
            }))
        }
        (Scalars::Str(a), Scalar::Str(x)) => Some(text(a, op, x)),
        _ => None,
    }
}

fn integers<T>(column: &PrimitiveArray<T>, op: CompareOp, literal: i64) -> Truth
where
    T: ArrowPrimitiveType,
    i64: From<T::Native>,
{
    let values = column.values();
    let at = |row: usize| i64::from(values[row]);
    match op {
        CompareOp::Eq => Truth::of_column(column, |row| at(row) == literal),
        CompareOp::Ne => Truth::of_column(column, |row| at(row) != literal),
        CompareOp::Lt => Truth::of_column(column, |row| at(row) < literal),
        CompareOp::Le => Truth::of_column(column, |row| at(row) <= literal),
        CompareOp::Gt => Truth::of_column(column, |row| at(row) > literal),
        CompareOp::Ge => Truth::of_column(column, |row| at(row) >= literal),
    }
}

fn floats<T>(column: &PrimitiveArray<T>, op: CompareOp, literal: f64) -> Truth
where
    T: ArrowPrimitiveType,
    f64: From<T::Native>,
{
    let values = column.values();
    let at = |row: usize| f64::from(values[row]);
    match op {
        CompareOp::Eq => Truth::of_column(column, |row| at(row) == literal),
        CompareOp::Ne => Truth::of_column(column, |row| at(row) != literal),
        CompareOp::Lt => Truth::of_column(column, |row| at(row) < literal),
        CompareOp::Le => Truth::of_column(column, |row| at(row) <= literal),
        CompareOp::Gt => Truth::of_column(column, |row| at(row) > literal),
        CompareOp::Ge => Truth::of_column(column, |row| at(row) >= literal),
    }
}

fn text(column: &StringArray, op: CompareOp, literal: &str) -> Truth {
    match op {
        CompareOp::Eq => Truth::of_column(column, |row| column.value(row) == literal),
        CompareOp::Ne => Truth::of_column(column, |row| column.value(row) != literal),
        CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge => {
            Truth::of_column(column, |row| {
                let order: Ordering = column.value(row).cmp(literal);
                op.holds(order)
            })
        }
    }
}
