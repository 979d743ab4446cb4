//! Distance kernels, exact search, and the frozen vector, sparse and scalar indexes.
//!
//! | module      | what it knows                                                                |
//! |-------------|------------------------------------------------------------------------------|
//! | [`vectors`] | borrowed rows of vectors and query vectors                                   |
//! | [`allow`]   | which rows may be returned                                                   |
//! | [`search`]  | hits, the distance window, cancelling                                        |
//! | `kernel`    | distances, chosen once a search                                              |
//! | [`flat`]    | exact search                                                                 |
//! | [`hnsw`]    | the graph index                                                              |
//! | [`sparse`]  | inverted lists over sparse vectors                                           |
//! | [`scalar`]  | indexes over scalar and array columns                                        |
//! | [`error`]   | why a build or an open failed                                                |
//! | `file`      | the container of every index file                                            |

pub mod allow;
pub mod error;
mod file;
pub mod flat;
#[cfg(test)]
mod golden;
pub mod hnsw;
mod kernel;
pub mod scalar;
pub mod search;
pub mod sparse;
pub mod vectors;

pub use allow::{Allow, BitSet};
pub use error::{BuildError, DamagedIndex};
pub use flat::flat_search;
pub use hnsw::{FrozenHnsw, HnswParams, build_hnsw};
pub use scalar::{ScalarIndex, ScalarIndexKind, build_scalar};
pub use search::{Cancel, Cancelled, Neighbor, Within};
pub use sparse::{FrozenSparse, build_sparse};
pub use vectors::{BadSparseRows, QueryMismatch, QueryVector, SparseRows, VectorData};
