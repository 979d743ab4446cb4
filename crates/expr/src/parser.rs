//! Text to tree: precedence climbing over the lexer's words.
//!
//! The binding strengths are those of the Milvus grammar, where the order of the alternatives gives them.
//! All two-sided operators associate to the left. Nesting is counted on the way down, so hostile depth is
//! an error and not a full stack; chains of `and` and `or` are one wide piece.

mod operand;

use std::collections::HashMap;

use holdfast_types::Value;

use crate::{
    MAX_DEPTH, MAX_LIST_VALUES, MAX_OPERANDS,
    ast::{Expr, Kind, Range},
    error::ExprError,
    lexer::{Lexer, Symbol, Token},
    predicate::{ArithOp, CompareOp, PathStep},
};

/// Deepest recursion of [`Parser::expression`]. A level of nesting takes two calls as a rule (`b or (...)`)
/// and a dozen at worst (`1 or 1 and 1 == 1 < ...(`); this bounds the stack for both.
const MAX_CALLS: usize = 2 * MAX_DEPTH + 8;

/// How tightly an operator holds its sides, loosest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    BitOr,
    BitXor,
    BitAnd,
    Equality,
    Relation,
    Range,
    In,
    Shift,
    Sum,
    Product,
    Unary,
    Power,
    Like,
    Exists,
}

impl Level {
    /// The next tighter level, for the right side of a left-associative operator.
    fn tighter(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::BitOr,
            Self::BitOr => Self::BitXor,
            Self::BitXor => Self::BitAnd,
            Self::BitAnd => Self::Equality,
            Self::Equality => Self::Relation,
            Self::Relation => Self::Range,
            Self::Range => Self::In,
            Self::In => Self::Shift,
            Self::Shift => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product => Self::Unary,
            Self::Unary => Self::Power,
            Self::Power => Self::Like,
            Self::Like | Self::Exists => Self::Exists,
        }
    }
}

/// A two-sided operator.
#[derive(Clone, Copy, Debug)]
enum Infix {
    Or,
    And,
    Compare(CompareOp),
    /// `not` and `!` announce the `in` behind them.
    In {
        negated: bool,
    },
    Arith(ArithOp),
    Power,
    Like,
    Unsupported(Symbol),
}

impl Infix {
    fn of(token: &Token<'_>) -> Option<(Self, Level)> {
        Some(match token {
            Token::Symbol(Symbol::Or) | Token::Word("or" | "OR") => (Self::Or, Level::Or),
            Token::Symbol(Symbol::And) | Token::Word("and" | "AND") => (Self::And, Level::And),
            Token::Symbol(Symbol::Bar) => (Self::Unsupported(Symbol::Bar), Level::BitOr),
            Token::Symbol(Symbol::Caret) => (Self::Unsupported(Symbol::Caret), Level::BitXor),
            Token::Symbol(Symbol::Ampersand) => {
                (Self::Unsupported(Symbol::Ampersand), Level::BitAnd)
            }
            Token::Symbol(Symbol::Equal) => (Self::Compare(CompareOp::Eq), Level::Equality),
            Token::Symbol(Symbol::NotEqual) => (Self::Compare(CompareOp::Ne), Level::Equality),
            Token::Symbol(Symbol::Less) => (Self::Compare(CompareOp::Lt), Level::Relation),
            Token::Symbol(Symbol::AtMost) => (Self::Compare(CompareOp::Le), Level::Relation),
            Token::Symbol(Symbol::Greater) => (Self::Compare(CompareOp::Gt), Level::Relation),
            Token::Symbol(Symbol::AtLeast) => (Self::Compare(CompareOp::Ge), Level::Relation),
            Token::Word("in" | "IN") => (Self::In { negated: false }, Level::In),
            Token::Symbol(Symbol::Bang) | Token::Word("not" | "NOT") => {
                (Self::In { negated: true }, Level::In)
            }
            Token::Symbol(Symbol::ShiftLeft) => {
                (Self::Unsupported(Symbol::ShiftLeft), Level::Shift)
            }
            Token::Symbol(Symbol::ShiftRight) => {
                (Self::Unsupported(Symbol::ShiftRight), Level::Shift)
            }
            Token::Symbol(Symbol::Plus) => (Self::Arith(ArithOp::Add), Level::Sum),
            Token::Symbol(Symbol::Minus) => (Self::Arith(ArithOp::Sub), Level::Sum),
            Token::Symbol(Symbol::Star) => (Self::Arith(ArithOp::Mul), Level::Product),
            Token::Symbol(Symbol::Slash) => (Self::Arith(ArithOp::Div), Level::Product),
            Token::Symbol(Symbol::Percent) => (Self::Arith(ArithOp::Mod), Level::Product),
            Token::Symbol(Symbol::Power) => (Self::Power, Level::Power),
            Token::Word("like" | "LIKE") => (Self::Like, Level::Like),
            Token::Symbol(Symbol::Matches) => (Self::Unsupported(Symbol::Matches), Level::Like),
            Token::Symbol(Symbol::MatchesNot) => {
                (Self::Unsupported(Symbol::MatchesNot), Level::Like)
            }
            _ => return None,
        })
    }
}

/// Parses a whole filter that is not blank.
pub(crate) fn parse<'a>(
    text: &'a str,
    params: &'a HashMap<String, Value>,
) -> Result<Expr<'a>, ExprError> {
    let mut parser = Parser::new(text, params)?;
    let expr = parser.expression(Level::Or)?;
    match &parser.token {
        Token::End => Ok(expr),
        Token::Symbol(Symbol::Assign) => {
            Err(parser.wrong("expected an operator, found `=`; equality is `==`"))
        }
        Token::Word("is" | "IS" | "Is") => {
            Err(parser.wrong("`is null` and `is not null` follow a field or a JSON path only"))
        }
        _ => Err(parser.expected("an operator or the end of the expression")),
    }
}

/// Parses a name with the steps behind it, and nothing else.
pub(crate) fn parse_path(text: &str) -> Result<(String, Vec<PathStep>), ExprError> {
    let params = HashMap::new();
    let mut parser = Parser::new(text, &params)?;
    let Token::Word(name) = parser.token else {
        return Err(parser.expected("the name of a field"));
    };
    parser.advance()?;
    let steps = parser.steps()?;
    match parser.token {
        Token::End => Ok((name.to_owned(), steps)),
        _ => Err(parser.expected("`[` or the end of the path")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// Where `token` starts.
    at: usize,
    /// The word to be looked at next.
    token: Token<'a>,
    params: &'a HashMap<String, Value>,
    /// Calls of [`Self::expression`] on the stack.
    calls: usize,
    /// Brackets and prefix operators that are open.
    nesting: usize,
    /// Leaves so far.
    operands: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, params: &'a HashMap<String, Value>) -> Result<Self, ExprError> {
        let mut lexer = Lexer::new(text);
        let (at, token) = lexer.next()?;
        Ok(Self {
            lexer,
            at,
            token,
            params,
            calls: 0,
            nesting: 0,
            operands: 0,
        })
    }

    /// Parses as far as operators at `floor` or tighter reach.
    fn expression(&mut self, floor: Level) -> Result<Expr<'a>, ExprError> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Err(self.too_deep(self.at));
        }
        let mut left = self.operand()?;
        while let Some((infix, level)) = Infix::of(&self.token).filter(|(_, level)| *level >= floor)
        {
            left = self.infix(left, infix, level)?;
        }
        self.calls -= 1;
        Ok(left)
    }

    fn infix(&mut self, left: Expr<'a>, infix: Infix, level: Level) -> Result<Expr<'a>, ExprError> {
        let at = self.at;
        if let Infix::Unsupported(symbol) = infix {
            return Err(ExprError::unsupported(
                at,
                format_args!("the operator `{symbol}`"),
            ));
        }
        self.advance()?;
        if let Infix::In { negated: true } = infix {
            match self.token {
                Token::Word("in" | "IN") => self.advance()?,
                _ => return Err(self.expected("`in` after `not`")),
            }
        }
        let right = self.expression(level.tighter())?;
        let depth = left.depth.max(right.depth);
        match infix {
            Infix::Or => self.chain(
                at,
                left,
                right,
                |kind| match kind {
                    Kind::Or(parts) => Ok(parts),
                    other => Err(other),
                },
                Kind::Or,
            ),
            Infix::And => self.chain(
                at,
                left,
                right,
                |kind| match kind {
                    Kind::And(parts) => Ok(parts),
                    other => Err(other),
                },
                Kind::And,
            ),
            Infix::Compare(op) => self.compare(at, left, op, right),
            Infix::In { negated } => {
                let sides = Box::new([left, right]);
                self.node(
                    at,
                    depth + usize::from(negated),
                    Kind::In { sides, negated },
                )
            }
            Infix::Arith(op) => self.node(at, depth, Kind::Arith(op, Box::new([left, right]))),
            Infix::Power => self.node(at, depth, Kind::Power(Box::new([left, right]))),
            Infix::Like => self.node(at, depth, Kind::Like(Box::new([left, right]))),
            Infix::Unsupported(_) => unreachable!("refused above"),
        }
    }

    /// Joins `right` to `left` when that is a chain of the same kind, else starts one.
    fn chain(
        &self,
        at: usize,
        left: Expr<'a>,
        right: Expr<'a>,
        parts_of: fn(Kind<'a>) -> Result<Vec<Expr<'a>>, Kind<'a>>,
        whole: fn(Vec<Expr<'a>>) -> Kind<'a>,
    ) -> Result<Expr<'a>, ExprError> {
        let Expr {
            at: left_at,
            depth,
            kind,
        } = left;
        match parts_of(kind) {
            Ok(mut parts) => {
                let inner = (depth - 1).max(right.depth);
                parts.push(right);
                self.node(left_at, inner, whole(parts))
            }
            Err(kind) => {
                let inner = depth.max(right.depth);
                let left = Expr {
                    at: left_at,
                    depth,
                    kind,
                };
                self.node(at, inner, whole(vec![left, right]))
            }
        }
    }

    /// A comparison, or a range when another one of the same direction follows a plain field.
    fn compare(
        &mut self,
        at: usize,
        left: Expr<'a>,
        op: CompareOp,
        right: Expr<'a>,
    ) -> Result<Expr<'a>, ExprError> {
        let next = match Infix::of(&self.token) {
            Some((Infix::Compare(next), _)) if same_direction(op, next) => next,
            _ => {
                let depth = left.depth.max(right.depth);
                return self.node(at, depth, Kind::Compare(op, Box::new([left, right])));
            }
        };
        let Kind::Access(access) = right.kind else {
            return Err(ExprError::new(
                right.at,
                "a chained comparison has a field or JSON path in the middle, as in `1 < field <= 5`",
            ));
        };
        self.advance()?;
        let last = self.expression(Level::Range.tighter())?;
        // One more than a comparison: it becomes two of them under an `and`.
        let depth = left.depth.max(last.depth) + 1;
        let range = Range {
            first: left,
            first_op: op,
            access: *access,
            last_op: next,
            last,
        };
        self.node(at, depth, Kind::Range(Box::new(range)))
    }

    fn advance(&mut self) -> Result<(), ExprError> {
        (self.at, self.token) = self.lexer.next()?;
        Ok(())
    }

    /// Takes this symbol or fails.
    fn take(&mut self, symbol: Symbol) -> Result<(), ExprError> {
        if self.token == Token::Symbol(symbol) {
            return self.advance();
        }
        Err(self.expected(&format!("`{symbol}`")))
    }

    fn node(&self, at: usize, inner: usize, kind: Kind<'a>) -> Result<Expr<'a>, ExprError> {
        let depth = inner + 1;
        if depth > MAX_DEPTH {
            return Err(self.too_deep(at));
        }
        Ok(Expr { at, depth, kind })
    }

    fn leaf(&mut self, at: usize, kind: Kind<'a>) -> Result<Expr<'a>, ExprError> {
        self.operands += 1;
        if self.operands > MAX_OPERANDS {
            return Err(ExprError::new(
                at,
                format!("the expression has more than {MAX_OPERANDS} values and names"),
            ));
        }
        Ok(Expr { at, depth: 1, kind })
    }

    fn too_deep(&self, at: usize) -> ExprError {
        ExprError::new(
            at,
            format!(
                "the expression is nested deeper than {MAX_DEPTH} levels; write chains without \
                 parentheses, and lists of values with `in`"
            ),
        )
    }

    fn too_long(at: usize) -> ExprError {
        ExprError::new(
            at,
            format!("the list has more than {MAX_LIST_VALUES} values"),
        )
    }

    fn wrong(&self, message: impl Into<String>) -> ExprError {
        ExprError::new(self.at, message)
    }

    fn expected(&self, what: &str) -> ExprError {
        self.wrong(format!("expected {what}, found {}", self.token.describe()))
    }
}

fn same_direction(a: CompareOp, b: CompareOp) -> bool {
    let up = |op| matches!(op, CompareOp::Lt | CompareOp::Le);
    let down = |op| matches!(op, CompareOp::Gt | CompareOp::Ge);
    (up(a) && up(b)) || (down(a) && down(b))
}
