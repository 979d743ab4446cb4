//! Drills for the quorum log: real log-node processes under real faults, and its speed beside that of the hardware.
//!
//! Not part of the product. `cargo build -p holdfast -p holdfast-wal-drill`, then
//! `target/debug/holdfast-wal-drill faults --seconds 1800 --seed 1`; with `--release`,
//! `target/release/holdfast-wal-drill bench --dir DIR`, where `DIR` is on the disk in question. As root, nodes get network namespaces (`ip`, `nft`)
//! and one of them a small disk; elsewhere those faults are left out, and the report says so.
//!
//! | module        | what it knows                                                     |
//! |---------------|-------------------------------------------------------------------|
//! | [`cluster`]   | etcd and log-nodes                                                |
//! | [`node`]      | one log-node's process, and what can be done to it and its disk   |
//! | [`network`]   | network namespaces, and cutting them off                          |
//! | [`redundancy`]| whether a disk may be destroyed                                   |
//! | [`load`]      | those who append, take over, follow                               |
//! | [`history`]   | what was appended and read, and whether that agrees; pure         |
//! | [`nemesis`]   | faults, one after the other                                       |
//! | [`faults`]    | a run from its start to the reckoning                             |
//! | [`report`]    | what came of it                                                   |
//! | [`bench`]     | appends beside the hardware                                       |
//! | [`raw`]       | the hardware without us                                           |
//! | [`floor`]     | three bare processes that do the least that is needed             |
//! | [`scrape`]    | how often disks synced                                            |
//! | [`latency`]   | how times are spread                                              |

pub mod bench;
pub mod cluster;
pub mod faults;
pub mod floor;
pub mod history;
pub mod latency;
pub mod load;
pub mod nemesis;
pub mod network;
pub mod node;
pub mod raw;
pub mod redundancy;
pub mod report;
pub mod scrape;
