//! The typed filter: what a row must satisfy.
//!
//! Truth has three values. A comparison with a null operand, or with a JSON path that is absent or JSON
//! null, is *unknown*; `not unknown` is unknown; a row passes only when the whole predicate is true.
//! `is null` and `exists` are never unknown. A JSON value of another kind than the literal (text against a
//! number) is known and different: `!=` is true of it, every other comparison, `in` and `like` false.

mod in_list;
mod like;
mod number;
mod plan;
mod text;

use holdfast_types::{DataType, FieldId, Value};

pub use in_list::InList;
pub use like::LikePattern;
pub use number::{compare_int_float, exact_float, exact_int};
pub use text::PredicateText;

/// A condition on one row.
///
/// Made by [`crate::parse`], which promises: `And` and `Or` have at least two children, none of which is a
/// `Const` or of the same kind as its parent; `Not` holds neither a `Const` nor a `Not`; no tree is nested
/// deeper than [`crate::MAX_DEPTH`] levels, so recursion over it is safe; every `Float` is finite.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// The same for every row.
    Const(bool),
    /// Every child holds.
    And(Vec<Predicate>),
    /// Some child holds.
    Or(Vec<Predicate>),
    /// The child does not hold.
    Not(Box<Predicate>),
    /// Two operands in order. A literal, when there is one, is on the right; never are both literals.
    ///
    /// What meets what: integers and floats by numeric value; text by bytes; `Bool` with `Eq` and `Ne`
    /// only; a whole array column with `Eq` and `Ne` against a [`Value::List`] of its element type. A
    /// dynamic operand ([`Operand::result_type`] is `None`) meets a literal only, or arithmetic.
    Compare {
        /// The operand that is never a literal.
        left: Operand,
        /// How they must compare.
        op: CompareOp,
        /// The other operand.
        right: Operand,
    },
    /// The operand is one of the values. `not in` is a `Not` around it.
    In {
        /// Never a literal.
        operand: Operand,
        /// The values, of the operand's type (floats for any float type), mixed for a dynamic operand.
        values: InList,
    },
    /// The text matches. A JSON value that is not text does not.
    Like {
        /// A `VarChar` or dynamic column.
        operand: Operand,
        /// The pattern.
        pattern: LikePattern,
    },
    /// The column is null; for a JSON path: it is absent or JSON null. `is not null` is a `Not` around it.
    /// The one condition on a vector.
    IsNull {
        /// The column or path.
        access: Access,
    },
    /// The JSON path is present and not JSON null.
    Exists {
        /// A JSON column with at least one step.
        access: Access,
    },
    /// The array, or JSON array, contains elements. Unknown when it is null or
    /// absent; false of a JSON value that is no array.
    Contains {
        /// An array column, or a JSON column with or without a path.
        access: Access,
        /// How many of `values` must be contained.
        mode: ContainsMode,
        /// For an array column: of the element type (floats for any float type). One value for
        /// [`ContainsMode::One`]; may be empty for the others (`All` of none holds, `Any` of none does not).
        values: Vec<Value>,
    },
    /// A `Bool` column, or a JSON path that holds `true`; false of a JSON value of another kind.
    Truth(Access),
}

/// Something with a value in each row.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// The same in every row.
    Literal(Value),
    /// Read from the row.
    Column(Access),
    /// Computed. Both sides are numeric or dynamic, and not both are literals.
    ///
    /// Integer arithmetic is on 64 bits; see [`ArithOp::integers`] and [`ArithOp::floats`].
    Arith {
        /// The operation.
        op: ArithOp,
        /// Left side.
        left: Box<Operand>,
        /// Right side.
        right: Box<Operand>,
    },
    /// Number of elements of an array column or of a JSON array; unknown when there is no array.
    ArrayLength(Access),
}

impl Operand {
    /// Type of the value; `None` when it is known only in the row (JSON), which for
    /// [`Operand::Arith`] still means a number.
    #[must_use]
    pub fn result_type(&self) -> Option<DataType> {
        match self {
            Self::Literal(value) => literal_type(value),
            Self::Column(access) => access.result_type(),
            Self::Arith { left, right, .. } => match (left.result_type()?, right.result_type()?) {
                (l, r) if l.is_integer() && r.is_integer() => Some(DataType::Int64),
                _ => Some(DataType::Double),
            },
            Self::ArrayLength(_) => Some(DataType::Int64),
        }
    }
}

fn literal_type(value: &Value) -> Option<DataType> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some(DataType::Bool),
        Value::Int(_) => Some(DataType::Int64),
        Value::Float(_) => Some(DataType::Double),
        Value::Str(_) => Some(DataType::VarChar),
        Value::List(_) => Some(DataType::Array),
    }
}

/// A field, and the way into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The field.
    pub field: FieldId,
    /// Type of the field; a vector in [`Predicate::IsNull`] only.
    pub data_type: DataType,
    /// Type of the elements: present iff `data_type` is `Array`.
    pub element: Option<DataType>,
    /// Empty for the whole column. An array column has at most one step, an `Index`; only a JSON column
    /// has more.
    pub path: Vec<PathStep>,
}

impl Access {
    /// The whole column.
    #[must_use]
    pub fn column(field: &holdfast_types::FieldSchema) -> Self {
        Self {
            field: field.id,
            data_type: field.data_type,
            element: field.element_type,
            path: Vec::new(),
        }
    }

    /// Type of what is read: that of the field, or of its element; `None` for JSON, whose type is known
    /// only in the row.
    #[must_use]
    pub fn result_type(&self) -> Option<DataType> {
        match self.data_type {
            DataType::Json => None,
            DataType::Array if !self.path.is_empty() => self.element,
            other => Some(other),
        }
    }
}

/// One step into a JSON document or an array.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathStep {
    /// Member of an object.
    Key(String),
    /// Element of an array, from 0. Beyond the end there is no value.
    Index(usize),
}

/// How two values must compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// Whether the operator holds of two values in this order.
    #[must_use]
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }

    /// The operator that says the same with its sides exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Eq => Self::Eq,
            Self::Ne => Self::Ne,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// Whether this is `==` or `!=`.
    #[must_use]
    pub fn is_equality(self) -> bool {
        matches!(self, Self::Eq | Self::Ne)
    }
}

/// An arithmetic operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`, truncating for two integers
    Div,
    /// `%`, integers only, with the sign of the left side
    Mod,
}

impl ArithOp {
    /// The result for two integers; `None` (unknown) on overflow and for a divisor of zero.
    #[must_use]
    pub fn integers(self, left: i64, right: i64) -> Option<i64> {
        match self {
            Self::Add => left.checked_add(right),
            Self::Sub => left.checked_sub(right),
            Self::Mul => left.checked_mul(right),
            Self::Div => left.checked_div(right),
            Self::Mod => left.checked_rem(right),
        }
    }

    /// The result when a side is a float; `None` (unknown) for a divisor of zero, for `%`, and when the
    /// result is not finite.
    #[must_use]
    pub fn floats(self, left: f64, right: f64) -> Option<f64> {
        let result = match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div if right != 0.0 => left / right,
            Self::Div | Self::Mod => return None,
        };
        result.is_finite().then_some(result)
    }
}

/// How many of the listed values an array must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainsMode {
    /// The one listed value.
    One,
    /// All of them.
    All,
    /// At least one of them.
    Any,
}
