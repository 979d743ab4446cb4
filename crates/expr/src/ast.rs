//! The shape of a filter before its names and types are known.

use holdfast_types::Value;

use crate::predicate::{ArithOp, CompareOp, ContainsMode, PathStep};

/// A piece of a filter. Trees are nested at most [`crate::MAX_DEPTH`] levels, which bounds every
/// recursion over them, the one of `drop` included.
#[derive(Debug)]
pub(crate) struct Expr<'a> {
    /// Byte in the text: of an operator for two-sided pieces, else of the first word.
    pub(crate) at: usize,
    /// Levels, one for a leaf.
    pub(crate) depth: usize,
    pub(crate) kind: Kind<'a>,
}

#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Literal(Value),
    /// 2^63: too large for a literal, but the smallest integer behind a minus.
    TwoPow63,
    /// `{name}`
    Template {
        name: &'a str,
        value: &'a Value,
    },
    List(Vec<Expr<'a>>),
    Access(Box<RawAccess<'a>>),
    Not(Box<Expr<'a>>),
    Negate(Box<Expr<'a>>),
    /// `+x`
    Plus(Box<Expr<'a>>),
    And(Vec<Expr<'a>>),
    Or(Vec<Expr<'a>>),
    Compare(CompareOp, Box<[Expr<'a>; 2]>),
    /// `low < access < high`, or the same downwards
    Range(Box<Range<'a>>),
    Arith(ArithOp, Box<[Expr<'a>; 2]>),
    Power(Box<[Expr<'a>; 2]>),
    In {
        sides: Box<[Expr<'a>; 2]>,
        negated: bool,
    },
    Like(Box<[Expr<'a>; 2]>),
    IsNull {
        access: Box<RawAccess<'a>>,
        negated: bool,
    },
    Exists(Box<Expr<'a>>),
    Contains(ContainsMode, Box<[Expr<'a>; 2]>),
    ArrayLength(Box<Expr<'a>>),
}

/// A name and the steps behind it, not looked up yet.
#[derive(Debug)]
pub(crate) struct RawAccess<'a> {
    pub(crate) at: usize,
    pub(crate) name: &'a str,
    pub(crate) steps: Vec<PathStep>,
}

/// `first op1 access op2 last`; both operators point the same way.
#[derive(Debug)]
pub(crate) struct Range<'a> {
    pub(crate) first: Expr<'a>,
    pub(crate) first_op: CompareOp,
    pub(crate) access: RawAccess<'a>,
    pub(crate) last_op: CompareOp,
    pub(crate) last: Expr<'a>,
}
