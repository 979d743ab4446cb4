//! What the machine has.

use std::{fs, num::NonZero, path::Path, thread};

/// Where a container's memory limit is told, in either version of control groups.
const LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];
/// Assumed where nothing is told.
const MEMORY_UNKNOWN: u64 = 4 << 30;

/// Bytes of memory that this process may hope for: the container's, else the machine's.
pub(crate) fn memory() -> u64 {
    let limits = LIMITS
        .iter()
        .filter_map(|file| read_number(Path::new(file)));
    limits
        .chain(machine_memory())
        .min()
        .unwrap_or(MEMORY_UNKNOWN)
}

/// Cores.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory_and_cores() {
        assert!(memory() > 64 << 20);
        assert!(cores() >= 1);
    }
}
