//! Arithmetic and comparison of constants, done once.

use std::cmp::Ordering;

use holdfast_types::Value;

use super::literal::describe;
use crate::{
    error::ExprError,
    predicate::{ArithOp, CompareOp, compare_int_float},
};

pub(super) fn negate(at: usize, value: &Value) -> Result<Value, ExprError> {
    match value {
        Value::Int(int) => int
            .checked_neg()
            .map(Value::Int)
            .ok_or_else(|| overflow(at)),
        Value::Float(float) => Ok(Value::Float(-float)),
        other => Err(ExprError::new(
            at,
            format!("`-` needs a number, not {}", describe(other)),
        )),
    }
}

pub(super) fn arith(
    at: usize,
    op: ArithOp,
    left: &Value,
    right: &Value,
) -> Result<Value, ExprError> {
    let by_zero = matches!(right, Value::Int(0)) || matches!(right, Value::Float(x) if *x == 0.0);
    let divides = matches!(op, ArithOp::Div | ArithOp::Mod);
    match (left, right) {
        (Value::Int(_) | Value::Float(_), _) if divides && by_zero => {
            Err(ExprError::new(at, format!("`{op}` has a divisor of zero")))
        }
        (Value::Int(l), Value::Int(r)) => op
            .integers(*l, *r)
            .map(Value::Int)
            .ok_or_else(|| overflow(at)),
        _ => {
            let (l, r) = (float(at, op, left)?, float(at, op, right)?);
            if op == ArithOp::Mod {
                return Err(ExprError::new(at, "`%` needs integers"));
            }
            op.floats(l, r)
                .map(Value::Float)
                .ok_or_else(|| overflow(at))
        }
    }
}

/// An integer when both sides are integers and the result is one that fits, else a float.
pub(super) fn power(at: usize, base: &Value, exponent: &Value) -> Result<Value, ExprError> {
    if let (Value::Int(base), Value::Int(exponent)) = (base, exponent) {
        let exact = u32::try_from(*exponent)
            .ok()
            .and_then(|e| base.checked_pow(e));
        if let Some(exact) = exact {
            return Ok(Value::Int(exact));
        }
    }
    let result = float(at, "**", base)?.powf(float(at, "**", exponent)?);
    if result.is_finite() {
        Ok(Value::Float(result))
    } else {
        Err(overflow(at))
    }
}

/// The truth of a comparison of two constants, or why there is none.
pub(super) fn compare(
    at: usize,
    op: CompareOp,
    left: &Value,
    right: &Value,
) -> Result<bool, ExprError> {
    let order = match (left, right) {
        (Value::Bool(l), Value::Bool(r)) if op.is_equality() => Some(l.cmp(r)),
        _ => order(left, right),
    };
    order.map(|order| op.holds(order)).ok_or_else(|| {
        ExprError::new(
            at,
            format!(
                "{} and {} cannot be compared with `{op}`",
                describe(left),
                describe(right)
            ),
        )
    })
}

/// The order of two numbers or two texts.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(l), Value::Int(r)) => Some(l.cmp(r)),
        (Value::Float(l), Value::Float(r)) => l.partial_cmp(r),
        (Value::Int(l), Value::Float(r)) => compare_int_float(*l, *r),
        (Value::Float(l), Value::Int(r)) => compare_int_float(*r, *l).map(Ordering::reverse),
        (Value::Str(l), Value::Str(r)) => Some(l.cmp(r)),
        _ => None,
    }
}

fn float(at: usize, op: impl std::fmt::Display, value: &Value) -> Result<f64, ExprError> {
    match value {
        Value::Int(int) => Ok(*int as f64),
        Value::Float(float) => Ok(*float),
        other => Err(ExprError::new(
            at,
            format!("`{op}` needs numbers, not {}", describe(other)),
        )),
    }
}

fn overflow(at: usize) -> ExprError {
    ExprError::new(at, "the constant is too large to compute")
}
