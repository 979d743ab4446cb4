//! Making the checksums of a changed file right. The layouts are those of `docs/formats/`; where a file
//! is too broken to find its checksums, it is left as it is.

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let long = u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?);
    usize::try_from(long).ok()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes
        .get_mut(at..at.checked_add(value.len())?)?
        .copy_from_slice(value);
    Some(())
}

/// An index file: sections, then the header.
pub fn index(bytes: &mut Vec<u8>) {
    let fix = |bytes: &mut Vec<u8>| {
        let len = bytes.len() as u64;
        put(bytes, 16, &len.to_le_bytes())?;
        let count = word(bytes, 24)? as usize;
        let table_end = 64 + count.checked_mul(24)?;
        for entry in (64..table_end).step_by(24) {
            let (at, len) = (long(bytes, entry + 8)?, long(bytes, entry + 16)?);
            if let Some(section) = bytes.get(at..at.checked_add(len)?) {
                let crc = crc32c::crc32c(section);
                put(bytes, entry + 4, &crc.to_le_bytes())?;
            }
        }
        let crc =
            crc32c::crc32c_append(crc32c::crc32c(bytes.get(..28)?), bytes.get(64..table_end)?);
        put(bytes, 28, &crc.to_le_bytes())
    };
    fix(bytes).unwrap_or_default();
}

/// A keys or deletes file: header, then the table of the payload's blocks.
pub fn frame(bytes: &mut Vec<u8>) {
    let fix = |bytes: &mut Vec<u8>| {
        let payload = long(bytes, 32)?;
        let end = payload.checked_add(64).filter(|end| *end <= bytes.len())?;
        let mut table: Vec<u8> = bytes[64..end]
            .chunks(64 << 10)
            .flat_map(|block| crc32c::crc32c(block).to_le_bytes())
            .collect();
        table.extend(crc32c::crc32c(&table).to_le_bytes());
        bytes.truncate(end);
        bytes.extend(table);
        let crc = crc32c::crc32c(bytes.get(..60)?);
        put(bytes, 60, &crc.to_le_bytes())
    };
    fix(bytes).unwrap_or_default();
}

/// An Arrow file with the integrity record in its footer.
pub fn arrow(bytes: &mut Vec<u8>) {
    let fix = |bytes: &mut Vec<u8>| {
        let mark = bytes.windows(13).rposition(|w| w == b";tail-crc32c=")?;
        let head = bytes[..mark].windows(5).rposition(|w| w == b"body=")? + 5;
        let text = std::str::from_utf8(bytes.get(head..mark)?).ok()?.to_owned();
        let (body, crcs) = text.split_once(";blocks=")?;
        let body: usize = body.parse().ok()?;
        let blocks_at = mark - crcs.len();
        for (i, at) in (blocks_at..mark).step_by(8).enumerate() {
            let block = bytes.get(i << 16..body.min((i + 1) << 16))?;
            let crc = format!("{:08x}", crc32c::crc32c(block));
            put(bytes, at, crc.as_bytes())?;
        }
        put(bytes, mark + 13, b"00000000")?;
        let crc = format!("{:08x}", crc32c::crc32c(bytes.get(body..)?));
        put(bytes, mark + 13, crc.as_bytes())
    };
    fix(bytes).unwrap_or_default();
}

/// The envelope of manifests, pointers and delete logs, around `payload`.
pub fn envelope(magic: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend(1_u32.to_le_bytes());
    out.extend((payload.len() as u64).to_le_bytes());
    out.extend(crc32c::crc32c_append(crc32c::crc32c(&out), payload).to_le_bytes());
    out.extend(payload);
    out
}

/// A log file: its header, and each block that starts like a batch.
pub fn log_file(bytes: &mut Vec<u8>) {
    let fix = |bytes: &mut Vec<u8>| {
        let crc = crc32c::crc32c(bytes.get(..4092)?);
        put(bytes, 4092, &crc.to_le_bytes())?;
        let seed = crc32c::crc32c(bytes.get(16..32)?);
        for at in (4096..bytes.len()).step_by(4096) {
            if bytes.get(at..at + 4) == Some(b"HFB\x01") {
                batch(bytes, at, seed).unwrap_or_default();
            }
        }
        Some(())
    };
    fix(bytes).unwrap_or_default();
}

fn batch(bytes: &mut [u8], at: usize, seed: u32) -> Option<()> {
    let mut lsn = long(bytes, at + 8)? as u64;
    let epoch = long(bytes, at + 16)? as u64;
    let (body, count) = (word(bytes, at + 24)? as usize, word(bytes, at + 28)?);
    let crc = crc32c::crc32c_append(seed, &(at as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc, bytes.get(at + 8..at + 32)?);
    put(bytes, at + 4, &crc.to_le_bytes())?;
    let end = at + 32 + body;
    let mut record = at + 32;
    for _ in 0..count {
        let len = word(bytes, record)? as usize;
        let payload = bytes.get(record + 8..end.min((record + 8).checked_add(len)?))?;
        let crc = crc32c::crc32c_append(seed, &epoch.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &lsn.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &(len as u64).to_le_bytes());
        let crc = crc32c::crc32c_append(crc, payload);
        put(bytes, record + 4, &crc.to_le_bytes())?;
        record += 8 + len;
        lsn = lsn.wrapping_add(1);
    }
    Some(())
}
