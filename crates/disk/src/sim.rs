//! A disk in memory that fails on demand: short writes, no room, errors of reads, writes and syncs, writes that
//! go astray or nowhere, damaged bytes, and power cuts, after any operation, that lose any part of what was not
//! synced, sector by sector. What happens follows from a seed alone; there is no clock and no thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::disk::{Disk, DiskFile, Space};

const SECTOR: usize = 512;
const BLOCK: usize = 4096;
/// What an operation is reported to take on a healthy disk.
const QUICK: Duration = Duration::from_micros(100);
/// And when it stalls.
const SLOW: Duration = Duration::from_secs(5);

/// How likely each fault is, from 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write takes a part of what it was given, and says so.
    pub short_write: f64,
    /// A write that stops half way for want of room, as on file systems that copy on write.
    pub full_write: f64,
    /// A write fails, having written a part.
    pub failed_write: f64,
    /// A sync fails, having kept a part; as Linux has it, the next one then succeeds without doing anything.
    pub failed_sync: f64,
    /// A read fails.
    pub failed_read: f64,
    /// A write lands in another place of the same file and is reported as done.
    pub misdirected_write: f64,
    /// A write is reported as done and was not.
    pub lost_write: f64,
    /// An operation stalls: [`SimDisk::elapsed`] tells.
    pub slow: f64,
    /// The free space reported is a lie, so that only allocating finds out.
    pub free_space_lies: bool,
}

/// The disk. Clones are the same one.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<World>>);

struct World {
    rng: StdRng,
    faults: Faults,
    capacity: u64,
    inodes: BTreeMap<u64, Inode>,
    inodes_made: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending: Vec<NameOp>,
    syncs: u64,
    operations: u64,
    power_until: Option<u64>,
    elapsed: Duration,
}

#[derive(Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    dirty: Sectors,
}

#[derive(Clone)]
enum NameOp {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl SimDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            rng: StdRng::seed_from_u64(seed),
            faults: Faults::default(),
            capacity: u64::MAX / 2,
            inodes: BTreeMap::new(),
            inodes_made: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            syncs: 0,
            operations: 0,
            power_until: None,
            elapsed: Duration::ZERO,
        })))
    }

    /// From now on these faults.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Leaves this much room, or as good as endless room.
    pub fn set_free(&self, free: Option<u64>) {
        let mut world = self.world();
        world.capacity = free.map_or(u64::MAX / 2, |free| world.used() + free);
    }

    /// Syncs of files so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// Operations so far that change the disk.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// What the operations so far would have taken.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.world().elapsed
    }

    /// The power fails after this many further operations that change the disk: nothing succeeds from then on
    /// until [`Self::cut_power`] has decided what is left.
    pub fn fail_power_after(&self, operations: u64) {
        let mut world = self.world();
        world.power_until = Some(world.operations + operations);
    }

    /// Everything not synced is lost, or some of it, or nothing. The power is back afterwards.
    pub fn cut_power(&self) {
        let kept = [0.0, 0.5, 1.0][self.world().rng.random_range(0..3)];
        self.cut_power_keeping(kept);
    }

    /// Every sector not synced survives with this probability, and of the names some first ones.
    pub fn cut_power_keeping(&self, kept: f64) {
        let world = &mut *self.world();
        world.power_until = None;
        for inode in world.inodes.values_mut() {
            if inode.durable.len() != inode.cached.len() && world.rng.random_bool(kept) {
                inode.durable.resize(inode.cached.len(), 0);
            }
            for sector in inode.dirty.take() {
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

    /// The process dies and the machine goes on: nothing is lost, whatever the power was to do.
    pub fn restart_process(&self) {
        self.world().power_until = None;
    }

    /// Changes stored bytes behind everyone's back.
    ///
    /// # Panics
    /// Without a file of that name.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let id = world.names[path];
        let inode = world.inodes.get_mut(&id).expect("named");
        change(&mut inode.cached);
        inode.durable.clone_from(&inode.cached);
    }

    /// The bytes of a file as a reader sees them.
    ///
    /// # Panics
    /// Without a file of that name.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let world = self.world();
        world.inodes[&world.names[path]].cached.clone()
    }

    /// Puts a file there, durably.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut world = self.world();
        let id = world.new_inode();
        let inode = world.inodes.get_mut(&id).expect("made just now");
        inode.cached = bytes.to_vec();
        inode.durable = bytes.to_vec();
        world.names.insert(path.to_owned(), id);
        world.durable_names.insert(path.to_owned(), id);
    }

    /// Every file and its bytes as they would survive a power cut.
    #[must_use]
    pub fn durable_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = self.world();
        let bytes = |id| {
            world
                .inodes
                .get(id)
                .map_or_else(Vec::new, |i| i.durable.clone())
        };
        let files = world.durable_names.iter();
        files.map(|(path, id)| (path.clone(), bytes(id))).collect()
    }

    /// Another disk with the same durable bytes, as an image of it would be. What was not synced is not there.
    #[must_use]
    pub fn image(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        for (path, bytes) in self.durable_files() {
            copy.put(&path, &bytes);
        }
        copy
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl World {
    fn used(&self) -> u64 {
        let len = |id: &u64| self.inodes[id].cached.len() as u64;
        self.names.values().map(len).sum()
    }

    fn new_inode(&mut self) -> u64 {
        self.inodes_made += 1;
        self.inodes.insert(self.inodes_made, Inode::default());
        self.inodes_made
    }

    fn hit(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }

    /// Before every operation that changes the disk.
    fn change(&mut self) -> io::Result<()> {
        self.powered()?;
        self.operations += 1;
        let slow = self.hit(self.faults.slow);
        self.elapsed += if slow { SLOW } else { QUICK };
        Ok(())
    }

    fn powered(&self) -> io::Result<()> {
        match self.power_until.is_some_and(|end| self.operations >= end) {
            true => Err(io::Error::other("the power is off")),
            false => Ok(()),
        }
    }

    fn name_op(&mut self, op: NameOp) {
        apply(&mut self.names, op.clone());
        self.pending.push(op);
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        self.powered()?;
        let id = self.names.get(path).copied();
        id.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        // A file opened before a power cut is gone after it.
        self.inodes
            .get_mut(&id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
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
        self.dirty.add(at / SECTOR, (end - 1) / SECTOR);
    }
}

/// A set of sector numbers.
#[derive(Default)]
struct Sectors(Vec<u64>);

impl Sectors {
    fn add(&mut self, first: usize, last: usize) {
        if self.0.len() <= last / 64 {
            self.0.resize(last / 64 + 1, 0);
        }
        for sector in first..=last {
            self.0[sector / 64] |= 1 << (sector % 64);
        }
    }

    fn take(&mut self) -> Vec<usize> {
        let mut sectors = Vec::new();
        for (word, at) in std::mem::take(&mut self.0).into_iter().zip(0..) {
            let mut rest = word;
            while rest != 0 {
                sectors.push(at * 64 + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
        sectors
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

impl Disk for SimDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        world.powered()?;
        let inside = world.names.keys().filter(|p| p.parent() == Some(dir));
        let names = inside.filter_map(|p| p.file_name()?.to_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.world().find(path)?;
        let disk = self.clone();
        Ok(Arc::new(SimFile { disk, id }))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.change()?;
        if world.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = world.new_inode();
        world.name_op(NameOp::Create(path.to_owned(), id));
        let disk = self.clone();
        Ok(Arc::new(SimFile { disk, id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.find(from)?;
        world.change()?;
        world.name_op(NameOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.find(path)?;
        world.change()?;
        world.name_op(NameOp::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let world = &mut *self.world();
        world.change()?;
        if world.hit(world.faults.failed_sync) {
            return Err(broken());
        }
        for op in world.pending.drain(..) {
            apply(&mut world.durable_names, op);
        }
        Ok(())
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let world = self.world();
        Ok(Space {
            free: match world.faults.free_space_lies {
                true => u64::MAX,
                false => world.capacity.saturating_sub(world.used()),
            },
            total: world.capacity,
        })
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut world = self.disk.world();
        world.powered()?;
        Ok(world.inode(self.id)?.cached.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let world = &mut *self.disk.world();
        world.powered()?;
        if world.hit(world.faults.failed_read) {
            return Err(broken());
        }
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = world.inode(self.id)?.cached.get(offset..);
        let bytes = bytes.and_then(|b| b.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let world = &mut *self.disk.world();
        world.change()?;
        let part = world.rng.random_range(0..=buf.len());
        let faults = world.faults;
        let (len, result) = if world.hit(faults.failed_write) {
            (part, Err(broken()))
        } else if world.hit(faults.full_write) {
            (part, Err(io::ErrorKind::StorageFull.into()))
        } else if world.hit(faults.short_write) {
            (part.max(1), Ok(part.max(1)))
        } else if world.hit(faults.lost_write) {
            (0, Ok(buf.len()))
        } else {
            (buf.len(), Ok(buf.len()))
        };
        let mut at = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        if world.hit(faults.misdirected_write) {
            let blocks = world.inode(self.id)?.cached.len() / BLOCK;
            at = world.rng.random_range(0..blocks.max(1)) * BLOCK;
        }
        world.inode(self.id)?.write(&buf[..len], at);
        result
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let world = &mut *self.disk.world();
        world.change()?;
        let held = world.inode(self.id)?.cached.len() as u64;
        if world.used() + bytes.saturating_sub(held) > world.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = usize::try_from(bytes.max(held)).map_err(|_| io::ErrorKind::StorageFull)?;
        world.inode(self.id)?.cached.resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let world = &mut *self.disk.world();
        world.change()?;
        world.syncs += 1;
        let failed = world.hit(world.faults.failed_sync);
        let inode = world.inodes.get_mut(&self.id);
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        if inode.durable.len() < inode.cached.len() {
            inode.durable.resize(inode.cached.len(), 0);
        }
        // As Linux has it: after a failed sync the pages count as clean, whether or not they made it,
        // and the next sync succeeds without having done anything for them.
        for sector in inode.dirty.take() {
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
