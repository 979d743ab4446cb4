//! The scopes and the broken variants that are run.

use crate::properties as p;
use crate::rules::Rules;
use crate::scope::{Losses, Scope};

/// A broken variant, and the promise that it must be seen to break.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// What the table calls it.
    pub name: &'static str,
    /// The rules, with one switch turned.
    pub rules: Rules,
    /// The scope in which it is caught.
    pub scope: Scope,
    /// The promise that breaks.
    pub breaks: &'static str,
}

const KEPT: Rules = Rules::KEPT;

/// Two recoverers race, without faults.
pub const RACE: Scope = Scope {
    name: "two recoverers race",
    seen: &[
        p::SEEN_ACK,
        p::SEEN_FAILOVER,
        p::SEEN_RACE,
        p::SEEN_UNACKED_KEPT,
        p::SEEN_UNACKED_DROPPED,
        p::SEEN_REUSED,
    ],
    ..Scope::BASE
};

/// One recoverer, any one loss of a node or disk, at any time.
pub const ONE_LOSS: Scope = Scope {
    name: "one loss",
    recoverers: 1,
    losses: Losses::ONE_NODE,
    loss_count: 1,
    seen: &[
        p::SEEN_ACK,
        p::SEEN_FAILOVER,
        p::SEEN_UNACKED_KEPT,
        p::SEEN_UNACKED_DROPPED,
        p::SEEN_REUSED,
        p::SEEN_FAILOVER_AFTER_LOSS,
        p::SEEN_UNDECIDED,
    ],
    ..Scope::BASE
};

/// Two recoverers race, and one loss at any time.
pub const RACE_ONE_LOSS: Scope = Scope {
    name: "two recoverers race, one loss",
    appends: 1,
    recoverers: 2,
    losses: Losses::ONE_NODE,
    loss_count: 1,
    seen: &[
        p::SEEN_ACK,
        p::SEEN_RACE,
        p::SEEN_UNACKED_KEPT,
        p::SEEN_FAILOVER_AFTER_LOSS,
        p::SEEN_UNDECIDED,
    ],
    ..Scope::BASE
};

/// A loss, a failover, another loss.
pub const TWO_LOSSES: Scope = Scope {
    name: "a loss, a failover, a loss",
    appends: 1,
    losses: Losses {
        node: true,
        wiped: true,
        ..Losses::NONE
    },
    loss_count: 2,
    seen: &[p::SEEN_TWO_LOSSES, p::SEEN_FAILOVER_AFTER_LOSS],
    ..Scope::BASE
};

/// Memory and disk apart; nodes restart and primaries crash.
pub const RESTARTS: Scope = Scope {
    name: "memory, sync and restarts",
    appends: 2,
    recoverers: 1,
    restarts: 2,
    sync_is_a_step: true,
    crash_is_a_step: true,
    seen: &[p::SEEN_ACK, p::SEEN_FAILOVER, p::SEEN_UNACKED_DROPPED],
    ..Scope::BASE
};

/// A live writer rolls to another node-set, with entries carried over, while a recoverer races it.
pub const ROLL: Scope = Scope {
    name: "roll to another node-set",
    zones: &[0, 1, 2, 2],
    node_sets: &[0b0111, 0b1011],
    alike: &[(0, 2), (2, 2)],
    recoverers: 1,
    rolls: 1,
    seen: &[
        p::SEEN_CARRIED,
        p::SEEN_NODE_SET_CHANGE,
        p::SEEN_UNACKED_KEPT,
        p::SEEN_UNACKED_DROPPED,
    ],
    ..Scope::BASE
};

/// The same with a loss at any time.
pub const ROLL_ONE_LOSS: Scope = Scope {
    name: "roll to another node-set, one loss",
    appends: 1,
    losses: Losses::ONE_NODE,
    loss_count: 1,
    seen: &[
        p::SEEN_CARRIED,
        p::SEEN_NODE_SET_CHANGE,
        p::SEEN_FAILOVER_AFTER_LOSS,
    ],
    ..ROLL
};

/// Bare ticks, and two recoverers.
pub const TICKS: Scope = Scope {
    name: "bare ticks, two recoverers race",
    appends: 1,
    bare_ticks: 1,
    seen: &[p::SEEN_BARE_TICK, p::SEEN_FAILOVER, p::SEEN_RACE],
    ..Scope::BASE
};

/// Bare ticks, and nodes that forget them.
pub const TICKS_AND_RESTART: Scope = Scope {
    name: "bare ticks and a restart",
    recoverers: 1,
    restarts: 1,
    seen: &[p::SEEN_BARE_TICK, p::SEEN_FAILOVER],
    ..TICKS
};

/// Bare ticks across a roll to another node-set.
pub const TICKS_AND_ROLL: Scope = Scope {
    name: "bare ticks and a roll",
    zones: &[0, 1, 2, 2],
    node_sets: &[0b0111, 0b1011],
    alike: &[(0, 2), (2, 2)],
    appends: 1,
    recoverers: 1,
    rolls: 1,
    bare_ticks: 1,
    seen: &[p::SEEN_BARE_TICK, p::SEEN_NODE_SET_CHANGE],
    ..Scope::BASE
};

/// Two zones only, and the one with two nodes is lost.
pub const TWO_ZONES: Scope = Scope {
    name: "two zones, one is lost",
    recoverers: 1,
    zones: &[0, 0, 1],
    alike: &[(0, 2)],
    losses: Losses {
        zone: true,
        ..Losses::NONE
    },
    loss_count: 1,
    seen: &[p::SEEN_ACK, p::SEEN_FAILOVER],
    ..Scope::BASE
};

/// Finish messages cut phantom tails, and a reader follows.
pub const FINISH_AND_READ: Scope = Scope {
    name: "Finish messages and a reader",
    recoverers: 1,
    finish_messages: true,
    reader: true,
    crash_is_a_step: true,
    seen: &[p::SEEN_TAIL_CUT, p::SEEN_READ, p::SEEN_FAILOVER],
    ..Scope::BASE
};

/// Explored whole on each change.
pub const SMALL: &[Scope] = &[
    RACE,
    RACE_ONE_LOSS,
    ONE_LOSS,
    TWO_LOSSES,
    RESTARTS,
    ROLL,
    ROLL_ONE_LOSS,
    TICKS,
    TICKS_AND_RESTART,
    TICKS_AND_ROLL,
    TWO_ZONES,
    FINISH_AND_READ,
];

/// Explored by one command.
pub const LARGE: &[Scope] = &[
    Scope {
        name: "large: roll, one loss, two appends",
        appends: 2,
        ..ROLL_ONE_LOSS
    },
    Scope {
        name: "large: bare ticks, two recoverers, a restart",
        restarts: 1,
        ..TICKS
    },
    Scope {
        name: "large: three recoverers",
        appends: 1,
        recoverers: 3,
        ..RACE_ONE_LOSS
    },
    Scope {
        name: "large: three appends, one loss",
        appends: 3,
        ..ONE_LOSS
    },
    Scope {
        name: "large: two appends, two recoverers, one loss",
        appends: 2,
        ..RACE_ONE_LOSS
    },
    Scope {
        name: "large: two recoverers, sync, restarts",
        recoverers: 2,
        ..RESTARTS
    },
    Scope {
        name: "large: five nodes, roll and two recoverers",
        zones: &[0, 0, 1, 1, 2],
        node_sets: &[0b10101, 0b10110, 0b11001, 0b11010],
        alike: &[(0, 2), (2, 2)],
        appends: 1,
        recoverers: 2,
        ..ROLL
    },
    Scope {
        name: "large: two bare ticks, a roll, a restart",
        bare_ticks: 2,
        restarts: 1,
        ..TICKS_AND_ROLL
    },
    Scope {
        name: "large: Finish, reader, one loss",
        losses: Losses::ONE_NODE,
        loss_count: 1,
        ..FINISH_AND_READ
    },
];

/// Every broken variant.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "the writer's rule: second longest tail",
        rules: Rules {
            longest_tail: false,
            ..KEPT
        },
        scope: Scope::BASE,
        breaks: p::ACKED_WITHIN_END,
    },
    Mutant {
        name: "one answer to a Seal is enough",
        rules: Rules {
            seal_answers: 1,
            ..KEPT
        },
        scope: Scope::BASE,
        breaks: p::ACKED_WITHIN_END,
    },
    Mutant {
        name: "promise in memory",
        rules: Rules {
            promise_is_durable: false,
            ..KEPT
        },
        scope: RESTARTS,
        breaks: p::ACKED_WITHIN_END,
    },
    Mutant {
        name: "no storage-id guard",
        rules: Rules {
            storage_id_guard: false,
            ..KEPT
        },
        scope: ONE_LOSS,
        breaks: p::ACKED_WITHIN_END,
    },
    Mutant {
        name: "no generation guard",
        rules: Rules {
            generation_guard: false,
            ..KEPT
        },
        scope: ONE_LOSS,
        breaks: p::ACKED_WITHIN_END,
    },
    Mutant {
        name: "a record that can't be read counts as no",
        rules: Rules {
            corrupt_is_unknown: false,
            ..KEPT
        },
        scope: ONE_LOSS,
        breaks: p::ACKED_WITHIN_END,
    },
    Mutant {
        name: "no repair before the seal",
        rules: Rules {
            repair_before_finish: false,
            ..KEPT
        },
        scope: TWO_LOSSES,
        breaks: p::ACKED_HAS_COPY,
    },
    Mutant {
        name: "acknowledgement before sync",
        rules: Rules {
            ack_after_sync: false,
            ..KEPT
        },
        scope: RESTARTS,
        breaks: p::ACKED_HAS_COPY,
    },
    Mutant {
        name: "acknowledgement at one copy",
        rules: Rules {
            ack_copies: 1,
            ack_spans_zones: false,
            ..KEPT
        },
        scope: Scope::BASE,
        breaks: p::ACKED_WITHIN_END,
    },
    Mutant {
        name: "acknowledgement at two copies in one zone",
        rules: Rules {
            ack_spans_zones: false,
            ..KEPT
        },
        scope: TWO_ZONES,
        breaks: p::ACKED_HAS_COPY,
    },
    Mutant {
        name: "bare tick without Beat",
        rules: Rules {
            beat_before_bare_tick: false,
            ..KEPT
        },
        scope: TICKS,
        breaks: p::TICKS_HOLD,
    },
    Mutant {
        name: "Seal does not return the confirmed tick",
        rules: Rules {
            seal_returns_tick: false,
            ..KEPT
        },
        scope: TICKS,
        breaks: p::TICKS_HOLD,
    },
    Mutant {
        name: "a restarted node does not say so",
        rules: Rules {
            restart_is_told: false,
            ..KEPT
        },
        scope: TICKS_AND_RESTART,
        breaks: p::TICKS_HOLD,
    },
    Mutant {
        name: "segments don't carry the opening stamp",
        rules: Rules {
            segment_carries_tick: false,
            ..KEPT
        },
        scope: TICKS_AND_ROLL,
        breaks: p::TICKS_HOLD,
    },
    Mutant {
        name: "finish without compare-and-set",
        rules: Rules {
            finish_by_cas: false,
            ..KEPT
        },
        scope: Scope::BASE,
        breaks: p::CHAIN_IS_DENSE,
    },
    Mutant {
        name: "roll without compare-and-set",
        rules: Rules {
            roll_by_cas: false,
            ..KEPT
        },
        scope: ROLL,
        breaks: p::CHAIN_IS_DENSE,
    },
    Mutant {
        name: "Finish before the end is final",
        rules: Rules {
            finish_after_cas: false,
            ..KEPT
        },
        scope: Scope::BASE,
        breaks: p::CAN_OPEN,
    },
    Mutant {
        name: "carried entries count old acknowledgements",
        rules: Rules {
            acks_are_of_the_segment: false,
            ..KEPT
        },
        scope: ROLL,
        breaks: p::ALONE_KEEPS_ACKED,
    },
    Mutant {
        name: "no de-duplication after a failover",
        rules: Rules {
            dedup: false,
            ..KEPT
        },
        scope: Scope::BASE,
        breaks: p::NO_DUPLICATE,
    },
    Mutant {
        name: "readers see what is only durable",
        rules: Rules {
            readers_wait_for_commit: false,
            ..KEPT
        },
        scope: FINISH_AND_READ,
        breaks: p::READERS_SEE_COMMITTED,
    },
];
