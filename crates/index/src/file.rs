//! The container of every index file: a header, a table of sections, and 64-byte aligned sections.
//!
//! ```text
//! 0    magic "HOLDFIDX"            8
//! 8    version                     u32
//! 12   kind                        u32
//! 16   file length                 u64
//! 24   number of sections          u32
//! 28   CRC32C of bytes 0..28 and of the section table   u32
//! 32   reserved, zero              32
//! 64   section table: tag u32, CRC32C u32, offset u64, length u64 each
//! ...  sections, each at a multiple of 64, in table order, zeros between them, none after the last
//! ```
//!
//! Every byte of a file is covered: by the header's checksum, by a section's, or by having to be zero.

use bytes::Bytes;

use crate::error::{BuildError, DamagedIndex};

#[cfg(target_endian = "big")]
compile_error!("index files are little-endian and are read in place");

pub(crate) const ALIGNMENT: usize = 64;
const MAGIC: &[u8; 8] = b"HOLDFIDX";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const ENTRY: usize = 24;
const CHECKED_HEADER: usize = 28;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hnsw = 1,
    Sparse = 2,
    Scalar = 3,
}

/// Writes one file.
pub(crate) struct Writer {
    kind: Kind,
    sections: Vec<(u32, Vec<u8>)>,
}

impl Writer {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            sections: Vec::new(),
        }
    }

    pub(crate) fn section(&mut self, tag: u32, bytes: Vec<u8>) {
        self.sections.push((tag, bytes));
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, BuildError> {
        let table_end = HEADER + self.sections.len() * ENTRY;
        let mut table = Vec::with_capacity(self.sections.len() * ENTRY);
        let mut end = table_end;
        for (tag, bytes) in &self.sections {
            let at = end.next_multiple_of(ALIGNMENT);
            table.extend(tag.to_le_bytes());
            table.extend(crc32c::crc32c(bytes).to_le_bytes());
            table.extend((at as u64).to_le_bytes());
            table.extend((bytes.len() as u64).to_le_bytes());
            end = at + bytes.len();
        }
        let count = u32::try_from(self.sections.len())
            .map_err(|_| BuildError::TooLarge { what: "sections" })?;
        let mut out = Vec::with_capacity(end);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.kind as u32).to_le_bytes());
        out.extend((end as u64).to_le_bytes());
        out.extend(count.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&out), &table);
        out.extend(checksum.to_le_bytes());
        out.resize(HEADER, 0);
        out.extend(&table);
        for (_, bytes) in self.sections {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(bytes);
        }
        Ok(out)
    }
}

/// A file whose every checksum was verified.
pub(crate) struct Reader {
    bytes: Bytes,
    table: Vec<(u32, usize, usize)>,
}

fn damaged(section: &'static str, offset: usize, problem: impl Into<String>) -> DamagedIndex {
    DamagedIndex {
        section,
        offset: offset as u64,
        problem: problem.into(),
    }
}

/// Little-endian integer at `at`, which the caller keeps in bounds.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..at + 4].try_into().expect("four bytes were cut");
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let word = bytes[at..at + 8].try_into().expect("eight bytes were cut");
    u64::from_le_bytes(word)
}

impl Reader {
    /// Verifies the container. `bytes` is kept, not copied, unless it starts off the alignment that the
    /// sections need.
    pub(crate) fn open(bytes: Bytes, kind: Kind) -> Result<Self, DamagedIndex> {
        let bytes = aligned(bytes);
        if bytes.len() < HEADER {
            return Err(damaged(
                "header",
                0,
                format!("{} bytes are no header", bytes.len()),
            ));
        }
        if &bytes[..8] != MAGIC {
            return Err(damaged("header", 0, "not an index file"));
        }
        let version = u32_at(&bytes, 8);
        if version != VERSION {
            return Err(damaged(
                "header",
                8,
                format!("version {version} is not {VERSION}"),
            ));
        }
        if u32_at(&bytes, 12) != kind as u32 {
            return Err(damaged("header", 12, format!("not a {kind:?} index")));
        }
        if u64_at(&bytes, 16) != bytes.len() as u64 {
            let problem = format!("length {} is not {}", bytes.len(), u64_at(&bytes, 16));
            return Err(damaged("header", 16, problem));
        }
        let count = u32_at(&bytes, 24) as usize;
        let table_end = count
            .checked_mul(ENTRY)
            .and_then(|table| table.checked_add(HEADER))
            .filter(|&end| end <= bytes.len())
            .ok_or_else(|| damaged("header", 24, format!("{count} sections do not fit")))?;
        let checksum = crc32c::crc32c_append(
            crc32c::crc32c(&bytes[..CHECKED_HEADER]),
            &bytes[HEADER..table_end],
        );
        if checksum != u32_at(&bytes, CHECKED_HEADER) {
            return Err(damaged("header", CHECKED_HEADER, "checksum mismatch"));
        }
        zeros(&bytes, CHECKED_HEADER + 4, HEADER)?;
        let mut table = Vec::with_capacity(count);
        let mut end = table_end;
        for entry in (HEADER..table_end).step_by(ENTRY) {
            let at = u64_at(&bytes, entry + 8);
            let len = u64_at(&bytes, entry + 16);
            let expected = end.next_multiple_of(ALIGNMENT);
            let fits = at == expected as u64
                && at
                    .checked_add(len)
                    .is_some_and(|end| end <= bytes.len() as u64);
            if !fits {
                return Err(damaged("section table", entry, "section is out of place"));
            }
            // Both fit a usize: they are below the length of `bytes`.
            let (at, len) = (at as usize, len as usize);
            zeros(&bytes, end, at)?;
            if crc32c::crc32c(&bytes[at..at + len]) != u32_at(&bytes, entry + 4) {
                let problem = format!("checksum mismatch in tag {}", u32_at(&bytes, entry));
                return Err(damaged("section", at, problem));
            }
            table.push((u32_at(&bytes, entry), at, len));
            end = at + len;
        }
        if end != bytes.len() {
            return Err(damaged("end", end, "bytes after the last section"));
        }
        Ok(Self { bytes, table })
    }

    fn find(&self, tag: u32, name: &'static str) -> Result<(usize, usize), DamagedIndex> {
        self.table
            .iter()
            .find(|(t, ..)| *t == tag)
            .map(|&(_, at, len)| (at, len))
            .ok_or_else(|| damaged(name, HEADER, "section is missing"))
    }

    /// The bytes of a section.
    pub(crate) fn bytes(&self, tag: u32, name: &'static str) -> Result<Section<u8>, DamagedIndex> {
        let (at, len) = self.find(tag, name)?;
        Ok(Section::new(self.bytes.slice(at..at + len), name, at))
    }

    /// A section of `count` elements.
    pub(crate) fn array<T: Plain>(
        &self,
        tag: u32,
        name: &'static str,
        count: usize,
    ) -> Result<Section<T>, DamagedIndex> {
        let (at, len) = self.find(tag, name)?;
        if count.checked_mul(size_of::<T>()) != Some(len) {
            let problem = format!("{len} bytes are not {count} elements of {}", size_of::<T>());
            return Err(damaged(name, at, problem));
        }
        Ok(Section::new(self.bytes.slice(at..at + len), name, at))
    }

    /// A section of however many whole elements there are.
    pub(crate) fn whole<T: Plain>(
        &self,
        tag: u32,
        name: &'static str,
    ) -> Result<Section<T>, DamagedIndex> {
        let (_, len) = self.find(tag, name)?;
        self.array(tag, name, len / size_of::<T>())
    }
}

fn zeros(bytes: &[u8], from: usize, to: usize) -> Result<(), DamagedIndex> {
    match bytes[from..to].iter().position(|&b| b != 0) {
        Some(at) => Err(damaged("padding", from + at, "not zero")),
        None => Ok(()),
    }
}

/// One cache line, to allocate aligned memory by.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; ALIGNMENT]);

struct Lines(Vec<Line>, usize);

impl AsRef<[u8]> for Lines {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: a `Line` is 64 initialised bytes without padding.
        let all = unsafe {
            std::slice::from_raw_parts(self.0.as_ptr().cast::<u8>(), self.0.len() * ALIGNMENT)
        };
        &all[..self.1]
    }
}

/// `bytes` itself when it starts at a multiple of 64, as maps do, or else an aligned copy.
fn aligned(bytes: Bytes) -> Bytes {
    if bytes.as_ptr().align_offset(ALIGNMENT) == 0 {
        return bytes;
    }
    let mut lines = vec![Line([0; ALIGNMENT]); bytes.len().div_ceil(ALIGNMENT)];
    for (line, chunk) in lines.iter_mut().zip(bytes.chunks(ALIGNMENT)) {
        line.0[..chunk.len()].copy_from_slice(chunk);
    }
    Bytes::from_owner(Lines(lines, bytes.len()))
}

/// Types of which every bit pattern is a value, without padding.
///
/// # Safety
/// As said, and the alignment divides [`ALIGNMENT`].
pub(crate) unsafe trait Plain: Copy + 'static {}
// SAFETY: integers and floats take every bit pattern.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for i64 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f64 {}

/// An array inside a file.
#[derive(Clone)]
pub(crate) struct Section<T> {
    bytes: Bytes,
    name: &'static str,
    offset: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Plain> Section<T> {
    fn new(bytes: Bytes, name: &'static str, offset: usize) -> Self {
        assert!(
            bytes.as_ptr().cast::<T>().is_aligned() || bytes.is_empty(),
            "sections of an aligned file are aligned"
        );
        Self {
            bytes,
            name,
            offset,
            element: std::marker::PhantomData,
        }
    }

    /// The elements.
    #[inline]
    pub(crate) fn get(&self) -> &[T] {
        if self.bytes.is_empty() {
            return &[];
        }
        let count = self.bytes.len() / size_of::<T>();
        // SAFETY: `new` asserted the alignment, `Plain` types take every bit pattern, and `Bytes` never
        // moves or changes what it points to.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), count) }
    }

    /// The error for element `index`.
    pub(crate) fn damaged(&self, index: usize, problem: impl Into<String>) -> DamagedIndex {
        damaged(self.name, self.offset + index * size_of::<T>(), problem)
    }
}

impl Section<u32> {
    /// Checks that these are the offsets of lists inside an array of `total` elements.
    pub(crate) fn check_offsets(&self, total: usize) -> Result<(), DamagedIndex> {
        let offsets = self.get();
        if offsets.first() != Some(&0) {
            return Err(self.damaged(0, "offsets do not start at 0"));
        }
        if let Some(i) = offsets.windows(2).position(|w| w[0] > w[1]) {
            return Err(self.damaged(i + 1, "offsets descend"));
        }
        if offsets.last().map(|&end| end as usize) != Some(total) {
            return Err(self.damaged(offsets.len() - 1, format!("offsets do not end at {total}")));
        }
        Ok(())
    }

    /// Checks that every element is below `bound`.
    pub(crate) fn check_below(&self, bound: usize) -> Result<(), DamagedIndex> {
        match self.get().iter().position(|&x| x as usize >= bound) {
            Some(i) => Err(self.damaged(i, format!("{} is not below {bound}", self.get()[i]))),
            None => Ok(()),
        }
    }
}

/// The little-endian bytes of plain elements.
pub(crate) fn le_bytes<T: Plain>(elements: &[T]) -> Vec<u8> {
    // SAFETY: `Plain` types have no padding, and this is a little-endian machine (checked above).
    let bytes = unsafe {
        std::slice::from_raw_parts(elements.as_ptr().cast::<u8>(), size_of_val(elements))
    };
    bytes.to_vec()
}

#[cfg(test)]
pub(crate) mod damage {
    use super::*;

    /// Flips every bit pattern of one byte somewhere, and cuts everywhere: `open` must refuse all of it.
    pub(crate) fn is_refused<T>(good: &[u8], open: impl Fn(Bytes) -> Result<T, DamagedIndex>) {
        assert!(open(Bytes::copy_from_slice(good)).is_ok());
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] ^= flip;
                assert!(
                    open(bad.into()).is_err(),
                    "byte {at} ^ {flip:#x} was accepted"
                );
            }
        }
        for len in 0..good.len() {
            assert!(
                open(Bytes::copy_from_slice(&good[..len])).is_err(),
                "cut at {len} was accepted"
            );
        }
        let mut longer = good.to_vec();
        longer.push(0);
        assert!(open(longer.into()).is_err(), "a longer file was accepted");
    }

    /// The same file with `change` made to the section `tag` and every checksum right again: what only
    /// the validation of the content can refuse.
    pub(crate) fn forge(
        good: &[u8],
        kind: Kind,
        tag: u32,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Bytes {
        let reader = Reader::open(Bytes::copy_from_slice(good), kind).expect("the file is good");
        let mut writer = Writer::new(kind);
        let mut change = Some(change);
        for &(t, at, len) in &reader.table {
            let mut bytes = good[at..at + len].to_vec();
            if t == tag {
                change.take().expect("a tag occurs once")(&mut bytes);
            }
            writer.section(t, bytes);
        }
        assert!(change.is_none(), "no section {tag}");
        writer.finish().expect("it fitted before").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut writer = Writer::new(Kind::Sparse);
        writer.section(1, vec![1, 2, 3]);
        writer.section(2, Vec::new());
        writer.section(3, le_bytes(&[7_u32, 8]));
        writer.finish().unwrap()
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_refused() {
        damage::is_refused(&file(), |b| Reader::open(b, Kind::Sparse));
    }

    #[test]
    fn unaligned_bytes_are_copied_and_aligned_ones_are_not() {
        let padded = [vec![0], file()].concat();
        let copied = Reader::open(Bytes::from(padded).slice(1..), Kind::Sparse).unwrap();
        assert_eq!(copied.array::<u32>(3, "words", 2).unwrap().get(), [7, 8]);
        let home = aligned(Bytes::from(file()));
        let start = home.as_ptr();
        assert_eq!(aligned(home).as_ptr(), start);
    }

    #[test]
    fn another_kind_and_a_wrong_count_are_refused() {
        assert!(Reader::open(file().into(), Kind::Hnsw).is_err());
        let reader = Reader::open(file().into(), Kind::Sparse).unwrap();
        assert!(reader.array::<u32>(3, "words", 3).is_err());
        assert!(reader.whole::<u32>(1, "bytes").is_err());
        assert!(reader.bytes(9, "none").is_err());
    }
}
