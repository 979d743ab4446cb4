//! What stands between operators: values, names, functions, brackets and prefix operators.

use holdfast_types::Value;

use super::{Level, Parser};
use crate::{
    MAX_DEPTH, MAX_LIST_VALUES,
    ast::{Expr, Kind, RawAccess},
    error::{ExprError, excerpt},
    lexer::{Symbol, Token},
    predicate::{ContainsMode, PathStep},
};

/// 2^63
const TWO_POW_63: u64 = 1 << 63;

impl<'a> Parser<'a> {
    pub(super) fn operand(&mut self) -> Result<Expr<'a>, ExprError> {
        let at = self.at;
        match std::mem::replace(&mut self.token, Token::End) {
            Token::Int(int) => {
                self.advance()?;
                self.integer(at, int)
            }
            Token::Float(float) => {
                self.advance()?;
                self.leaf(at, Kind::Literal(Value::Float(float)))
            }
            Token::Str(text) => {
                self.advance()?;
                self.leaf(at, Kind::Literal(Value::Str(text)))
            }
            Token::Word(word) => {
                self.token = Token::Word(word);
                self.word(at, word)
            }
            Token::Symbol(symbol) => {
                self.token = Token::Symbol(symbol);
                self.bracket_or_prefix(at, symbol)
            }
            Token::End => Err(self.expected("a value or a field")),
        }
    }

    fn integer(&mut self, at: usize, int: u64) -> Result<Expr<'a>, ExprError> {
        match i64::try_from(int) {
            Ok(int) => self.leaf(at, Kind::Literal(Value::Int(int))),
            Err(_) if int == TWO_POW_63 => self.leaf(at, Kind::TwoPow63),
            Err(_) => Err(ExprError::new(
                at,
                format!(
                    "{int} does not fit a 64-bit integer; write it with a decimal point for a float"
                ),
            )),
        }
    }

    fn bracket_or_prefix(&mut self, at: usize, symbol: Symbol) -> Result<Expr<'a>, ExprError> {
        match symbol {
            Symbol::ParenOpen => {
                self.advance()?;
                self.nested(at, |parser| {
                    let inner = parser.expression(Level::Or)?;
                    parser.take(Symbol::ParenClose)?;
                    Ok(inner)
                })
            }
            Symbol::BracketOpen => {
                self.advance()?;
                self.nested(at, |parser| parser.list(at))
            }
            Symbol::BraceOpen => {
                self.advance()?;
                self.template(at)
            }
            Symbol::Bang => self.prefix(at, Level::Unary, Kind::Not),
            Symbol::Plus => self.prefix(at, Level::Unary, Kind::Plus),
            Symbol::Minus => self.negation(at),
            Symbol::Tilde => Err(ExprError::unsupported(at, "the operator `~`")),
            Symbol::Dollar => Err(ExprError::unsupported(
                at,
                "the element `$` of a struct array",
            )),
            _ => Err(self.expected("a value or a field")),
        }
    }

    fn word(&mut self, at: usize, word: &'a str) -> Result<Expr<'a>, ExprError> {
        match word {
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => {
                self.advance()?;
                let truth = matches!(word, "true" | "True" | "TRUE");
                self.leaf(at, Kind::Literal(Value::Bool(truth)))
            }
            "not" | "NOT" => self.prefix(at, Level::Unary, Kind::Not),
            "exists" | "EXISTS" => self.prefix(at, Level::Exists, Kind::Exists),
            "and" | "AND" | "or" | "OR" | "in" | "IN" | "like" | "LIKE" => {
                Err(self.expected("a value or a field"))
            }
            _ => {
                self.advance()?;
                match &self.token {
                    Token::Symbol(Symbol::ParenOpen) => self.call(at, word),
                    Token::Str(_) if matches!(word, "iso" | "ISO" | "interval" | "INTERVAL") => {
                        Err(ExprError::unsupported(
                            at,
                            format_args!("a `{word}` time literal"),
                        ))
                    }
                    _ => self.access(at, word),
                }
            }
        }
    }

    fn prefix(
        &mut self,
        at: usize,
        level: Level,
        kind: fn(Box<Expr<'a>>) -> Kind<'a>,
    ) -> Result<Expr<'a>, ExprError> {
        self.advance()?;
        self.nested(at, |parser| {
            let inner = parser.expression(level)?;
            parser.node(at, inner.depth, kind(Box::new(inner)))
        })
    }

    /// `-x`. A number behind it becomes a literal at once: lists of negative keys are common and long.
    fn negation(&mut self, at: usize) -> Result<Expr<'a>, ExprError> {
        self.advance()?;
        self.nested(at, |parser| {
            let inner = parser.expression(Level::Unary)?;
            let literal = match inner.kind {
                Kind::TwoPow63 => Value::Int(i64::MIN),
                // Cannot overflow: a literal is not negative unless it is the smallest integer itself.
                Kind::Literal(Value::Int(int)) if int != i64::MIN => Value::Int(-int),
                Kind::Literal(Value::Float(float)) => Value::Float(-float),
                _ => return parser.node(at, inner.depth, Kind::Negate(Box::new(inner))),
            };
            Ok(Expr {
                at,
                depth: 1,
                kind: Kind::Literal(literal),
            })
        })
    }

    fn list(&mut self, at: usize) -> Result<Expr<'a>, ExprError> {
        let mut values = Vec::new();
        let mut inner = 0;
        while self.token != Token::Symbol(Symbol::BracketClose) {
            if values.len() == MAX_LIST_VALUES {
                return Err(Self::too_long(at));
            }
            let value = self.expression(Level::Or)?;
            inner = inner.max(value.depth);
            values.push(value);
            match self.token {
                Token::Symbol(Symbol::Comma) => self.advance()?,
                Token::Symbol(Symbol::BracketClose) => {}
                _ => return Err(self.expected("`,` or `]`")),
            }
        }
        self.advance()?;
        self.node(at, inner, Kind::List(values))
    }

    fn template(&mut self, at: usize) -> Result<Expr<'a>, ExprError> {
        let Token::Word(name) = self.token else {
            return Err(self.expected("the name of a template value"));
        };
        self.advance()?;
        self.take(Symbol::BraceClose)?;
        let value = self.params.get(name).ok_or_else(|| {
            ExprError::new(
                at,
                format!(
                    "no value is given for the template {}; pass it with the expression",
                    excerpt(name)
                ),
            )
        })?;
        self.leaf(at, Kind::Template { name, value })
    }

    fn call(&mut self, at: usize, name: &str) -> Result<Expr<'a>, ExprError> {
        let mode = match name {
            "json_contains" | "JSON_CONTAINS" | "array_contains" | "ARRAY_CONTAINS" => {
                Some(ContainsMode::One)
            }
            "json_contains_all" | "JSON_CONTAINS_ALL" | "array_contains_all"
            | "ARRAY_CONTAINS_ALL" => Some(ContainsMode::All),
            "json_contains_any" | "JSON_CONTAINS_ANY" | "array_contains_any"
            | "ARRAY_CONTAINS_ANY" => Some(ContainsMode::Any),
            "array_length" | "ARRAY_LENGTH" => None,
            _ if is_of_milvus(name) => {
                return Err(ExprError::unsupported(
                    at,
                    format_args!("the function {}", excerpt(name)),
                ));
            }
            _ => {
                return Err(ExprError::new(
                    at,
                    format!(
                        "there is no function {}; functions are json_contains, array_contains (each also with \
                         _all and _any) and array_length",
                        excerpt(name)
                    ),
                ));
            }
        };
        self.advance()?;
        self.nested(at, |parser| {
            let first = parser.expression(Level::Or)?;
            let Some(mode) = mode else {
                parser.take(Symbol::ParenClose)?;
                return parser.node(at, first.depth, Kind::ArrayLength(Box::new(first)));
            };
            parser.take(Symbol::Comma)?;
            let second = parser.expression(Level::Or)?;
            parser.take(Symbol::ParenClose)?;
            let depth = first.depth.max(second.depth);
            parser.node(at, depth, Kind::Contains(mode, Box::new([first, second])))
        })
    }

    fn access(&mut self, at: usize, name: &'a str) -> Result<Expr<'a>, ExprError> {
        let steps = self.steps()?;
        let access = Box::new(RawAccess { at, name, steps });
        if !self.at_word("is") {
            return self.leaf(at, Kind::Access(access));
        }
        self.advance()?;
        let negated = self.at_word("not");
        if negated {
            self.advance()?;
        }
        if !self.at_word("null") {
            return Err(self.expected("`null` after `is`"));
        }
        self.advance()?;
        let mut leaf = self.leaf(at, Kind::IsNull { access, negated })?;
        leaf.depth += usize::from(negated);
        Ok(leaf)
    }

    /// The `["key"]` and `[0]` behind a name.
    pub(super) fn steps(&mut self) -> Result<Vec<PathStep>, ExprError> {
        let mut steps = Vec::new();
        while self.token == Token::Symbol(Symbol::BracketOpen) {
            self.advance()?;
            if steps.len() == MAX_DEPTH {
                return Err(self.wrong(format!("the path has more than {MAX_DEPTH} steps")));
            }
            match std::mem::replace(&mut self.token, Token::End) {
                Token::Str(key) if key.is_empty() => {
                    return Err(self.wrong("a JSON key is not empty"));
                }
                Token::Str(key) => steps.push(PathStep::Key(key)),
                Token::Int(index) => steps
                    .push(PathStep::Index(usize::try_from(index).map_err(|_| {
                        self.wrong(format!("the index {index} is too large"))
                    })?)),
                Token::Word(word) => {
                    return Err(ExprError::unsupported(
                        self.at,
                        format_args!(
                            "a struct field ({} has no quotes; a JSON key has them)",
                            excerpt(word)
                        ),
                    ));
                }
                other => {
                    self.token = other;
                    return Err(self.expected("a quoted key or an index from 0"));
                }
            }
            self.advance()?;
            self.take(Symbol::BracketClose)?;
        }
        Ok(steps)
    }

    fn at_word(&self, lower_case: &str) -> bool {
        matches!(self.token, Token::Word(word) if word.eq_ignore_ascii_case(lower_case))
    }

    /// Runs `inner` one level of nesting further down.
    fn nested(
        &mut self,
        at: usize,
        inner: impl FnOnce(&mut Self) -> Result<Expr<'a>, ExprError>,
    ) -> Result<Expr<'a>, ExprError> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return Err(self.too_deep(at));
        }
        let expr = inner(self)?;
        self.nesting -= 1;
        Ok(expr)
    }
}

/// Whether Milvus has a function of this name that Holdfast has not.
fn is_of_milvus(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("st_")
        || name.starts_with("match_")
        || matches!(
            name.as_str(),
            "text_match" | "phrase_match" | "random_sample" | "element_filter"
        )
}
