//! The filter language: text in, a typed predicate over a collection's fields out.
//!
//! | module        | responsibility                                                     |
//! |---------------|--------------------------------------------------------------------|
//! | [`predicate`] | the typed tree, and what a planner reads off it                     |
//! | [`entry`]     | [`parse`] and [`parse_json_path`]                                   |
//! | [`error`]     | why a filter was refused, and where                                 |
//! | `lexer`       | words                                                               |
//! | `parser`      | words to an untyped tree (`ast`), by precedence climbing            |
//! | `check`       | names, types and constants: the untyped tree to a [`Predicate`]     |

mod ast;
mod check;
pub mod entry;
pub mod error;
mod lexer;
mod parser;
pub mod predicate;

#[cfg(test)]
mod tests;

pub use entry::{MAX_DEPTH, MAX_LIST_VALUES, MAX_OPERANDS, MAX_TEXT_BYTES, parse, parse_json_path};
pub use error::ExprError;
pub use predicate::{
    Access, ArithOp, CompareOp, ContainsMode, InList, LikePattern, Operand, PathStep, Predicate,
};
