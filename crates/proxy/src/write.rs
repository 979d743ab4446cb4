//! Insert, upsert, delete.
//!
//! | module    | what it knows                                                     |
//! |-----------|-------------------------------------------------------------------|
//! | `insert`  | new rows                                                          |
//! | `upsert`  | rows that replace those of their keys                             |
//! | `partial` | an upsert of some fields: read, merge, write, again on a conflict |
//! | `delete`  | rows by key or filter                                             |
//! | `request` | checks that the calls share                                       |
//! | `rows`    | the columns of a request, and whole rows of them                  |
//! | `placing` | the shard and partition of each row                               |
//! | `send`    | a write to the owners of its channels                             |
//! | `merge`   | given fields over stored rows; pure                               |
//! | `arrays`  | elements added to and removed from arrays; pure                   |
//! | `json`    | keys of one JSON object over another's; pure                      |

mod arrays;
pub(crate) mod delete;
pub(crate) mod insert;
mod json;
mod merge;
mod partial;
pub(crate) mod placing;
mod request;
mod rows;
mod send;
pub(crate) mod upsert;

#[cfg(test)]
mod tests;
