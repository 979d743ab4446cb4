//! Which faults a seed has, and how many: every seed draws its own mix, so that rare ones meet each other.

use std::time::Duration;

use crate::rng::Rng;

/// The rates of one seed. Chances are in millionths a step of the nemesis or a message; 0: never.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    pub(crate) delay_max: Duration,
    pub(crate) slow: u64,
    pub(crate) slow_max: Duration,
    pub(crate) partition: u64,
    pub(crate) heal: u64,
    pub(crate) node_crash: u64,
    pub(crate) node_pause: u64,
    pub(crate) process_crash: u64,
    pub(crate) process_pause: u64,
    pub(crate) restart_max: Duration,
    pub(crate) disk_delay_max: Duration,
    pub(crate) disk_stall: u64,
    pub(crate) disk_error: u64,
    pub(crate) disk_full: u64,
    pub(crate) wipe: u64,
    pub(crate) restore: u64,
    pub(crate) rot: u64,
    pub(crate) meta_outage: u64,
    pub(crate) meta_lost: u64,
    pub(crate) meta_delay_max: Duration,
    pub(crate) clock_jump: u64,
    pub(crate) zone_crash: u64,
    pub(crate) spurious_promotion: u64,
}

impl Faults {
    /// A mix of faults.
    #[must_use]
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut rate = |most: u64| {
            if rng.chance(500_000) {
                0
            } else {
                rng.range(most / 20, most)
            }
        };
        let (drop, duplicate, slow) = (rate(100_000), rate(100_000), rate(50_000));
        let (partition, heal) = (rate(60_000), 100_000);
        let (node_crash, node_pause) = (rate(60_000), rate(40_000));
        let (process_crash, process_pause) = (rate(40_000), rate(40_000));
        let (disk_stall, disk_error, disk_full) = (rate(10_000), rate(10_000), rate(10_000));
        let (wipe, restore, rot) = (rate(400_000), rate(400_000), rate(400_000));
        let (meta_outage, meta_lost) = (rate(20_000), rate(200_000));
        let (clock_jump, zone_crash) = (rate(50_000), rate(15_000));
        let spurious_promotion = rate(20_000);
        let mut longest = |low: u64, high: u64| {
            // Short most of the time, long now and then.
            let high = if rng.chance(700_000) {
                (low + high) / 4
            } else {
                high
            };
            Duration::from_micros(rng.range(low, high.max(low + 1)))
        };
        Self {
            drop,
            duplicate,
            delay_max: longest(500, 20_000),
            slow,
            slow_max: longest(20_000, 2_000_000),
            partition,
            heal,
            node_crash,
            node_pause,
            process_crash,
            process_pause,
            restart_max: longest(100_000, 3_000_000),
            disk_delay_max: longest(300, 20_000),
            disk_stall,
            disk_error,
            disk_full,
            wipe,
            restore,
            rot,
            meta_outage,
            meta_lost,
            meta_delay_max: longest(1_000, 40_000),
            clock_jump,
            zone_crash,
            spurious_promotion,
        }
    }

    /// Nothing fails any more; messages and disks take a little time.
    pub(crate) fn calm(&mut self) {
        *self = Self {
            drop: 0,
            duplicate: 0,
            slow: 0,
            partition: 0,
            heal: 1_000_000,
            node_crash: 0,
            node_pause: 0,
            process_crash: 0,
            process_pause: 0,
            disk_stall: 0,
            disk_error: 0,
            disk_full: 0,
            wipe: 0,
            restore: 0,
            rot: 0,
            meta_outage: 0,
            meta_lost: 0,
            clock_jump: 0,
            zone_crash: 0,
            spurious_promotion: 0,
            ..self.clone()
        };
    }
}
