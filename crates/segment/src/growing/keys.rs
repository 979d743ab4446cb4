//! Which rows a key has had.

use std::collections::HashMap;

use holdfast_types::{DataType, Pk, PkList};

use crate::SegmentError;

/// No older version.
const NONE: u32 = u32::MAX;
/// What a hash table takes per entry beyond the entry: control byte, and slots left free.
const SLOT_OVERHEAD: usize = 9;

/// The newest row of each key, and from each row the one before it of the same key.
#[derive(Debug)]
pub(super) struct KeyMap {
    newest: Newest,
    older: Vec<u32>,
    text_bytes: usize,
}

#[derive(Debug)]
enum Newest {
    Int(HashMap<i64, u32>),
    Str(HashMap<Box<str>, u32>),
}

impl KeyMap {
    pub(super) fn new(key_type: DataType) -> Self {
        let newest = if key_type == DataType::VarChar {
            Newest::Str(HashMap::new())
        } else {
            Newest::Int(HashMap::new())
        };
        Self {
            newest,
            older: Vec::new(),
            text_bytes: 0,
        }
    }

    pub(super) fn check_kind(&self, keys: &PkList) -> Result<(), SegmentError> {
        match (&self.newest, keys) {
            (Newest::Int(_), PkList::Int(_)) | (Newest::Str(_), PkList::Str(_)) => Ok(()),
            _ => Err(SegmentError::Internal(
                "keys are not of the primary key's type".to_owned(),
            )),
        }
    }

    /// Adds the next row, which has the i-th of `keys`. Returns the row that was the key's newest.
    pub(super) fn insert(&mut self, keys: &PkList, i: usize, row: u32) -> Option<u32> {
        debug_assert_eq!(self.older.len(), row as usize, "rows are added in order");
        let before = match (&mut self.newest, keys) {
            (Newest::Int(map), PkList::Int(keys)) => map.insert(keys[i], row),
            (Newest::Str(map), PkList::Str(keys)) => {
                let before = map.insert(keys[i].clone(), row);
                if before.is_none() {
                    self.text_bytes += keys[i].len();
                }
                before
            }
            // `check_kind` refused it.
            _ => None,
        };
        self.older.push(before.unwrap_or(NONE));
        before
    }

    /// The rows of a key, newest first.
    pub(super) fn versions(&self, key: &Pk) -> impl Iterator<Item = u32> + '_ {
        let newest = match (&self.newest, key) {
            (Newest::Int(map), Pk::Int(key)) => map.get(key).copied(),
            (Newest::Str(map), Pk::Str(key)) => map.get(key).copied(),
            _ => None,
        };
        std::iter::successors(newest, |row| {
            Some(self.older[*row as usize]).filter(|older| *older != NONE)
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let table = match &self.newest {
            Newest::Int(map) => map.capacity() * (size_of::<(i64, u32)>() + SLOT_OVERHEAD),
            Newest::Str(map) => map.capacity() * (size_of::<(Box<str>, u32)>() + SLOT_OVERHEAD),
        };
        table + self.text_bytes + self.older.capacity() * size_of::<u32>()
    }
}
