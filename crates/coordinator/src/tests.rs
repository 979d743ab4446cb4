//! A coordinator over real metadata and manifests, with the other roles faked.

mod ddl;
mod field_ddl;
pub(crate) mod fixtures;
mod index_ddl;
mod jobs;
mod loads;
mod roles;
mod world;
