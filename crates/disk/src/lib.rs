//! Disks as the logs see them: a few calls, so that a failing disk can stand in for the machine's.
//!
//! | module     | what it knows                                                               |
//! |------------|-----------------------------------------------------------------------------|
//! | [`disk`]   | what is asked of a disk; the machine's file system                           |
//! | [`lock`]   | that one process uses a directory                                            |
//! | [`spares`] | files prepared ahead and used again                                          |
//! | [`sim`]    | a disk in memory with faults and power cuts (feature `testing`)              |

pub mod disk;
pub mod lock;
#[cfg(feature = "testing")]
pub mod sim;
pub mod spares;

pub use disk::{Disk, DiskFile, RealDisk, Space, is_full, write_all_at};
pub use lock::DirLock;
#[cfg(feature = "testing")]
pub use sim::{Faults, SimDisk};
pub use spares::{FileSizes, Spare, Spares};
