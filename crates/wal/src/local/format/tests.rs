//! Tests of `format`.

use super::*;

const HEADER: FileHeader = FileHeader {
    channel: ChannelId(7),
    uuid: *b"0123456789abcdef",
    first: Lsn(0x0102),
    previous_first: Lsn(0x0100),
    capacity: 65_536,
};

/// Version 1 of the file header and of a batch, byte for byte. These never change: a later version adds
/// its own beside them.
#[test]
fn version_1_is_what_it_was() {
    let block = HEADER.encode();
    assert_eq!(
        hex(&block[..56]),
        "484f4c444657414c0100000007000000303132333435363738396162636465660201000000000000\
         00010000000000000000010000000000"
    );
    assert!(block[56..CRC_AT].iter().all(|&b| b == 0));
    assert_eq!(hex(&block[CRC_AT..]), "411f320e");
    let seed = HEADER.seed();
    let batch = BatchHeader {
        first: Lsn(0x0102),
        epoch: Epoch(3),
        body: 13,
        count: 1,
    };
    assert_eq!(
        hex(&batch.encode(seed, BLOCK)),
        "48464201347c1c3a020100000000000003000000000000000d00000001000000"
    );
    let record = record_header(seed, Epoch(3), Lsn(0x0102), b"hello");
    assert_eq!(hex(&record), "0500000029a4d628");
}

#[test]
fn headers_survive_the_round_trip() {
    assert_eq!(FileHeader::decode(&HEADER.encode()).unwrap(), HEADER);
    let batch = BatchHeader {
        first: Lsn(u64::MAX),
        epoch: Epoch(u64::MAX),
        body: u32::MAX,
        count: 2,
    };
    let bytes = batch.encode(1, 2);
    assert_eq!(BatchHeader::decode(&bytes, 1, 2), Some(batch));
    assert_eq!(batch.last(), None, "an LSN that overflows is not one");
    assert_eq!(BatchHeader::decode(&bytes[..31], 1, 2), None);
}

#[test]
fn a_batch_counts_only_in_its_own_file_and_place() {
    let batch = BatchHeader {
        first: Lsn(1),
        epoch: Epoch(1),
        body: 0,
        count: 0,
    };
    let bytes = batch.encode(10, BLOCK);
    assert_eq!(BatchHeader::decode(&bytes, 11, BLOCK), None);
    assert_eq!(BatchHeader::decode(&bytes, 10, 2 * BLOCK), None);
}

#[test]
fn a_record_counts_only_at_its_own_lsn_and_epoch() {
    let mut body = record_header(1, Epoch(2), Lsn(3), b"abc").to_vec();
    body.extend_from_slice(b"abc");
    assert_eq!(split_record(&body, 1, Epoch(2), Lsn(3)), Ok(3));
    for (seed, epoch, lsn) in [(9, 2, 3), (1, 9, 3), (1, 2, 9)] {
        assert!(split_record(&body, seed, Epoch(epoch), Lsn(lsn)).is_err());
    }
    for cut in 0..body.len() {
        assert!(split_record(&body[..cut], 1, Epoch(2), Lsn(3)).is_err());
    }
}

#[test]
fn a_hostile_length_is_refused_before_anything_is_read() {
    let body = [0xff; 64];
    assert_eq!(
        split_record(&body, 1, Epoch(1), Lsn(1)),
        Err("a record is longer than any may be")
    );
}

#[test]
fn a_later_version_is_named() {
    let mut block = HEADER.encode();
    block[8] = 2;
    let crc = crc32c::crc32c(&block[..CRC_AT]);
    block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    let refused = FileHeader::decode(&block).unwrap_err();
    assert_eq!(refused, "format version 2 is not known here");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
