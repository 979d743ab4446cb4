//! Distance kernels, exact search, and the frozen vector, sparse and scalar indexes.
//!
//! | module      | what it knows                                                                |
//! |-------------|------------------------------------------------------------------------------|
//! | [`vectors`] | borrowed rows of vectors and query vectors                                   |
//! | [`allow`]   | which rows may be returned                                                   |
//! | [`search`]  | hits, the distance window, cancelling                                        |
//! | `kernel`    | distances, chosen once a search                                              |
//! | [`flat`]    | exact search                                                                 |

pub mod allow;
pub mod flat;
mod kernel;
pub mod search;
pub mod vectors;

pub use allow::{Allow, BitSet};
pub use flat::flat_search;
pub use search::{Cancel, Cancelled, Neighbor, Within};
pub use vectors::{BadSparseRows, QueryMismatch, QueryVector, SparseRows, VectorData};
