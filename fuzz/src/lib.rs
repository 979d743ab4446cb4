//! What each fuzz target does with its input. A target passes when nothing panics, overflows, hangs or
//! asks for memory out of proportion; refusing the input is always right.
//!
//! | module        | targets                                                                     |
//! |---------------|-----------------------------------------------------------------------------|
//! | [`filter`]    | `filter_expression`                                                         |
//! | [`log`]       | `wal_record`, `wal_log`                                                     |
//! | [`journal`]   | `journal_record`, `journal_open`                                            |
//! | [`segment`]   | `segment_columns`, `segment_keys`, `segment_deletes`, `sealed_open`         |
//! | [`index`]     | `index_hnsw`, `index_sparse`, `index_scalar`                                |
//! | [`stored`]    | `manifest_decode`, `pointer_decode`, `delete_log`, `catalog_decode`         |
//! | [`wire`]      | `proto_field_data`, `placeholder`, `proto_schema`, `proto_template`         |
//! | [`edits`]     | an input as a file: raw, or a valid file with changes                       |
//! | [`checksums`] | making the checksums of a changed file right, so that deeper code is reached |
//! | [`caught`]    | panics that are caught where foreign code is called                         |
//! | [`sample`]    | a schema and rows to start from                                             |

pub mod caught;
pub mod checksums;
pub mod edits;
pub mod filter;
pub mod index;
pub mod journal;
pub mod log;
pub mod sample;
pub mod segment;
pub mod stored;
pub mod wire;
