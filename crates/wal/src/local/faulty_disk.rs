//! A disk in memory that fails on demand: short writes, no room, errors of writes and syncs, and power
//! cuts that lose any part of what was not synced, sector by sector.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// How likely each fault is, from 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) short_write: f64,
    /// A write that stops half way for want of room, as on file systems that copy on write.
    pub(super) full_write: f64,
    pub(super) failed_write: f64,
    pub(super) failed_sync: f64,
    /// The free space reported is a lie, so that only allocating finds out.
    pub(super) free_space_lies: bool,
}

/// The disk. Clones are the same one.
#[derive(Clone)]
pub(super) struct FaultyDisk(Arc<Mutex<World>>);

struct World {
    rng: StdRng,
    faults: Faults,
    capacity: u64,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending: Vec<NameOp>,
    syncs: u64,
}

#[derive(Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

enum NameOp {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl FaultyDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            rng: StdRng::seed_from_u64(seed),
            faults: Faults::default(),
            capacity: u64::MAX / 2,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            syncs: 0,
        })))
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Leaves this much room, or as good as endless room.
    pub(super) fn set_free(&self, free: Option<u64>) {
        let mut world = self.world();
        world.capacity = free.map_or(u64::MAX / 2, |free| world.used() + free);
    }

    /// Syncs of files so far.
    pub(super) fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// Everything not synced is lost, or some of it, or nothing.
    pub(super) fn cut_power(&self) {
        let world = &mut *self.world();
        let kept: f64 = [0.0, 0.5, 1.0][world.rng.random_range(0..3)];
        for inode in world.inodes.values_mut() {
            if inode.durable.len() != inode.cached.len() && world.rng.random_bool(kept) {
                inode.durable.resize(inode.cached.len(), 0);
            }
            for sector in std::mem::take(&mut inode.dirty) {
                if world.rng.random_bool(kept) {
                    inode.persist(sector);
                }
            }
            inode.cached.clone_from(&inode.durable);
        }
        let ops = std::mem::take(&mut world.pending);
        let survive = world.rng.random_range(0..=ops.len());
        for op in ops.into_iter().take(survive) {
            apply(&mut world.durable_names, op);
        }
        world.names = world.durable_names.clone();
        let named: BTreeSet<u64> = world.names.values().copied().collect();
        world.inodes.retain(|id, _| named.contains(id));
    }

    /// Changes stored bytes behind everyone's back.
    pub(super) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let id = world.names[path];
        let inode = world.inodes.get_mut(&id).expect("named");
        change(&mut inode.cached);
        inode.durable.clone_from(&inode.cached);
    }

    pub(super) fn bytes(&self, path: &Path) -> Vec<u8> {
        let world = self.world();
        world.inodes[&world.names[path]].cached.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyDisk")
    }
}

impl World {
    fn used(&self) -> u64 {
        let len = |id: &u64| self.inodes[id].cached.len() as u64;
        self.names.values().map(len).sum()
    }

    fn hit(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }

    fn name_op(&mut self, op: NameOp) {
        apply(
            &mut self.names,
            match &op {
                NameOp::Create(path, id) => NameOp::Create(path.clone(), *id),
                NameOp::Rename(from, to) => NameOp::Rename(from.clone(), to.clone()),
                NameOp::Remove(path) => NameOp::Remove(path.clone()),
            },
        );
        self.pending.push(op);
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let id = self.names.get(path).copied();
        id.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Inode {
    fn persist(&mut self, sector: usize) {
        let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.cached.len());
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        self.durable[range.clone()].copy_from_slice(&self.cached[range]);
    }

    fn write(&mut self, bytes: &[u8], at: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR..=(end - 1) / SECTOR);
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, op: NameOp) {
    match op {
        NameOp::Create(path, id) => drop(names.insert(path, id)),
        NameOp::Rename(from, to) => {
            if let Some(id) = names.remove(&from) {
                names.insert(to, id);
            }
        }
        NameOp::Remove(path) => drop(names.remove(&path)),
    }
}

fn broken() -> io::Error {
    io::Error::other("input/output error")
}

impl Disk for FaultyDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        let inside = world.names.keys().filter(|p| p.parent() == Some(dir));
        Ok(inside
            .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.world().find(path)?;
        let disk = self.clone();
        Ok(Arc::new(FaultyFile { disk, id }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        if world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = world.inodes.last_key_value().map_or(0, |(id, _)| id + 1);
        world.inodes.insert(id, Inode::default());
        world.name_op(NameOp::Create(path.to_owned(), id));
        let disk = self.clone();
        Ok(Arc::new(FaultyFile { disk, id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.find(from)?;
        world.name_op(NameOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.find(path)?;
        world.name_op(NameOp::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let world = &mut *self.world();
        if world.hit(world.faults.failed_sync) {
            return Err(broken());
        }
        for op in world.pending.drain(..) {
            apply(&mut world.durable_names, op);
        }
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let world = self.world();
        Ok(match world.faults.free_space_lies {
            true => u64::MAX,
            false => world.capacity.saturating_sub(world.used()),
        })
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    id: u64,
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.world().inodes[&self.id].cached.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let world = self.disk.world();
        let bytes = world.inodes[&self.id].cached.get(offset as usize..);
        let bytes = bytes.and_then(|b| b.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let world = &mut *self.disk.world();
        let part = world.rng.random_range(0..=buf.len());
        let faults = world.faults;
        let (len, result) = if world.hit(faults.failed_write) {
            (part, Err(broken()))
        } else if world.hit(faults.full_write) {
            (part, Err(io::ErrorKind::StorageFull.into()))
        } else if world.hit(faults.short_write) {
            (part.max(1), Ok(part.max(1)))
        } else {
            (buf.len(), Ok(buf.len()))
        };
        let inode = world.inodes.get_mut(&self.id).expect("open");
        inode.write(&buf[..len], offset as usize);
        result
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        let held = world.inodes[&self.id].cached.len() as u64;
        if world.used() + bytes.saturating_sub(held) > world.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = world.inodes.get_mut(&self.id).expect("open");
        inode.cached.resize(bytes.max(held) as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let world = &mut *self.disk.world();
        world.syncs += 1;
        let failed = world.hit(world.faults.failed_sync);
        let inode = world.inodes.get_mut(&self.id).expect("open");
        if inode.durable.len() < inode.cached.len() {
            inode.durable.resize(inode.cached.len(), 0);
        }
        // As Linux has it: after a failed sync the pages count as clean, whether or not they made it,
        // and the next sync succeeds without having done anything for them.
        for sector in std::mem::take(&mut inode.dirty) {
            if !failed || world.rng.random_bool(0.5) {
                inode.persist(sector);
            }
        }
        match failed {
            true => Err(broken()),
            false => Ok(()),
        }
    }
}
