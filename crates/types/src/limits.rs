//! The bounds every input is checked against. They are those that Milvus clients know.

/// Most dimensions of a dense vector.
pub const MAX_DIM: u32 = 32_768;
/// Most dimensions of a binary vector.
pub const MAX_BINARY_DIM: u32 = 262_144;
/// Fewest dimensions of a float vector.
pub const MIN_DIM: u32 = 2;
/// Most bytes of a `VarChar`.
pub const MAX_VARCHAR_LENGTH: u32 = 65_535;
/// Most bytes of one JSON value.
pub const MAX_JSON_BYTES: usize = 65_536;
/// Most elements of an array.
pub const MAX_ARRAY_CAPACITY: u32 = 4_096;
/// Most hits a query may ask for, offset included.
pub const MAX_TOP_K: u64 = 16_384;
/// Most query vectors of one search.
pub const MAX_NQ: usize = 16_384;
/// Most fields of a collection.
pub const MAX_FIELDS: usize = 64;
/// Most vector fields of a collection.
pub const MAX_VECTOR_FIELDS: usize = 10;
/// Most partitions of a collection.
pub const MAX_PARTITIONS: usize = 1_024;
/// Most shards of a collection.
pub const MAX_SHARDS: u32 = 16;
/// Longest name of a collection, field, partition, alias, database or index, in bytes.
pub const MAX_NAME_LENGTH: usize = 255;
/// Most sub-requests of a hybrid search.
pub const MAX_HYBRID_REQUESTS: usize = 1_024;
/// Most hits per group of a grouping search.
pub const MAX_GROUP_SIZE: u64 = 10;
/// Largest message a client may send, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 128 << 20;
/// Most non-zero entries of one sparse vector.
pub const MAX_SPARSE_ENTRIES: usize = 65_536;
