//! The bytes of format version 1, kept for ever.
