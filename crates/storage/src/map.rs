//! Memory-maps a whole file: the only `unsafe` of this crate.

use std::{fs::File, io};

use memmap2::Mmap;

/// The bytes of a file that nobody changes.
#[derive(Debug)]
pub(crate) struct MappedFile(Option<Mmap>);

impl MappedFile {
    /// Maps `file`, which must have `size` bytes.
    ///
    /// The caller passes files of the object directory or of the cache only: both are written under a
    /// temporary name, published by link or rename, never opened for writing again, and deleted by
    /// unlinking, which leaves the mapped pages in place.
    ///
    /// # Errors
    /// The size is another (`InvalidData`), or the system refuses to map.
    #[expect(unsafe_code, reason = "there is no safe way to map a file")]
    pub(crate) fn open(file: &File, size: u64) -> io::Result<Self> {
        let found = file.metadata()?.len();
        if found != size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the file has {found} bytes, not {size}"),
            ));
        }
        if size == 0 {
            return Ok(Self(None));
        }
        // SAFETY: a mapping is sound while nobody changes or truncates the file. Objects and cached
        // copies are immutable (see above), the data directory belongs to this process alone, and the
        // length was checked against the recorded one just now. What is left is somebody else cutting
        // a file of ours short from outside: a read past the new end is then stopped by the system
        // (SIGBUS) before any wrong byte is seen. Wrong content cannot break memory safety: every
        // reader verifies checksums and offsets before it follows them.
        let mapped = unsafe { Mmap::map(file) }?;
        Ok(Self(Some(mapped)))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_of_another_size_is_not_mapped() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"four").unwrap();
        assert_eq!(MappedFile::open(&file, 4).unwrap().as_ref(), b"four");
        for wrong in [0, 3, 5, u64::MAX] {
            let error = MappedFile::open(&file, wrong).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        file.set_len(0).unwrap();
        assert_eq!(MappedFile::open(&file, 0).unwrap().as_ref(), b"");
    }
}
