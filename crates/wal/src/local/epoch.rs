//! The highest epoch that opened a channel, durable before its writer exists.
//!
//! The file is as long as it will ever be from the start, so raising the epoch needs no room on the
//! disk. It holds the epoch twice; the copies are written and synced one after the other, so that a
//! crash leaves at least one intact, and damage to one is survived.

use std::{io, path::Path, sync::Arc};

use holdfast_disk::{Disk, DiskFile, write_all_at};
use holdfast_types::Epoch;

use super::{
    format::{BLOCK, BLOCK_LEN, u32_at, u64_at},
    log_file::{corrupt, failed},
};
use crate::wal::WalError;

const MAGIC: [u8; 8] = *b"HFEPOCH\x01";
const NAME: &str = "epoch";
const DRAFT: &str = "epoch.new";
const USED: usize = 20;

/// The open file and what it says.
#[derive(Debug)]
pub(super) struct EpochFile {
    file: Arc<dyn DiskFile>,
    epoch: Epoch,
}

impl EpochFile {
    /// Opens the channel's epoch file, or makes one that says 0.
    pub(super) fn open(disk: &dyn Disk, dir: &Path) -> Result<Self, WalError> {
        let path = dir.join(NAME);
        let names = disk.list(dir).map_err(failed("list", dir))?;
        if !names.iter().any(|n| n == NAME) {
            create(disk, dir, names.iter().any(|n| n == DRAFT)).map_err(failed("create", &path))?;
        }
        let file = disk.open(&path).map_err(failed("open", &path))?;
        let mut bytes = [0; 2 * BLOCK_LEN];
        if file.len().map_err(failed("measure", &path))? < 2 * BLOCK {
            return Err(corrupt(&path, 0, "cut short"));
        }
        file.read_exact_at(&mut bytes, 0)
            .map_err(failed("read", &path))?;
        let epoch = bytes
            .chunks_exact(BLOCK_LEN)
            .filter_map(decode)
            .max()
            .ok_or_else(|| corrupt(&path, 0, "neither copy of the epoch is intact"))?;
        Ok(Self { file, epoch })
    }

    /// The stored epoch.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Stores a higher epoch, durably.
    pub(super) fn raise(&mut self, epoch: Epoch) -> io::Result<()> {
        for copy in 0..2 {
            write_all_at(&*self.file, &encode(epoch), copy * BLOCK)?;
            self.file.sync()?;
        }
        self.epoch = epoch;
        Ok(())
    }
}

fn create(disk: &dyn Disk, dir: &Path, leftover: bool) -> io::Result<()> {
    let draft = dir.join(DRAFT);
    if leftover {
        disk.remove(&draft)?;
    }
    let file = disk.create(&draft)?;
    file.allocate(2 * BLOCK)?;
    let mut bytes = [0; 2 * BLOCK_LEN];
    for copy in bytes.chunks_exact_mut(BLOCK_LEN) {
        copy[..USED].copy_from_slice(&encode(Epoch(0)));
    }
    write_all_at(&*file, &bytes, 0)?;
    file.sync()?;
    disk.rename(&draft, &dir.join(NAME))?;
    disk.sync_dir(dir)
}

fn encode(epoch: Epoch) -> [u8; USED] {
    let mut bytes = [0; USED];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&epoch.0.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Epoch> {
    let intact = bytes[..8] == MAGIC && crc32c::crc32c(&bytes[..16]) == u32_at(bytes, 16);
    intact.then(|| Epoch(u64_at(bytes, 8)))
}
