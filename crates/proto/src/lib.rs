//! Generated messages, and the only conversions between them and domain types.
//!
//! | module        | what it knows                                       |
//! |---------------|-----------------------------------------------------|
//! | [`persisted`] | generated: bytes in the log, the catalog, manifests |

pub mod persisted;
