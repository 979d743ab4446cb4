//! Generated messages of what outlives a process. The codecs of the log, the catalog and the
//! manifests use them; nothing else does.
#![expect(
    missing_docs,
    clippy::module_inception,
    reason = "generated code; the .proto files carry the comments"
)]

/// Values of the catalog's keys.
pub mod catalog {
    tonic::include_proto!("holdfast.persisted.catalog");
}
/// Manifests of shards.
pub mod manifest {
    tonic::include_proto!("holdfast.persisted.manifest");
}
/// Records of a channel's log.
pub mod record {
    tonic::include_proto!("holdfast.persisted.record");
}
