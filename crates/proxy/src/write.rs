//! Insert, upsert, delete.

pub(crate) mod delete;
pub(crate) mod insert;
pub(crate) mod upsert;
