//! The rules of the protocol, each one a switch.

/// One switch per rule. [`Rules::KEPT`] is the protocol; a broken variant turns one switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Durable copies that an acknowledgement needs. The rule says 2.
    pub ack_copies: u8,
    /// The copies of an acknowledgement lie in two zones.
    pub ack_spans_zones: bool,
    /// A node acknowledges an entry only after it is durable.
    pub ack_after_sync: bool,
    /// A node makes its promise durable before it answers a Seal.
    pub promise_is_durable: bool,
    /// A node whose disk is not the one that the segment names has no authority.
    pub storage_id_guard: bool,
    /// A disk that came back older than it was has no authority.
    pub generation_guard: bool,
    /// Answers to a Seal that a recoverer needs. The rule says 2 of 3: one of them holds every acknowledged entry.
    pub seal_answers: usize,
    /// The end is the longest authoritative tail. Broken: the second longest, as a writer would count.
    pub longest_tail: bool,
    /// A record that cannot be read makes `len_certain < len_possible`, and is never an answer "no".
    pub corrupt_is_unknown: bool,
    /// The tail is on two nodes in two zones, under the new promise, before the end is final.
    pub repair_before_finish: bool,
    /// The end becomes final by a compare-and-set on the head and the segment.
    pub finish_by_cas: bool,
    /// A roll is a compare-and-set on the head.
    pub roll_by_cas: bool,
    /// Nodes hear Finish only once the end is final.
    pub finish_after_cas: bool,
    /// After a roll, entries carried over count only the acknowledgements of the new segment.
    pub acks_are_of_the_segment: bool,
    /// A bare tick is valid only after a quorum has confirmed the epoch in a Beat.
    pub beat_before_bare_tick: bool,
    /// A Seal returns the highest tick that the node confirmed, and the new primary starts above it.
    pub seal_returns_tick: bool,
    /// A node that restarted since the segment was opened says so, and the new primary waits out the clock bound.
    pub restart_is_told: bool,
    /// A segment's descriptor carries the stamp at which it was opened.
    pub segment_carries_tick: bool,
    /// The window of `(client, seq)` is rebuilt from the recovered log.
    pub dedup: bool,
    /// Readers are held to what is committed.
    pub readers_wait_for_commit: bool,
}

impl Rules {
    /// Every rule kept.
    pub const KEPT: Rules = Rules {
        ack_copies: 2,
        ack_spans_zones: true,
        ack_after_sync: true,
        promise_is_durable: true,
        storage_id_guard: true,
        generation_guard: true,
        seal_answers: 2,
        longest_tail: true,
        corrupt_is_unknown: true,
        repair_before_finish: true,
        finish_by_cas: true,
        roll_by_cas: true,
        finish_after_cas: true,
        acks_are_of_the_segment: true,
        beat_before_bare_tick: true,
        seal_returns_tick: true,
        restart_is_told: true,
        segment_carries_tick: true,
        dedup: true,
        readers_wait_for_commit: true,
    };
}
