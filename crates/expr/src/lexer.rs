//! The words of the filter language, one at a time.
//!
//! Tokens are made on demand: a filter may be as long as a message, and a list of all its tokens would be
//! many times longer.

mod string;

use std::fmt;

use winnow::{
    Parser,
    ascii::{digit0, digit1, hex_digit1, multispace0},
    combinator::{alt, opt, preceded},
    error::EmptyError,
    token::{one_of, take_while},
};

use crate::error::{ExprError, excerpt};

/// One word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'a> {
    /// A name or a keyword; also `$meta`.
    Word(&'a str),
    /// An integer without its sign. Above `i64::MAX` only 2^63 has a use, behind a minus.
    Int(u64),
    /// A finite float without its sign.
    Float(f64),
    /// Text, unescaped.
    Str(String),
    /// Anything else, as written.
    Symbol(Symbol),
    /// After the last word.
    End,
}

impl Token<'_> {
    /// The token as a message names it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Word(word) => excerpt(word),
            Self::Int(int) => int.to_string(),
            Self::Float(float) => format!("{float:?}"),
            Self::Str(text) => format!("the string {}", excerpt(text)),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end of the expression".into(),
        }
    }
}

/// A word that is no name, number or string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol {
    Power,
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    ShiftLeft,
    ShiftRight,
    And,
    Or,
    Matches,
    MatchesNot,
    ParenOpen,
    ParenClose,
    BracketOpen,
    BracketClose,
    BraceOpen,
    BraceClose,
    Comma,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Less,
    Greater,
    Ampersand,
    Bar,
    Caret,
    Tilde,
    Bang,
    Assign,
    Dollar,
    Dot,
}

impl Symbol {
    /// The longest symbol at the start of `text`: `<=` is not `<` and `=`.
    fn at_start(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let first = bytes.next()?;
        Some(match (first, bytes.next()) {
            (b'*', Some(b'*')) => Self::Power,
            (b'=', Some(b'=')) => Self::Equal,
            (b'!', Some(b'=')) => Self::NotEqual,
            (b'<', Some(b'=')) => Self::AtMost,
            (b'>', Some(b'=')) => Self::AtLeast,
            (b'<', Some(b'<')) => Self::ShiftLeft,
            (b'>', Some(b'>')) => Self::ShiftRight,
            (b'&', Some(b'&')) => Self::And,
            (b'|', Some(b'|')) => Self::Or,
            (b'=', Some(b'~')) => Self::Matches,
            (b'!', Some(b'~')) => Self::MatchesNot,
            (b'(', _) => Self::ParenOpen,
            (b')', _) => Self::ParenClose,
            (b'[', _) => Self::BracketOpen,
            (b']', _) => Self::BracketClose,
            (b'{', _) => Self::BraceOpen,
            (b'}', _) => Self::BraceClose,
            (b',', _) => Self::Comma,
            (b'+', _) => Self::Plus,
            (b'-', _) => Self::Minus,
            (b'*', _) => Self::Star,
            (b'/', _) => Self::Slash,
            (b'%', _) => Self::Percent,
            (b'<', _) => Self::Less,
            (b'>', _) => Self::Greater,
            (b'&', _) => Self::Ampersand,
            (b'|', _) => Self::Bar,
            (b'^', _) => Self::Caret,
            (b'~', _) => Self::Tilde,
            (b'!', _) => Self::Bang,
            (b'=', _) => Self::Assign,
            (b'$', _) => Self::Dollar,
            (b'.', _) => Self::Dot,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Power => "**",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
            Self::And => "&&",
            Self::Or => "||",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
            Self::ParenOpen => "(",
            Self::ParenClose => ")",
            Self::BracketOpen => "[",
            Self::BracketClose => "]",
            Self::BraceOpen => "{",
            Self::BraceClose => "}",
            Self::Comma => ",",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Star => "*",
            Self::Slash => "/",
            Self::Percent => "%",
            Self::Less => "<",
            Self::Greater => ">",
            Self::Ampersand => "&",
            Self::Bar => "|",
            Self::Caret => "^",
            Self::Tilde => "~",
            Self::Bang => "!",
            Self::Assign => "=",
            Self::Dollar => "$",
            Self::Dot => ".",
        }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a text word by word.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
}

type Raw<'a> = Result<&'a str, EmptyError>;

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, rest: text }
    }

    /// The next word and the byte it starts at.
    pub(crate) fn next(&mut self) -> Result<(usize, Token<'a>), ExprError> {
        let skipped: Raw<'a> = multispace0.parse_next(&mut self.rest);
        debug_assert!(skipped.is_ok(), "no space is a match too");
        let at = self.position();
        let Some(first) = self.rest.chars().next() else {
            return Ok((at, Token::End));
        };
        // The order matters: `u'x'` is a string and `u` a name.
        let token = if let Some(opening) = string::opening(&mut self.rest, first) {
            Token::Str(string::body(&mut self.rest, opening, at)?)
        } else if first.is_ascii_digit() || (first == '.' && self.digit_follows()) {
            self.number(at)?
        } else if is_word_start(first) || (first == '$' && self.word_follows()) {
            Token::Word(self.word(at)?)
        } else if let Some(symbol) = Symbol::at_start(self.rest) {
            self.rest = &self.rest[symbol.as_str().len()..];
            Token::Symbol(symbol)
        } else {
            return Err(ExprError::new(
                at,
                format!(
                    "the character {} has no meaning here",
                    excerpt(first.encode_utf8(&mut [0; 4]))
                ),
            ));
        };
        Ok((at, token))
    }

    fn position(&self) -> usize {
        self.text.len() - self.rest.len()
    }

    fn digit_follows(&self) -> bool {
        self.rest[1..].starts_with(|c: char| c.is_ascii_digit())
    }

    fn word_follows(&self) -> bool {
        self.rest[1..].starts_with(is_word_start)
    }

    fn word(&mut self, at: usize) -> Result<&'a str, ExprError> {
        let word: Raw<'a> = (opt('$'), take_while(1.., is_word_part))
            .take()
            .parse_next(&mut self.rest);
        match word {
            Ok(word) if word.starts_with('$') && word != "$meta" => Err(ExprError::new(
                at,
                format!("{} is no name: only `$meta` starts with `$`", excerpt(word)),
            )),
            Ok(word) => Ok(word),
            Err(EmptyError) => Err(ExprError::new(at, "expected a name")),
        }
    }

    /// The commonest number, which long lists are made of: nothing but decimal digits.
    fn plain_integer(&mut self) -> Option<u64> {
        let mut ahead = self.rest;
        let digits: Raw<'a> = digit1.parse_next(&mut ahead);
        let digits = digits.ok()?;
        let octal = digits.len() > 1 && digits.starts_with('0');
        if octal || ahead.starts_with(|c| c == '.' || is_word_part(c)) {
            return None;
        }
        let int = digits.parse().ok()?;
        self.rest = ahead;
        Some(int)
    }

    fn number(&mut self, at: usize) -> Result<Token<'a>, ExprError> {
        if let Some(int) = self.plain_integer() {
            return Ok(Token::Int(int));
        }
        let start = self.rest;
        let scanned: Raw<'a> = alt((
            preceded(alt(("0x", "0X")), hex_digit1),
            preceded(alt(("0b", "0B")), digit1),
            (
                digit0,
                opt(('.', digit0)),
                opt((one_of(['e', 'E']), opt(one_of(['+', '-'])), digit1)),
            )
                .take(),
        ))
        .parse_next(&mut self.rest);
        // What is glued to the number belongs to what the writer meant.
        let hexadecimal = start.starts_with("0x") || start.starts_with("0X");
        if hexadecimal && self.rest.starts_with(['.', 'p', 'P']) {
            return Err(ExprError::unsupported(at, "a hexadecimal float"));
        }
        let glued: Raw<'a> =
            take_while(0.., |c| is_word_part(c) || c == '.').parse_next(&mut self.rest);
        let whole = &start[..start.len() - self.rest.len()];
        let wrong = |why: &str| ExprError::new(at, format!("{} {why}", excerpt(whole)));
        let (Ok(digits), Ok("")) = (scanned, glued) else {
            return Err(wrong("is not a number"));
        };
        let too_large =
            || wrong("does not fit a 64-bit integer; write it with a decimal point for a float");
        if hexadecimal {
            return u64::from_str_radix(digits, 16)
                .map(Token::Int)
                .map_err(|_| too_large());
        }
        if start.starts_with("0b") || start.starts_with("0B") {
            if digits.contains(|c| c > '1') {
                return Err(wrong("is not a binary number"));
            }
            return u64::from_str_radix(digits, 2)
                .map(Token::Int)
                .map_err(|_| too_large());
        }
        if digits.contains(['.', 'e', 'E']) {
            return match digits.parse::<f64>() {
                Ok(float) if float.is_finite() => Ok(Token::Float(float)),
                _ => Err(wrong("does not fit a 64-bit float")),
            };
        }
        if digits.len() > 1 && digits.starts_with('0') {
            if digits.contains(['8', '9']) {
                return Err(wrong(
                    "starts with 0 and so is octal, which has no digits 8 and 9",
                ));
            }
            return u64::from_str_radix(digits, 8)
                .map(Token::Int)
                .map_err(|_| too_large());
        }
        digits.parse().map(Token::Int).map_err(|_| too_large())
    }
}

fn is_word_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_word_part(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
