//! The value of an operand in a row.

use std::cmp::Ordering;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, ListArray, StringArray,
};
use arrow_schema::DataType as Arrow;
use holdfast_expr::{Access, ArithOp, Operand, PathStep, predicate::compare_int_float};
use holdfast_types::{DataType, Value};
use serde_json::Value as Json;

use super::{Evaluation, json::JsonColumn};
use crate::{SegmentError, fields::downcast};

/// A value in a row that can be compared with another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'a str),
    /// A JSON list or object: a value, but equal to no scalar.
    Other,
}

impl<'a> Scalar<'a> {
    /// `None` for null and lists.
    pub(super) fn of_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null | Value::List(_) => None,
            Value::Bool(b) => Some(Self::Bool(*b)),
            Value::Int(i) => Some(Self::Int(*i)),
            Value::Float(x) => Some(Self::Float(*x)),
            Value::Str(s) => Some(Self::Str(s)),
        }
    }

    /// `None` for null. Integers past `i64` are above each of them, as floats.
    pub(super) fn of_json(value: &'a Json) -> Option<Self> {
        match value {
            Json::Bool(b) => Some(Self::Bool(*b)),
            Json::Number(n) => n
                .as_i64()
                .map(Self::Int)
                .or_else(|| n.as_f64().map(Self::Float)),
            Json::String(s) => Some(Self::Str(s)),
            Json::Array(_) | Json::Object(_) => Some(Self::Other),
            Json::Null => None,
        }
    }

    /// Numbers by value, text by bytes; `None` when the kinds do not compare.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Float(b)) => compare_int_float(a, b),
            (Self::Float(a), Self::Int(b)) => compare_int_float(b, a).map(Ordering::reverse),
            (Self::Str(a), Self::Str(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(&b)),
            _ => None,
        }
    }

    pub(super) fn equals(self, other: Self) -> bool {
        self.compare(other).is_some_and(Ordering::is_eq)
    }

    fn arith(op: ArithOp, left: Self, right: Self) -> Option<Self> {
        match (left, right) {
            (Self::Int(a), Self::Int(b)) => op.integers(a, b).map(Self::Int),
            _ => op.floats(left.float()?, right.float()?).map(Self::Float),
        }
    }

    fn float(self) -> Option<f64> {
        match self {
            Self::Int(i) => Some(i as f64),
            Self::Float(x) => Some(x),
            Self::Bool(_) | Self::Str(_) | Self::Other => None,
        }
    }
}

/// Rounds a floating literal as the values of `Float` columns are.
pub(super) fn rounded(value: f64) -> f64 {
    f64::from(value as f32)
}

/// A column of scalars by its concrete type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalars<'a> {
    Bool(&'a BooleanArray),
    Int8(&'a Int8Array),
    Int16(&'a Int16Array),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Str(&'a StringArray),
}

impl<'a> Scalars<'a> {
    pub(super) fn new(column: &'a dyn Array) -> Result<Self, SegmentError> {
        Ok(match column.data_type() {
            Arrow::Boolean => Self::Bool(downcast(column)?),
            Arrow::Int8 => Self::Int8(downcast(column)?),
            Arrow::Int16 => Self::Int16(downcast(column)?),
            Arrow::Int32 => Self::Int32(downcast(column)?),
            Arrow::Int64 => Self::Int64(downcast(column)?),
            Arrow::Float32 => Self::Float(downcast(column)?),
            Arrow::Float64 => Self::Double(downcast(column)?),
            Arrow::Utf8 => Self::Str(downcast(column)?),
            other => {
                return Err(SegmentError::Internal(format!(
                    "a column of {other} has no scalars"
                )));
            }
        })
    }

    pub(super) fn array(self) -> &'a dyn Array {
        match self {
            Self::Bool(a) => a,
            Self::Int8(a) => a,
            Self::Int16(a) => a,
            Self::Int32(a) => a,
            Self::Int64(a) => a,
            Self::Float(a) => a,
            Self::Double(a) => a,
            Self::Str(a) => a,
        }
    }

    /// The value, null or not.
    pub(super) fn value(self, row: usize) -> Scalar<'a> {
        match self {
            Self::Bool(a) => Scalar::Bool(a.value(row)),
            Self::Int8(a) => Scalar::Int(a.value(row).into()),
            Self::Int16(a) => Scalar::Int(a.value(row).into()),
            Self::Int32(a) => Scalar::Int(a.value(row).into()),
            Self::Int64(a) => Scalar::Int(a.value(row)),
            Self::Float(a) => Scalar::Float(a.value(row).into()),
            Self::Double(a) => Scalar::Float(a.value(row)),
            Self::Str(a) => Scalar::Str(a.value(row)),
        }
    }

    pub(super) fn get(self, row: usize) -> Option<Scalar<'a>> {
        (!self.array().is_null(row)).then(|| self.value(row))
    }
}

/// Reads an operand row by row.
pub(super) enum Reader<'a> {
    /// `None` is null.
    Literal(Option<Scalar<'a>>),
    Column(Scalars<'a>),
    Element {
        list: &'a ListArray,
        values: Scalars<'a>,
        index: usize,
    },
    Length(&'a ListArray),
    Json {
        column: &'a JsonColumn,
        slot: usize,
    },
    JsonLength {
        column: &'a JsonColumn,
        slot: usize,
    },
    Arith {
        op: ArithOp,
        left: Box<Reader<'a>>,
        right: Box<Reader<'a>>,
    },
}

impl<'a> Reader<'a> {
    /// Recursion is bounded by the parser's depth limit.
    pub(super) fn get(&self, row: usize) -> Option<Scalar<'a>> {
        match self {
            Self::Literal(value) => *value,
            Self::Column(column) => column.get(row),
            Self::Element {
                list,
                values,
                index,
            } => {
                if list.is_null(row) || *index >= list.value_length(row) as usize {
                    return None;
                }
                values.get(list.value_offsets()[row] as usize + index)
            }
            Self::Length(list) => {
                (!list.is_null(row)).then(|| Scalar::Int(list.value_length(row).into()))
            }
            Self::Json { column, slot } => Scalar::of_json(column.value(row, *slot)?),
            Self::JsonLength { column, slot } => {
                let length = column.value(row, *slot)?.as_array()?.len();
                i64::try_from(length).ok().map(Scalar::Int)
            }
            Self::Arith { op, left, right } => Scalar::arith(*op, left.get(row)?, right.get(row)?),
        }
    }
}

impl Evaluation {
    pub(super) fn column(&self, access: &Access) -> Result<&ArrayRef, SegmentError> {
        self.columns
            .get(&access.field)
            .ok_or(SegmentError::UnknownField(access.field))
    }

    pub(super) fn json(&self, access: &Access) -> Result<(&JsonColumn, usize), SegmentError> {
        self.json
            .get(&access.field)
            .and_then(|column| Some((column, column.slot(&access.path)?)))
            .ok_or(SegmentError::UnknownField(access.field))
    }

    pub(super) fn reader<'a>(&'a self, operand: &'a Operand) -> Result<Reader<'a>, SegmentError> {
        Ok(match operand {
            Operand::Literal(value) => Reader::Literal(Scalar::of_value(value)),
            Operand::Column(access) => self.access(access)?,
            Operand::Arith { op, left, right } => Reader::Arith {
                op: *op,
                left: Box::new(self.reader(left)?),
                right: Box::new(self.reader(right)?),
            },
            Operand::ArrayLength(access) if access.data_type == DataType::Json => {
                let (column, slot) = self.json(access)?;
                Reader::JsonLength { column, slot }
            }
            Operand::ArrayLength(access) => Reader::Length(downcast(self.column(access)?)?),
        })
    }

    pub(super) fn access<'a>(&'a self, access: &'a Access) -> Result<Reader<'a>, SegmentError> {
        Ok(match (access.data_type, access.path.first()) {
            (DataType::Json, _) => {
                let (column, slot) = self.json(access)?;
                Reader::Json { column, slot }
            }
            (DataType::Array, Some(PathStep::Index(index))) => {
                let list: &ListArray = downcast(self.column(access)?)?;
                Reader::Element {
                    list,
                    values: Scalars::new(list.values())?,
                    index: *index,
                }
            }
            _ => Reader::Column(Scalars::new(self.column(access)?)?),
        })
    }
}
