//! The files of a sealed segment. Layouts: `docs/formats/segment-files.md`.
//!
//! Checksums are verified before a byte is interpreted, so that a reader further in (Arrow's among
//! them) only ever sees what was written.
//!
//! | module     | what it knows                                             |
//! |------------|-----------------------------------------------------------|
//! | [`blocks`] | CRC32C of 64 KiB blocks                                   |
//! | [`arrow`]  | Arrow IPC files with checksums in their footer            |
//! | [`frame`]  | the header and checksum table of our own small files      |
//! | [`keys`]   | the sorted primary keys and their Bloom filter            |
//! | [`bloom`]  | a split-block Bloom filter                                |
//! | [`deletes`]| the deleted rows and their stamps                         |

pub(crate) mod arrow;
pub(crate) mod blocks;
pub(crate) mod bloom;
pub(crate) mod deletes;
pub(crate) mod frame;
pub(crate) mod keys;
