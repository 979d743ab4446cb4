//! The keys of a stored segment without its rows: what a flush needs to know of earlier segments.

use bytes::Bytes;
use holdfast_types::Pk;

use crate::{DamagedSegment, file::keys::Keys};

/// The keys of a segment, read in place from its key file.
#[derive(Debug)]
pub struct KeySet(Keys);

impl KeySet {
    /// Opens a key file, every byte verified. `name` is how messages call it.
    ///
    /// # Errors
    /// [`DamagedSegment`] names the file and the offset of what is wrong.
    pub fn open(name: &str, bytes: &Bytes) -> Result<Self, DamagedSegment> {
        Keys::open(name, bytes).map(Self)
    }

    /// Whether a row of this key is in the segment, dead or alive.
    #[must_use]
    pub fn contains(&self, key: &Pk) -> bool {
        !self.0.rows(key).is_empty()
    }
}
