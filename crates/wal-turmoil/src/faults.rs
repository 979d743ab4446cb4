//! Which faults a seed has, and how many: every seed draws its own mix, so that rare ones meet each other.

use std::time::Duration;

use rand::{Rng, rngs::StdRng};

/// The rates of one seed: how likely a fault is at each step of the nemesis. 0: never.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) lasts: Duration,
    pub(crate) latency_max: Duration,
    pub(crate) partition: f64,
    pub(crate) repair: f64,
    pub(crate) hold: f64,
    pub(crate) slow_link: f64,
    pub(crate) node_crash: f64,
    pub(crate) process_crash: f64,
    pub(crate) zone_crash: f64,
    pub(crate) power: f64,
    pub(crate) restart_max: Duration,
    pub(crate) sync_max: Duration,
    pub(crate) disk_stall: f64,
    pub(crate) disk_error: f64,
    pub(crate) disk_full: f64,
    /// What happens to the one disk that may lose something, at each of its crashes.
    pub(crate) wipe: f64,
    pub(crate) restore: f64,
    pub(crate) rot: f64,
    /// The disk that may lose something lies, until its node crashes.
    pub(crate) lie: f64,
    pub(crate) meta_outage: f64,
    pub(crate) meta_lost: f64,
    pub(crate) meta_delay_max: Duration,
    pub(crate) clock_jump: f64,
    /// A process takes a log over for no reason, a second.
    pub(crate) usurp: f64,
}

impl Faults {
    /// A mix of faults.
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        let mut rate = |most: f64| match rng.random_bool(0.5) {
            true => 0.0,
            false => rng.random_range(most / 20.0..most),
        };
        let (partition, hold, slow_link) = (rate(0.06), rate(0.03), rate(0.03));
        let (node_crash, process_crash, zone_crash) = (rate(0.04), rate(0.02), rate(0.008));
        let power = rate(1.0);
        let (disk_stall, disk_error, disk_full) = (rate(0.02), rate(0.01), rate(0.01));
        let (wipe, restore, rot, lie) = (rate(0.4), rate(0.4), rate(0.6), rate(0.01));
        let (meta_outage, meta_lost) = (rate(0.01), rate(0.3));
        let (clock_jump, usurp) = (rate(0.05), rate(0.3));
        let mut longest = |low: u64, high: u64| {
            // Short most of the time, long now and then.
            let high = match rng.random_bool(0.7) {
                true => (low + high) / 4,
                false => high,
            };
            Duration::from_micros(rng.random_range(low..high.max(low + 1)))
        };
        Self {
            lasts: longest(6_000_000, 16_000_000),
            latency_max: longest(2_000, 60_000),
            partition,
            repair: 0.03,
            hold,
            slow_link,
            node_crash,
            process_crash,
            zone_crash,
            power,
            restart_max: longest(100_000, 3_000_000),
            sync_max: longest(500, 20_000),
            disk_stall,
            disk_error,
            disk_full,
            wipe,
            restore,
            rot,
            lie,
            meta_outage,
            meta_lost,
            meta_delay_max: longest(1_000, 40_000),
            clock_jump,
            usurp,
        }
    }
}
