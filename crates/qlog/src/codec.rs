//! Bytes of the metadata's records: a version, the fields, a checksum over the key and all of it.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

/// Longest name in a record: of nodes, zones, objects.
const NAME_BYTES_MAX: usize = 1_024;

/// A record that is not what its key promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata key {key}: {problem}")]
pub struct BadRecord {
    /// The key.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}

/// Collects the fields of a record.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(version: u8) -> Self {
        Self(vec![version])
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.put_u32_le(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.put_u64_le(value);
    }

    pub(crate) fn id(&mut self, value: [u8; 16]) {
        self.0.put_slice(&value);
    }

    /// Names are bounded where they enter, by configuration; one that is longer would not be read back.
    pub(crate) fn name(&mut self, value: &str) {
        self.0
            .put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.put_slice(value.as_bytes());
    }

    /// A record within a record.
    pub(crate) fn record(&mut self, bytes: &[u8]) {
        self.0
            .put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.put_slice(bytes);
    }

    pub(crate) fn seal(mut self, key: &str) -> Bytes {
        let checksum = checksum(key, &self.0);
        self.0.put_u32_le(checksum);
        self.0.into()
    }
}

/// Takes the fields of a record apart.
pub(crate) struct Reader<'a> {
    key: &'a str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks checksum and version.
    pub(crate) fn open(key: &'a str, bytes: &'a [u8], version: u8) -> Result<Self, BadRecord> {
        let bad = |problem: String| BadRecord {
            key: key.to_owned(),
            problem,
        };
        let Some((body, stored)) = bytes.split_last_chunk::<4>() else {
            return Err(bad(format!(
                "{} bytes are too few for a record",
                bytes.len()
            )));
        };
        let (stored, computed) = (u32::from_le_bytes(*stored), checksum(key, body));
        if stored != computed {
            return Err(bad(format!(
                "checksum {computed:#010x}, {stored:#010x} expected"
            )));
        }
        match body.split_first() {
            Some((found, rest)) if *found == version => Ok(Self { key, rest }),
            Some((found, _)) => Err(bad(format!("version {found} is not known, {version} is"))),
            None => Err(bad("an empty record".to_owned())),
        }
    }

    pub(crate) fn bad(&self, problem: impl Into<String>) -> BadRecord {
        BadRecord {
            key: self.key.to_owned(),
            problem: problem.into(),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadRecord> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.bad("ends early"));
        };
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BadRecord> {
        self.take::<1>().map(|[b]| b)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BadRecord> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, BadRecord> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn id(&mut self) -> Result<[u8; 16], BadRecord> {
        self.take()
    }

    pub(crate) fn record(&mut self, bytes_max: usize) -> Result<&'a [u8], BadRecord> {
        let len = self.u32()? as usize;
        if len > bytes_max || len > self.rest.len() {
            return Err(self.bad(format!("a record of {len} bytes")));
        }
        let (record, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(record)
    }

    pub(crate) fn name(&mut self) -> Result<Arc<str>, BadRecord> {
        let len = self.u32()? as usize;
        if len > NAME_BYTES_MAX || len > self.rest.len() {
            return Err(self.bad(format!("a name of {len} bytes")));
        }
        let (name, rest) = self.rest.split_at(len);
        self.rest = rest;
        std::str::from_utf8(name)
            .map(Arc::from)
            .map_err(|_| self.bad("a name that is not UTF-8"))
    }

    pub(crate) fn end(self) -> Result<(), BadRecord> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.bad(format!("{} bytes too many", self.rest.len())))
        }
    }
}

fn checksum(key: &str, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), body)
}
