//! HNSW: hierarchical navigable small world graphs (Malkov & Yashunin, arXiv:1603.09320), built by
//! `hnsw_rs` and then frozen into one file that is searched in place.
//!
//! | module       | what it knows                                                              |
//! |--------------|----------------------------------------------------------------------------|
//! | [`rows`]     | rows of any dense type as f32, normalised for cosine                        |
//! | [`codes`]    | 8-bit codes of rows and their distances                                     |
//! | [`pairs`]    | distances of two rows by their codes                                        |
//! | [`build`]    | growing the graph with `hnsw_rs` and taking it out                          |
//! | [`freeze`]   | making every node reachable, ordering nodes for locality, writing the file  |
//! | [`frozen`]   | opening the file, checking all of it, and searching                         |
//! | [`walk`]     | walks over the frozen graph                                                 |
//! | [`visited`]  | which nodes a walk has seen                                                 |

mod build;
mod codes;
mod freeze;
mod frozen;
mod pairs;
mod rows;
mod visited;
mod walk;

pub use build::{HnswParams, build_hnsw};
pub use frozen::FrozenHnsw;

#[cfg(test)]
mod tests;
