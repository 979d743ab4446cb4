//! Why a filter was refused, and where.

use std::fmt::Write as _;

use holdfast_types::{Code, Coded};

/// Longest piece of the filter's own text that a message repeats, in bytes.
const EXCERPT_BYTES: usize = 60;

/// A filter that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot parse expression: position {position}: {message}")]
pub struct ExprError {
    /// Byte in the text where the trouble starts.
    pub position: usize,
    /// What was expected or is wrong; bounded, however long the text.
    pub message: String,
    /// [`Code::InvalidArgument`], or [`Code::Unsupported`] for what Milvus has and Holdfast has not.
    pub code: Code,
}

impl ExprError {
    pub(crate) fn new(position: usize, message: impl Into<String>) -> Self {
        Self {
            position,
            message: message.into(),
            code: Code::InvalidArgument,
        }
    }

    pub(crate) fn unsupported(position: usize, what: impl std::fmt::Display) -> Self {
        Self {
            position,
            message: format!("{what} is not supported by Holdfast"),
            code: Code::Unsupported,
        }
    }
}

impl Coded for ExprError {
    fn code(&self) -> Code {
        self.code
    }
}

/// `text` in quotes, escaped, cut to a bounded length.
pub(crate) fn excerpt(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if out.len() > EXCERPT_BYTES {
            out.push_str("...");
            break;
        }
        if c.is_control() || c == '"' || c == '\\' {
            write!(out, "{}", c.escape_default()).expect("writing to a String cannot fail");
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}
