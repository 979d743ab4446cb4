//! What every process needs and no product word.
//!
//! | module        | what it knows                                                        |
//! |---------------|----------------------------------------------------------------------|
//! | [`clock`]     | time as an input: [`Clock`], [`SystemClock`], [`ManualClock`]        |
//! | [`hlc`]       | the hybrid logical clock that stamps writes and never goes back      |
//! | [`cpu_pool`]  | where computing happens, away from the async threads                 |
//! | [`memory`]    | one budget for all memory that grows with data, with back-pressure   |
//! | [`shutdown`]  | one signal to stop, and the tasks that must end before the process   |
//! | [`telemetry`] | logs on standard error, as text or JSON                              |

pub mod clock;
pub mod cpu_pool;
pub mod hlc;
pub mod memory;
pub mod shutdown;
pub mod telemetry;

pub use clock::{Clock, ManualClock, SystemClock};
pub use cpu_pool::{Cancelled, CpuPool, PoolError};
pub use hlc::Hlc;
pub use memory::{MemoryBudget, MemoryKind, OverBudget, Reservation};
pub use shutdown::Shutdown;
pub use telemetry::{LogFormat, TelemetryError};
