//! Collections, fields, partitions, aliases, databases, indexes, load and release.

pub(crate) mod alias;
pub(crate) mod collection;
pub(crate) mod database;
pub(crate) mod field;
pub(crate) mod index;
pub(crate) mod load;
pub(crate) mod partition;
