//! Round trips, golden bytes, damage, and manifests that contradict themselves.

use super::*;
use crate::{
    manifest::sample::{SHARD, manifest, object, segment},
    paths,
};

fn pointer() -> Pointer {
    Pointer {
        version: ManifestVersion(6),
        epoch: Epoch(3),
        manifest: object(paths::manifest(SHARD, ManifestVersion(6), Epoch(3), 0xdef)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_manifest_and_a_pointer_survive() {
    let full = manifest();
    assert_eq!(decode_manifest(&encode_manifest(&full)), Ok(full.clone()));
    let first = Manifest {
        version: ManifestVersion(1),
        previous: None,
        truncated: None,
        segments: Vec::new(),
        delete_logs: Vec::new(),
        ..full
    };
    assert_eq!(decode_manifest(&encode_manifest(&first)), Ok(first));
    assert_eq!(
        decode_pointer(SHARD, &encode_pointer(&pointer())),
        Ok(pointer())
    );
}

/// The bytes of version 1, for ever: what was written by the first release must stay readable.
#[test]
fn the_bytes_are_those_of_version_1() {
    let golden = include_bytes!("golden/manifest-1.bin");
    assert_eq!(hex(&encode_manifest(&manifest())), hex(golden));
    assert_eq!(decode_manifest(&Bytes::from_static(golden)), Ok(manifest()));
    let golden = include_bytes!("golden/pointer-1.bin");
    assert_eq!(hex(&encode_pointer(&pointer())), hex(golden));
    let read = decode_pointer(SHARD, &Bytes::from_static(golden));
    assert_eq!(read, Ok(pointer()));
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let sealed = encode_manifest(&manifest());
    for i in 0..sealed.len() {
        let mut damaged = sealed.to_vec();
        damaged[i] ^= 0x04;
        assert!(decode_manifest(&damaged.into()).is_err(), "byte {i}");
        assert!(decode_manifest(&sealed.slice(..i)).is_err(), "cut at {i}");
    }
    let sealed = encode_pointer(&pointer());
    for i in 0..sealed.len() {
        let mut damaged = sealed.to_vec();
        damaged[i] ^= 0x04;
        assert!(decode_pointer(SHARD, &damaged.into()).is_err(), "byte {i}");
        assert!(
            decode_pointer(SHARD, &sealed.slice(..i)).is_err(),
            "cut at {i}"
        );
    }
    assert!(decode_manifest(&encode_pointer(&pointer())).is_err());
}

#[test]
fn a_pointer_of_another_shard_or_version_is_refused() {
    let other = ShardId { index: 2, ..SHARD };
    assert!(decode_pointer(other, &encode_pointer(&pointer())).is_err());
    let next = Pointer {
        version: ManifestVersion(7),
        ..pointer()
    };
    assert!(decode_pointer(SHARD, &encode_pointer(&next)).is_err());
    let data = Pointer {
        manifest: segment(1).files[0].object.clone(),
        ..pointer()
    };
    assert!(decode_pointer(SHARD, &encode_pointer(&data)).is_err());
}

/// A valid checksum around a message that no writer of ours made.
#[track_caller]
fn refuse(change: impl FnOnce(&mut wire::Manifest), problem: &str) {
    let mut message = manifest_to_wire(&manifest());
    change(&mut message);
    let sealed = envelope::seal(MANIFEST_MAGIC, FORMAT_VERSION, &message.encode_to_vec());
    let found = decode_manifest(&sealed).unwrap_err();
    assert!(found.contains(problem), "{found}");
}

fn path_of(object: &mut Option<wire::Object>) -> &mut String {
    &mut object.as_mut().unwrap().path
}

#[test]
fn a_path_that_leaves_the_collection_is_refused() {
    for path in [
        "../../etc/passwd",
        "/etc/passwd",
        "data/7/1/42.3.0/../43.3.0/columns.arrow",
        "",
    ] {
        refuse(
            |m| *path_of(&mut m.segments[0].files[0].object) = path.to_owned(),
            "is not the name of an object",
        );
    }
    refuse(
        |m| *path_of(&mut m.segments[0].files[0].object) = "data/8/1/42.3.0/columns.arrow".into(),
        "does not belong to collection 7",
    );
    refuse(
        |m| *path_of(&mut m.segments[0].indexes[0].object) = "idx/8/1/42.5.9".into(),
        "does not belong to collection 7",
    );
    let log = "del/8/1/00000000000000000011-00000000000000000020.3.0";
    refuse(
        |m| *path_of(&mut m.delete_logs[0].object) = log.into(),
        "does not belong to collection 7",
    );
    let before = "man/8/1/00000000000000000005.2.0000000000000abc";
    refuse(
        |m| *path_of(&mut m.previous.as_mut().unwrap().manifest) = before.into(),
        "does not belong to collection 7",
    );
}

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    refuse(|m| m.version = 8, "version 8 follows 5");
    refuse(|m| m.version = 0, "version 0 follows 5");
    refuse(|m| m.previous = None, "version 6 follows 0");
    refuse(
        |m| m.previous.as_mut().unwrap().version = u64::MAX,
        "is not a manifest of version",
    );
    refuse(|m| m.segments[1].id = 42, "segment 42 is named twice");
    refuse(|m| m.segments[1].id = 44, "is not its file Columns");
    refuse(|m| m.segments[1].rows = 0, "0 rows");
    refuse(|m| m.segments[1].rows = 1 << 32, "4294967296 rows");
    refuse(|m| m.segments[1].deleted_rows = 11, "11 of 10 rows");
    refuse(
        |m| m.segments[1].min_ts = 201,
        "stamps go from 201 down to 200",
    );
    refuse(|m| m.segments[1].pk_min = None, "a key is missing");
    refuse(
        |m| m.segments[1].pk_min = m.segments[0].pk_min.clone(),
        "smallest key",
    );
    refuse(|m| m.segments[1].files[0].role = None, "no role");
    refuse(
        |m| m.segments[1].files[0].object = None,
        "an object is missing",
    );
    refuse(
        |m| m.segments[1].files[1] = m.segments[1].files[0].clone(),
        "file Columns is named twice",
    );
    refuse(
        |m| m.segments[0].indexes[0].build = 10,
        "is not its index 5",
    );
    refuse(
        |m| m.segments[0].files[0].object.as_mut().unwrap().blake3 = Bytes::from_static(&[1; 31]),
        "31 bytes, not 32",
    );
    refuse(
        |m| m.delete_logs[0].last_lsn = 21,
        "is not the delete log 11-21",
    );
    refuse(|m| m.covers_lsn = 19, "is past 19");
    refuse(
        |m| m.delete_logs.push(m.delete_logs[0].clone()),
        "out of order",
    );
    refuse(|m| m.delete_logs[0].count = 0, "empty");
}
