//! The filter language: text in, a typed predicate over a collection's fields out.
//!
//! | module        | responsibility                                                     |
//! |---------------|--------------------------------------------------------------------|
//! | [`predicate`] | the typed tree, and what a planner reads off it                    |

pub mod predicate;

pub use predicate::{
    Access, ArithOp, CompareOp, ContainsMode, InList, LikePattern, Operand, PathStep, Predicate,
};

/// Most levels of nesting of a filter and of its predicate. Chains of `and` and `or` are one level.
pub const MAX_DEPTH: usize = 128;
