//! Checks of the house that no compiler makes. They run as tests of this crate.
//!
//! | module      | responsibility                                                     |
//! |-------------|--------------------------------------------------------------------|
//! | [`arrows`]  | which crate may use which                                          |
//! | [`sources`] | heads, lengths, empty `lib.rs`, sleeps in tests, paths of machines |
//! | [`tree`]    | the files of the project                                           |

pub mod arrows;
pub mod sources;
pub mod tree;
