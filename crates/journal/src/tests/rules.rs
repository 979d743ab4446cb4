//! The rules of the journal, one by one.
