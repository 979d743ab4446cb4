//! Search, hybrid search, query, iterators.
//!
//! | module     | what it knows                                                       |
//! |------------|---------------------------------------------------------------------|
//! | `view`     | a point in time that honours the guarantee, and reads at it         |
//! | `filter`   | the filter of a request                                             |
//! | `output`   | output fields: names to columns, columns to the wire                |
//! | `plan`     | the parameters of a search                                          |
//! | `search`   | one search                                                          |
//! | `hybrid`   | several searches, ranked together                                   |
//! | `rank`     | RRF and weighted ranking; pure                                      |
//! | `query`    | rows by filter or key, counts                                       |

pub(crate) mod filter;
pub(crate) mod hybrid;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod query;
pub(crate) mod rank;
pub(crate) mod search;
pub(crate) mod view;
