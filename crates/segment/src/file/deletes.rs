//! The Deletes file: the rows that were deleted when the segment was written, and when.
//!
//! Frame (see [`super::frame`]) of magic `HFDELS\r\n`, kind 0. Payload: `rows` x u32 row numbers,
//! strictly ascending (the "first part"), then `rows` x u64 stamps.

use bytes::Bytes;
use holdfast_types::Timestamp;

use super::{
    blocks::damaged,
    frame::{Frame, PAYLOAD_AT},
};
use crate::DamagedSegment;

const MAGIC: [u8; 8] = *b"HFDELS\r\n";

/// Writes the deletes, whose rows strictly ascend.
pub(crate) fn write(deletes: &[(u32, Timestamp)]) -> Bytes {
    let mut payload = Vec::with_capacity(deletes.len() * 12);
    for (row, _) in deletes {
        payload.extend_from_slice(&row.to_le_bytes());
    }
    for (_, ts) in deletes {
        payload.extend_from_slice(&ts.0.to_le_bytes());
    }
    let frame = Frame {
        kind: 0,
        rows: deletes.len(),
        first_part: deletes.len() * 4,
        payload: payload.into(),
    };
    frame.write(MAGIC)
}

/// Reads deletes of a segment of `segment_rows` rows.
pub(crate) fn read(
    file: &str,
    bytes: &Bytes,
    segment_rows: usize,
) -> Result<Vec<(u32, Timestamp)>, DamagedSegment> {
    let frame = Frame::read(file, MAGIC, bytes)?;
    let bad = |problem: &str| damaged(file, PAYLOAD_AT, problem);
    if frame.kind != 0 {
        return Err(damaged(file, 12, "unknown kind of deletes"));
    }
    if frame.rows.checked_mul(12) != Some(frame.payload.len()) || frame.first_part != frame.rows * 4
    {
        return Err(bad("the deletes do not fill the payload"));
    }
    let (rows, stamps) = frame.payload.split_at(frame.first_part);
    let deletes: Vec<(u32, Timestamp)> = rows
        .as_chunks::<4>()
        .0
        .iter()
        .zip(stamps.as_chunks::<8>().0)
        .map(|(row, ts)| (u32::from_le_bytes(*row), Timestamp(u64::from_le_bytes(*ts))))
        .collect();
    if deletes.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(bad("the rows do not ascend"));
    }
    if deletes
        .last()
        .is_some_and(|(row, _)| *row as usize >= segment_rows)
    {
        return Err(bad("a row is not in the segment"));
    }
    Ok(deletes)
}

#[cfg(test)]
mod tests {
    use super::{super::blocks, *};

    fn sample() -> Vec<(u32, Timestamp)> {
        vec![
            (1, Timestamp(70)),
            (4, Timestamp(60)),
            (900, Timestamp(u64::MAX)),
        ]
    }

    #[test]
    fn deletes_round_trip() {
        assert_eq!(read("d", &write(&sample()), 901).unwrap(), sample());
        assert_eq!(read("d", &write(&[]), 0).unwrap(), []);
        read("d", &write(&sample()), 900).unwrap_err();
    }

    // Made by a writer of its own, from the format's page.
    const GOLDEN: &str = "\
        484644454c530d0a01000000000000000300000000000000000000000000000024000000000000000c000000\
        0000000000000000000000000000000030b2699d01000000040000008403000046000000000000003c000000\
        00000000ffffffffffffffffb90a874eff131414\
        ";

    #[test]
    fn the_bytes_of_version_1_are_these() {
        let bytes: Vec<u8> = blocks::from_hex(GOLDEN);
        assert_eq!(write(&sample()), bytes);
        assert_eq!(read("d", &bytes.into(), 901).unwrap(), sample());
    }

    #[test]
    fn damage_is_refused() {
        let good = write(&sample());
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x04;
            read("d", &bad.into(), 901).unwrap_err();
            read("d", &good.slice(..at), 901).unwrap_err();
        }
        read("d", &write(&[(3, Timestamp(1)), (3, Timestamp(1))]), 901).unwrap_err();
    }
}
