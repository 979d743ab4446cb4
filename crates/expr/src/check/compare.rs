//! Comparisons: what may meet what, and literals on the right.

use std::cmp::Ordering;

use holdfast_types::{DataType, Value};

use super::{Checker, Typed, constant, is_number, literal, logic};
use crate::{
    ast::{Expr, Kind, Range},
    error::ExprError,
    predicate::{CompareOp, Operand, Predicate, exact_int},
};

impl Checker<'_> {
    pub(super) fn compare(
        &self,
        at: usize,
        op: CompareOp,
        sides: Box<[Expr<'_>; 2]>,
    ) -> Result<Typed, ExprError> {
        let after_not = matches!(sides[0].kind, Kind::Not(_));
        let predicate = match self.both(sides)? {
            (Typed::Const(left), Typed::Const(right)) => {
                return constant::compare(at, op, &left, &right)
                    .map(|truth| Typed::Const(Value::Bool(truth)));
            }
            (Typed::Operand(operand), Typed::Const(value)) => {
                self.with_literal(at, operand, op, value)?
            }
            (Typed::Const(value), Typed::Operand(operand)) => {
                self.with_literal(at, operand, op.flipped(), value)?
            }
            (Typed::Operand(left), Typed::Operand(right)) => self.columns(at, left, op, right)?,
            (Typed::Condition(_), _) if after_not => {
                return Err(ExprError::new(
                    at,
                    format!(
                        "`not` binds tighter than `{op}`; write `not (...)` around the comparison"
                    ),
                ));
            }
            (Typed::Condition(_), _) | (_, Typed::Condition(_)) => {
                return Err(ExprError::new(
                    at,
                    "a condition cannot be compared; use `and`, `or` and `not`, or a range as in `1 < field <= 5`",
                ));
            }
        };
        Ok(Typed::Condition(predicate))
    }

    /// `first op field op last`.
    pub(super) fn range(&self, at: usize, range: Box<Range<'_>>) -> Result<Typed, ExprError> {
        let range = *range;
        let bounds_at = range.first.at;
        let access = self.access(range.access)?;
        let (Typed::Const(first), Typed::Const(last)) =
            (self.typed(range.first)?, self.typed(range.last)?)
        else {
            return Err(ExprError::new(at, "the ends of a range are constants"));
        };
        let operand = Operand::Column(access);
        let Some(order) = constant::order(&first, &last) else {
            return Err(ExprError::new(
                bounds_at,
                format!(
                    "{} and {} are not the ends of one range",
                    literal::describe(&first),
                    literal::describe(&last)
                ),
            ));
        };
        let upwards = matches!(range.first_op, CompareOp::Lt | CompareOp::Le);
        let inclusive = matches!(range.first_op, CompareOp::Le | CompareOp::Ge)
            && matches!(range.last_op, CompareOp::Le | CompareOp::Ge);
        let backwards = if upwards {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        if order == backwards || (order.is_eq() && !inclusive) {
            return Err(ExprError::new(
                bounds_at,
                "the range is empty: its ends are the wrong way round",
            ));
        }
        let one = self.with_literal(at, operand.clone(), range.first_op.flipped(), first)?;
        let other = self.with_literal(at, operand, range.last_op, last)?;
        Ok(Typed::Condition(logic::and(vec![one, other])))
    }

    fn with_literal(
        &self,
        at: usize,
        left: Operand,
        op: CompareOp,
        value: Value,
    ) -> Result<Predicate, ExprError> {
        let wanted = left.result_type();
        let fitted = match (wanted, value) {
            (Some(DataType::Bool), value @ Value::Bool(_)) if op.is_equality() => Ok((op, value)),
            (Some(wanted), Value::Float(float)) if wanted.is_integer() => {
                Ok(against_integers(op, float))
            }
            (Some(DataType::Array), Value::List(values)) if op.is_equality() => {
                self.array_literal(&left, values).map(|value| (op, value))
            }
            (Some(DataType::Bool | DataType::Array), value) => Err(value),
            (Some(wanted), value) => literal::cast(value, wanted).map(|value| (op, value)),
            (None, value @ (Value::Int(_) | Value::Float(_))) => Ok((op, value)),
            (None, value) if is_plain(&left) => match value {
                Value::Str(_) => Ok((op, value)),
                Value::Bool(_) | Value::List(_) if op.is_equality() => Ok((op, value)),
                other => Err(other),
            },
            (None, value) => Err(value),
        };
        match fitted {
            Ok((op, value)) => Ok(Predicate::Compare {
                left,
                op,
                right: Operand::Literal(value),
            }),
            Err(value) => {
                let hint = match wanted {
                    Some(DataType::Bool) => "; compare with `== true` or `== false`",
                    Some(DataType::VarChar) => "; write a string in quotes",
                    Some(DataType::Array) => {
                        "; use array_contains, or one element as in `field[0]`"
                    }
                    Some(wanted) if wanted.is_numeric() => "; write a number",
                    _ => "",
                };
                Err(ExprError::new(
                    at,
                    format!(
                        "{} cannot be compared with {} by `{op}`{hint}",
                        self.describe(&left),
                        literal::describe(&value)
                    ),
                ))
            }
        }
    }

    fn array_literal(&self, left: &Operand, values: Vec<Value>) -> Result<Value, Value> {
        let Operand::Column(access) = left else {
            return Err(Value::List(values));
        };
        let Some(element) = access.element else {
            return Err(Value::List(values));
        };
        values
            .into_iter()
            .map(|value| literal::cast(value, element))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::List)
    }

    fn columns(
        &self,
        at: usize,
        left: Operand,
        op: CompareOp,
        right: Operand,
    ) -> Result<Predicate, ExprError> {
        let comparable = match (left.result_type(), right.result_type()) {
            (Some(DataType::Bool), Some(DataType::Bool)) => op.is_equality(),
            (Some(DataType::VarChar), Some(DataType::VarChar)) => true,
            (Some(l), Some(r)) => l.is_numeric() && r.is_numeric(),
            _ => !is_plain(&left) && !is_plain(&right) || is_number_beside_arith(&left, &right),
        };
        if comparable {
            return Ok(Predicate::Compare { left, op, right });
        }
        Err(ExprError::new(
            at,
            format!(
                "{} and {} cannot be compared by `{op}`",
                self.describe(&left),
                self.describe(&right)
            ),
        ))
    }
}

/// Whether the operand is read from the row as it is.
fn is_plain(operand: &Operand) -> bool {
    matches!(operand, Operand::Column(_))
}

/// Whether one side is arithmetic on JSON, and so a number, and the other a column of numbers.
fn is_number_beside_arith(left: &Operand, right: &Operand) -> bool {
    let typed_number = |operand: &Operand| operand.result_type().is_some_and(DataType::is_numeric);
    let arith = |operand: &Operand| !is_plain(operand) && is_number(operand);
    (arith(left) && typed_number(right)) || (typed_number(left) && arith(right))
}

/// The comparison of an integer with a float, as one with an integer where there is one that says the
/// same. A fraction is equal to no integer and stays, because a null row still makes it unknown.
fn against_integers(op: CompareOp, float: f64) -> (CompareOp, Value) {
    if let Some(int) = exact_int(float) {
        return (op, Value::Int(int));
    }
    let (op_to_int, whole) = match op {
        CompareOp::Eq | CompareOp::Ne => return (op, Value::Float(float)),
        CompareOp::Lt | CompareOp::Le => (CompareOp::Le, float.floor()),
        CompareOp::Gt | CompareOp::Ge => (CompareOp::Ge, float.ceil()),
    };
    match exact_int(whole) {
        Some(int) => (op_to_int, Value::Int(int)),
        // Beyond every integer.
        None => (op, Value::Float(float)),
    }
}
