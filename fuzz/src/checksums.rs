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

/// A record of a log-node's journal, whose checksum starts from `seed`; its length, if it has one.
pub fn journal_record(bytes: &mut [u8], seed: u32) -> Option<usize> {
    let len = word(bytes, 0)?;
    let end = (len as usize).checked_add(8)?;
    let body = bytes.get(8..end)?;
    // Of an entry the payload is under a checksum of its own, which is the writer's to make.
    let covered = match body.first()? {
        3 | 7 => body.get(..74)?,
        _ => body,
    };
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &len.to_le_bytes()), covered);
    put(bytes, 4, &crc.to_le_bytes())?;
    Some(end)
}

fn sealed_block(bytes: &mut [u8], at: usize) -> Option<()> {
    let crc = crc32c::crc32c(bytes.get(at..at + 4092)?);
    put(bytes, at + 4092, &crc.to_le_bytes())
}

/// The identity of a log-node's disk: two blocks.
pub fn journal_identity(bytes: &mut [u8]) {
    for at in [0, 4096] {
        sealed_block(bytes, at).unwrap_or_default();
    }
}

/// What the checksums of a journal file start from.
fn journal_seed(bytes: &[u8]) -> Option<u32> {
    let life = [bytes.get(48..80)?, bytes.get(12..16)?].concat();
    Some(crc32c::crc32c(&life))
}

/// The index beside a journal file, for the first file of a journal as `fuzz::journal` makes it.
pub fn journal_index(bytes: &mut Vec<u8>) {
    let fix = |bytes: &mut Vec<u8>| {
        let mut life = vec![2; 16];
        life.extend(1_u64.to_le_bytes());
        life.extend(1_u64.to_le_bytes());
        life.extend(0_u32.to_le_bytes());
        let end = bytes.len().checked_sub(4)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&life), bytes.get(..end)?);
        put(bytes, end, &crc.to_le_bytes())
    };
    fix(bytes).unwrap_or_default();
}

/// A journal file: two header blocks, then batches that follow each other.
pub fn journal_file(bytes: &mut Vec<u8>) {
    let fix = |bytes: &mut Vec<u8>| -> Option<()> {
        sealed_block(bytes, 0)?;
        sealed_block(bytes, 4096)?;
        let seed = journal_seed(bytes)?;
        let mut at = 8192_usize;
        let mut previous: Option<u32> = None;
        while bytes.get(at..at + 4)? == b"HJB\x01" {
            let len = word(bytes, at + 44)? as usize;
            let seed_of_records = crc32c::crc32c_append(seed, bytes.get(at + 8..at + 16)?);
            let end = (at + 64)
                .checked_add(len)
                .filter(|end| *end <= bytes.len())?;
            let mut record = at + 64;
            while let Some(len) = journal_record(&mut bytes[record..end], seed_of_records) {
                record += len;
            }
            let crc = crc32c::crc32c(&bytes[at + 64..end]);
            put(bytes, at + 40, &crc.to_le_bytes())?;
            if let Some(previous) = previous {
                put(bytes, at + 32, &previous.to_le_bytes())?;
            }
            let place = crc32c::crc32c_append(seed, &(at as u64).to_le_bytes());
            let crc = crc32c::crc32c_append(place, bytes.get(at + 8..at + 64)?);
            put(bytes, at + 4, &crc.to_le_bytes())?;
            previous = Some(crc);
            at = end.next_multiple_of(4096);
        }
        Some(())
    };
    fix(bytes).unwrap_or_default();
}
