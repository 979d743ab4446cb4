//! Collections, fields, partitions, aliases, databases, indexes, load and release.
//!
//! | module       | what it knows                                              |
//! |--------------|------------------------------------------------------------|
//! | `change`     | keys to set and keys to remove, of anything that has them  |
//! | `channel`    | what clients are told of channels                          |
//! | `collection` | create, describe, list, rename, alter, truncate, drop      |
//! | `field`      | add, alter, drop                                           |
//! | `partition`  | create, list, drop                                         |
//! | `alias`      | create, describe, list, move, drop                         |
//! | `database`   | create, describe, list, alter, drop                        |
//! | `index`      | create, describe and its progress, alter, drop             |
//! | `load`       | load and its progress, release                             |

pub(crate) mod alias;
mod change;
pub(crate) mod channel;
pub(crate) mod collection;
pub(crate) mod database;
pub(crate) mod field;
pub(crate) mod index;
pub(crate) mod load;
pub(crate) mod partition;
