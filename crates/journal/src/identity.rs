//! Whose disk this is, and which of its lives: starts are counted, and while it runs the count is raised now and then.
//!
//! The file is as long as it will ever be from the start, so starting needs no room on the disk. It says everything
//! twice; the copies are written and synced one after the other, so that a crash leaves one intact, and damage to
//! one is survived.

use std::{io, path::Path, sync::Arc};

use holdfast_disk::{Disk, DiskFile, write_all_at};
use holdfast_qlog::{StorageId, messages::ClusterId};

use crate::{
    error::{JournalError, corrupt, failed},
    format::{BLOCK, BLOCK_LEN, COUNT_MAX, array_at, open_block, seal_block, u64_at},
};

const MAGIC: [u8; 8] = *b"HOLDFQLI";
const VERSION: u32 = 1;
pub(crate) const NAME: &str = "identity";
const DRAFT: &str = "identity.new";

/// Who opens a journal.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The cluster it must belong to.
    pub cluster: ClusterId,
    /// The storage it must be, where that is known.
    pub storage: Option<StorageId>,
    /// Random numbers for an empty directory: the identity of the storage, and of the journal in it.
    pub fresh: (StorageId, [u8; 16]),
}

impl Owner {
    /// A member of `cluster`; an empty directory becomes a storage with a new random identity.
    #[must_use]
    pub fn new(cluster: ClusterId) -> Self {
        let random = || *uuid::Uuid::new_v4().as_bytes();
        Self {
            cluster,
            storage: None,
            fresh: (StorageId(random()), random()),
        }
    }
}

/// What a journal says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The disk: made with it, never used again.
    pub storage: StorageId,
    /// Made with the journal; it keeps bytes of others from passing as its own.
    pub journal: [u8; 16],
    /// Counts the starts, and the raises in between. A disk that comes back with a lower one than the cluster remembers
    /// is an old copy.
    pub generation: u64,
}

/// The identity that the journal in `dir` was left with, without starting it; `None` when there is none yet. Ask it
/// before [`crate::Journal::open`], which counts a start: an old copy that is started often enough would look new.
///
/// # Errors
/// [`JournalError`].
pub fn stored_identity(disk: &dyn Disk, dir: &Path) -> Result<Option<Identity>, JournalError> {
    disk.create_dir(dir).map_err(failed("create", dir))?;
    let names = disk.list(dir).map_err(failed("list", dir))?;
    match names.iter().any(|name| name == NAME) {
        true => Ok(Some(IdentityFile::read(disk, dir)?.identity)),
        false => Ok(None),
    }
}

/// How far the making of a journal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its first file may be missing.
    Begun,
    /// It is not.
    Made,
}

/// The open identity file.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    file: Arc<dyn DiskFile>,
    pub(crate) identity: Identity,
    pub(crate) phase: Phase,
    /// The newest file at the last start.
    pub(crate) newest: u64,
}

impl IdentityFile {
    /// Opens the identity, or makes one where `names` shows that there has never been anything. It is of the last
    /// start; [`Self::store`] begins the next one.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        names: &[String],
        owner: &Owner,
    ) -> Result<Self, JournalError> {
        let path = dir.join(NAME);
        if !names.iter().any(|n| n == NAME) {
            let ours = |n: &&String| n.as_str() != DRAFT && n.as_str() != "lock";
            if let Some(other) = names.iter().find(ours) {
                return Err(JournalError::Missing {
                    path: dir.to_owned(),
                    problem: format!("there is {other}, but no file {NAME:?}"),
                });
            }
            let draft_left = names.iter().any(|n| n == DRAFT);
            create(disk, dir, draft_left, owner).map_err(failed("create", &path))?;
        }
        let opened = Self::read(disk, dir)?;
        let found = opened.identity;
        if found.cluster != owner.cluster {
            return Err(JournalError::ForeignCluster {
                path: dir.to_owned(),
                found: found.cluster,
                expected: owner.cluster,
            });
        }
        match owner.storage {
            Some(expected) if expected != found.storage => Err(JournalError::ForeignStorage {
                path: dir.to_owned(),
                found: found.storage,
                expected,
            }),
            _ => Ok(opened),
        }
    }

    /// Opens an identity that is there.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(NAME);
        let file = disk.open(&path).map_err(failed("open", &path))?;
        let copies = read_copies(&*file, &path)?;
        let newest = copies.iter().flatten().max_by_key(|c| c.0.generation);
        let Some(&(identity, phase, newest)) = newest else {
            return Err(corrupt(&path, 0, "neither copy of the identity is intact"));
        };
        if let Some(at) = copies.iter().position(Result::is_err) {
            // Either a start that was cut short or damage; both are mended by this start.
            tracing::warn!(path = %path.display(), copy = at, "one copy of the identity is not intact");
        }
        Ok(Self {
            file,
            identity,
            phase,
            newest,
        })
    }

    /// What is wrong with each of the two copies.
    pub(crate) fn problems(&self, path: &Path) -> Result<[Option<String>; 2], JournalError> {
        Ok(read_copies(&*self.file, path)?.map(Result::err))
    }

    /// Makes a new state durable, and counts a start if the generation is higher.
    pub(crate) fn store(
        &mut self,
        generation: u64,
        phase: Phase,
        newest: u64,
    ) -> Result<(), io::Error> {
        let identity = Identity {
            generation,
            ..self.identity
        };
        for copy in 0..2 {
            write_all_at(&*self.file, &encode(&identity, phase, newest), copy * BLOCK)?;
            self.file.sync()?;
        }
        (self.identity, self.phase, self.newest) = (identity, phase, newest);
        Ok(())
    }
}

type Copy = Result<(Identity, Phase, u64), String>;

fn read_copies(file: &dyn DiskFile, path: &Path) -> Result<[Copy; 2], JournalError> {
    if file.len().map_err(failed("measure", path))? < 2 * BLOCK {
        return Err(corrupt(path, 0, "cut short"));
    }
    let mut blocks = [[0; BLOCK_LEN]; 2];
    for (at, block) in (0..).zip(&mut blocks) {
        file.read_exact_at(block, at * BLOCK)
            .map_err(failed("read", path))?;
    }
    Ok(blocks.map(|block| decode(&block)))
}

fn create(disk: &dyn Disk, dir: &Path, draft_left: bool, owner: &Owner) -> io::Result<()> {
    let draft = dir.join(DRAFT);
    if draft_left {
        disk.remove(&draft)?;
    }
    let (storage, journal) = owner.fresh;
    let identity = Identity {
        cluster: owner.cluster,
        storage,
        journal,
        generation: 0,
    };
    let file = disk.create(&draft)?;
    file.allocate(2 * BLOCK)?;
    for copy in 0..2 {
        write_all_at(&*file, &encode(&identity, Phase::Begun, 0), copy * BLOCK)?;
    }
    file.sync()?;
    disk.rename(&draft, &dir.join(NAME))?;
    disk.sync_dir(dir)
}

fn encode(identity: &Identity, phase: Phase, newest: u64) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    block[..8].copy_from_slice(&MAGIC);
    block[8..12].copy_from_slice(&VERSION.to_le_bytes());
    block[12] = u8::from(phase == Phase::Made);
    block[16..32].copy_from_slice(&identity.cluster.0);
    block[32..48].copy_from_slice(&identity.storage.0);
    block[48..64].copy_from_slice(&identity.journal);
    block[64..72].copy_from_slice(&identity.generation.to_le_bytes());
    block[72..80].copy_from_slice(&newest.to_le_bytes());
    seal_block(&mut block);
    block
}

fn decode(block: &[u8; BLOCK_LEN]) -> Copy {
    open_block(block, &MAGIC, VERSION)?;
    let identity = Identity {
        cluster: ClusterId(array_at(block, 16)),
        storage: StorageId(array_at(block, 32)),
        journal: array_at(block, 48),
        generation: u64_at(block, 64),
    };
    let phase = match block[12] {
        0 => Phase::Begun,
        _ => Phase::Made,
    };
    let newest = u64_at(block, 72);
    match identity.generation.max(newest) < COUNT_MAX {
        true => Ok((identity, phase, newest)),
        false => Err("it counts beyond the last".to_owned()),
    }
}
