//! Names, types and constants: an untyped tree to a [`Predicate`].
#![expect(
    clippy::boxed_local,
    reason = "boxes are handed on so that the recursive frames stay small; see `Checker::piece`"
)]

mod compare;
mod constant;
mod literal;
mod logic;
mod name;

use holdfast_types::{CollectionSchema, DataType, Value};

use crate::{
    ast::{Expr, Kind, RawAccess},
    error::ExprError,
    predicate::{Access, ArithOp, ContainsMode, InList, LikePattern, Operand, Predicate},
};

pub(crate) use name::resolve;

/// Types a whole filter.
pub(crate) fn check(expr: Expr<'_>, schema: &CollectionSchema) -> Result<Predicate, ExprError> {
    Checker { schema }.condition(expr)
}

/// What a piece of a filter turned out to be.
enum Typed {
    /// The same in every row.
    Const(Value),
    /// Has a value in each row; never an [`Operand::Literal`].
    Operand(Operand),
    /// Is true, false or unknown in each row.
    Condition(Predicate),
}

struct Checker<'s> {
    schema: &'s CollectionSchema,
}

impl Checker<'_> {
    /// A piece that stands where truth is wanted.
    fn condition(&self, expr: Expr<'_>) -> Result<Predicate, ExprError> {
        let at = expr.at;
        match self.typed(expr)? {
            Typed::Condition(predicate) => Ok(predicate),
            Typed::Const(Value::Bool(truth)) => Ok(Predicate::Const(truth)),
            Typed::Const(value) => Err(ExprError::new(
                at,
                format!(
                    "{} is not a condition; compare it with a field",
                    literal::describe(&value)
                ),
            )),
            Typed::Operand(Operand::Column(access))
                if matches!(access.result_type(), None | Some(DataType::Bool)) =>
            {
                Ok(Predicate::Truth(access))
            }
            Typed::Operand(operand) => Err(ExprError::new(
                at,
                format!(
                    "{} is not a condition; compare it with a value",
                    self.describe(&operand)
                ),
            )),
        }
    }

    /// Types a piece. Logic nests deepest in practice and has a frame of its own, smaller than that of the
    /// rest.
    fn typed(&self, expr: Expr<'_>) -> Result<Typed, ExprError> {
        let predicate = match expr.kind {
            Kind::And(parts) => logic::and(self.conditions(parts)?),
            Kind::Or(parts) => logic::or(self.conditions(parts)?),
            Kind::Not(inner) => logic::not(self.condition_of_not(expr.at, inner)?),
            kind => return self.piece(expr.at, kind),
        };
        Ok(Typed::Condition(predicate))
    }

    /// Every arm hands a box on and returns what it gets: that keeps this frame, which is on the stack
    /// once per level, small without optimisation too.
    fn piece(&self, at: usize, kind: Kind<'_>) -> Result<Typed, ExprError> {
        match kind {
            Kind::Literal(value) => Ok(Typed::Const(value)),
            Kind::TwoPow63 => Err(literal::two_pow_63(at)),
            Kind::Template { name, value } => literal::template(at, name, value).map(Typed::Const),
            Kind::List(values) => self.list(values),
            Kind::Access(access) => self.column(access),
            Kind::Negate(inner) => self.negated(at, inner),
            Kind::Plus(inner) => self.plus(at, inner),
            Kind::Arith(op, sides) => self.arith(at, op, sides),
            Kind::Power(sides) => self.power(at, sides),
            Kind::ArrayLength(inner) => self.array_length(inner),
            Kind::Compare(op, sides) => self.compare(at, op, sides),
            Kind::Range(range) => self.range(at, range),
            Kind::In { sides, negated } => self.is_in(sides, negated),
            Kind::Like(sides) => self.like(sides),
            Kind::IsNull { access, negated } => self.is_null(access, negated),
            Kind::Exists(inner) => self.exists(inner),
            Kind::Contains(mode, sides) => self.contains(mode, sides),
            Kind::And(_) | Kind::Or(_) | Kind::Not(_) => unreachable!("taken by the caller"),
        }
    }

    fn column(&self, access: Box<RawAccess<'_>>) -> Result<Typed, ExprError> {
        let access = self.access(*access)?;
        Ok(Typed::Operand(Operand::Column(access)))
    }

    fn both(&self, sides: Box<[Expr<'_>; 2]>) -> Result<(Typed, Typed), ExprError> {
        let [left, right] = *sides;
        Ok((self.typed(left)?, self.typed(right)?))
    }

    fn conditions(&self, parts: Vec<Expr<'_>>) -> Result<Vec<Predicate>, ExprError> {
        let mut conditions = Vec::with_capacity(parts.len());
        for part in parts {
            conditions.push(self.condition(part)?);
        }
        Ok(conditions)
    }

    fn condition_of_not(&self, at: usize, inner: Box<Expr<'_>>) -> Result<Predicate, ExprError> {
        let inner_at = inner.at;
        match self.typed(*inner)? {
            Typed::Condition(predicate) => Ok(predicate),
            Typed::Const(Value::Bool(truth)) => Ok(Predicate::Const(truth)),
            Typed::Operand(Operand::Column(access))
                if matches!(access.result_type(), None | Some(DataType::Bool)) =>
            {
                Ok(Predicate::Truth(access))
            }
            Typed::Const(value) => Err(ExprError::new(
                inner_at,
                format!("`not` needs a condition, not {}", literal::describe(&value)),
            )),
            Typed::Operand(operand) => Err(ExprError::new(
                at,
                format!(
                    "`not` needs a condition, not {}; it binds tighter than comparisons, so write `not (...)`",
                    self.describe(&operand)
                ),
            )),
        }
    }

    /// A list of constants.
    fn list(&self, values: Vec<Expr<'_>>) -> Result<Typed, ExprError> {
        let mut constants = Vec::with_capacity(values.len());
        for value in values {
            let at = value.at;
            match self.typed(value)? {
                Typed::Const(value) => constants.push(value),
                Typed::Operand(_) | Typed::Condition(_) => {
                    return Err(ExprError::new(at, "a list holds constants only"));
                }
            }
        }
        Ok(Typed::Const(Value::List(constants)))
    }

    fn plus(&self, at: usize, inner: Box<Expr<'_>>) -> Result<Typed, ExprError> {
        match self.typed(*inner)? {
            Typed::Const(value @ (Value::Int(_) | Value::Float(_))) => Ok(Typed::Const(value)),
            Typed::Operand(operand) if is_number(&operand) => Ok(Typed::Operand(operand)),
            _ => Err(ExprError::new(at, "`+` needs a number")),
        }
    }

    fn negated(&self, at: usize, inner: Box<Expr<'_>>) -> Result<Typed, ExprError> {
        match self.typed(*inner)? {
            Typed::Const(value) => constant::negate(at, &value).map(Typed::Const),
            Typed::Operand(_) | Typed::Condition(_) => Err(ExprError::new(
                at,
                "`-` is for constants only; write `0 - field` for the negative of a field",
            )),
        }
    }

    fn power(&self, at: usize, sides: Box<[Expr<'_>; 2]>) -> Result<Typed, ExprError> {
        match self.both(sides)? {
            (Typed::Const(base), Typed::Const(exponent)) => {
                constant::power(at, &base, &exponent).map(Typed::Const)
            }
            _ => Err(ExprError::new(at, "`**` is for constants only")),
        }
    }

    fn arith(&self, at: usize, op: ArithOp, sides: Box<[Expr<'_>; 2]>) -> Result<Typed, ExprError> {
        let (left, right) = match self.both(sides)? {
            (Typed::Const(left), Typed::Const(right)) => {
                return constant::arith(at, op, &left, &right).map(Typed::Const);
            }
            (left, right) => (self.number(at, op, left)?, self.number(at, op, right)?),
        };
        if matches!(op, ArithOp::Div | ArithOp::Mod)
            && matches!(
                &right,
                Operand::Literal(Value::Int(0)) | Operand::Literal(Value::Float(0.0))
            )
        {
            return Err(ExprError::new(at, format!("`{op}` has a divisor of zero")));
        }
        Ok(Typed::Operand(Operand::Arith {
            op,
            left: Box::new(left),
            right: Box::new(right),
        }))
    }

    /// A side of `op`, which is a number or may turn out to be one.
    fn number(&self, at: usize, op: ArithOp, side: Typed) -> Result<Operand, ExprError> {
        let operand = match side {
            Typed::Const(value) => Operand::Literal(value),
            Typed::Operand(operand) => operand,
            Typed::Condition(_) => {
                return Err(ExprError::new(
                    at,
                    format!("`{op}` needs numbers, not conditions"),
                ));
            }
        };
        if !is_number(&operand) {
            return Err(ExprError::new(
                at,
                format!("`{op}` needs numbers, not {}", self.describe(&operand)),
            ));
        }
        if op == ArithOp::Mod && operand.result_type().is_some_and(DataType::is_floating) {
            return Err(ExprError::new(
                at,
                format!("`%` needs integers, not {}", self.describe(&operand)),
            ));
        }
        Ok(operand)
    }

    fn array_length(&self, inner: Box<Expr<'_>>) -> Result<Typed, ExprError> {
        let access = self.array_access(*inner, "array_length")?;
        Ok(Typed::Operand(Operand::ArrayLength(access)))
    }

    fn is_in(&self, sides: Box<[Expr<'_>; 2]>, negated: bool) -> Result<Typed, ExprError> {
        let [left, right] = *sides;
        let (left_at, right_at) = (left.at, right.at);
        let operand = match self.typed(left)? {
            Typed::Operand(operand) => operand,
            Typed::Const(_) | Typed::Condition(_) => {
                return Err(ExprError::new(
                    left_at,
                    "the left side of `in` is a field; `not` binds tighter, so write `field not in [...]`",
                ));
            }
        };
        let Typed::Const(Value::List(values)) = self.typed(right)? else {
            return Err(ExprError::new(
                right_at,
                "the right side of `in` is a list of constants, as in `field in [1, 2]`",
            ));
        };
        let wanted = match operand.result_type() {
            Some(DataType::Array) => {
                return Err(ExprError::new(
                    left_at,
                    format!(
                        "{} cannot be used with `in`; use array_contains_any, or one element as in `field[0]`",
                        self.describe(&operand)
                    ),
                ));
            }
            wanted => wanted,
        };
        let mut cast = Vec::with_capacity(values.len());
        for value in values {
            let value = match wanted {
                Some(wanted) => literal::cast(value, wanted),
                None => literal::scalar(value).and_then(|value| match &operand {
                    Operand::Column(_) => Ok(value),
                    _ => literal::number(value),
                }),
            };
            cast.push(value.map_err(|value| {
                ExprError::new(
                    right_at,
                    format!(
                        "the list has {}, which {} is never equal to",
                        literal::describe(&value),
                        self.describe(&operand)
                    ),
                )
            })?);
        }
        let values = InList::new(cast);
        Ok(condition(Predicate::In { operand, values }, negated))
    }

    fn like(&self, sides: Box<[Expr<'_>; 2]>) -> Result<Typed, ExprError> {
        let [left, right] = *sides;
        let (left_at, right_at) = (left.at, right.at);
        let operand = match self.typed(left)? {
            Typed::Operand(Operand::Column(access))
                if matches!(access.result_type(), None | Some(DataType::VarChar)) =>
            {
                Operand::Column(access)
            }
            Typed::Operand(operand) => {
                return Err(ExprError::new(
                    left_at,
                    format!("`like` needs text, not {}", self.describe(&operand)),
                ));
            }
            Typed::Const(_) | Typed::Condition(_) => {
                return Err(ExprError::new(
                    left_at,
                    "the left side of `like` is a field",
                ));
            }
        };
        let Typed::Const(Value::Str(pattern)) = self.typed(right)? else {
            return Err(ExprError::new(
                right_at,
                "the right side of `like` is a string",
            ));
        };
        let pattern = LikePattern::new(&pattern);
        Ok(Typed::Condition(Predicate::Like { operand, pattern }))
    }

    fn is_null(&self, access: Box<RawAccess<'_>>, negated: bool) -> Result<Typed, ExprError> {
        let at = access.at;
        let access = self.access_among(*access, name::Reads::AnyField)?;
        if access.data_type == DataType::Array && !access.path.is_empty() {
            return Err(ExprError::new(
                at,
                "an array element is never null; ask for the field, or compare array_length",
            ));
        }
        Ok(condition(Predicate::IsNull { access }, negated))
    }

    fn exists(&self, inner: Box<Expr<'_>>) -> Result<Typed, ExprError> {
        let at = inner.at;
        match self.typed(*inner)? {
            Typed::Operand(Operand::Column(access))
                if access.data_type == DataType::Json && !access.path.is_empty() =>
            {
                Ok(Typed::Condition(Predicate::Exists { access }))
            }
            _ => Err(ExprError::new(
                at,
                "`exists` is for a key of a JSON field, as in `exists meta[\"key\"]`",
            )),
        }
    }

    fn contains(&self, mode: ContainsMode, sides: Box<[Expr<'_>; 2]>) -> Result<Typed, ExprError> {
        let [array, values] = *sides;
        let at = values.at;
        let access = self.array_access(array, "a contains function")?;
        let values = match (mode, self.typed(values)?) {
            (ContainsMode::One, Typed::Const(value)) => vec![value],
            (ContainsMode::All | ContainsMode::Any, Typed::Const(Value::List(values))) => values,
            (ContainsMode::One, _) => {
                return Err(ExprError::new(at, "the second argument is a constant"));
            }
            _ => {
                return Err(ExprError::new(
                    at,
                    "the second argument is a list of constants",
                ));
            }
        };
        let values: Result<Vec<Value>, Value> = match access.element {
            Some(element) => values
                .into_iter()
                .map(|value| literal::cast(value, element))
                .collect(),
            None => Ok(values),
        };
        let values = values.map_err(|value| {
            ExprError::new(
                at,
                format!(
                    "{} is no element of {}",
                    literal::describe(&value),
                    self.describe(&Operand::Column(access.clone()))
                ),
            )
        })?;
        Ok(Typed::Condition(Predicate::Contains {
            access,
            mode,
            values,
        }))
    }

    /// An array field, or JSON that may hold an array.
    fn array_access(&self, expr: Expr<'_>, asker: &str) -> Result<Access, ExprError> {
        let at = expr.at;
        let found = match self.typed(expr)? {
            Typed::Operand(Operand::Column(access)) => {
                if matches!(access.result_type(), None | Some(DataType::Array)) {
                    return Ok(access);
                }
                self.describe(&Operand::Column(access))
            }
            Typed::Operand(operand) => self.describe(&operand),
            Typed::Const(value) => literal::describe(&value),
            Typed::Condition(_) => "a condition".into(),
        };
        Err(ExprError::new(
            at,
            format!("{asker} needs an array or JSON field, not {found}"),
        ))
    }
}

fn condition(predicate: Predicate, negated: bool) -> Typed {
    Typed::Condition(if negated {
        logic::not(predicate)
    } else {
        predicate
    })
}

fn is_number(operand: &Operand) -> bool {
    match operand.result_type() {
        Some(data_type) => data_type.is_numeric(),
        None => !matches!(operand, Operand::Literal(_)),
    }
}
