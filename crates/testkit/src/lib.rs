//! All nodes in one process over a temporary directory, for tests of how they work together.
//!
//! | module      | what it knows                                                              |
//! |-------------|----------------------------------------------------------------------------|
//! | [`rig`]     | nodes that start, crash and start again over the same directories          |
//! | [`rows`]    | the collection the tests use, and its rows                                 |
//! | [`reading`] | reading as a proxy does: one view, both kinds of node, merged              |
//! | [`model`]   | what a read at a stamp must show                                           |
//! | [`lost`]    | a metadata store that loses the answer of a commit                         |

pub mod lost;
pub mod model;
pub mod reading;
pub mod rig;
pub mod rows;

pub use lost::LosesAnswers;
pub use model::{Change, Model};
pub use reading::Seen;
pub use rig::{Nodes, Rig, Settings};
