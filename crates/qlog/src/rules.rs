//! The rules that are never relaxed, each with a switch that exists only in the simulator's build.
//!
//! With the feature `mutants` one rule can be broken for the current thread, to see whether the simulation notices. Without
//! it, which is how every product is built, [`kept`] is the constant `true`.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A rule of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name),*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }
        }
    };
}

rules! {
    /// An acknowledgement needs two durable copies.
    AckCopies = "ack_copies",
    /// The copies of an acknowledgement lie in two zones.
    AckSpansZones = "ack_spans_zones",
    /// A node acknowledges an entry only when it is on disk.
    AckAfterSync = "ack_after_sync",
    /// A file's name is on disk before its bytes count.
    NamesAreDurable = "names_are_durable",
    /// A node's promise is on disk before it answers.
    PromiseIsDurable = "promise_is_durable",
    /// Only the disk that the descriptor names has a say.
    StorageIdGuard = "storage_id_guard",
    /// The end is the longest authoritative tail.
    LongestTail = "longest_tail",
    /// What cannot be read is no answer "no".
    CorruptIsUnknown = "corrupt_is_unknown",
    /// The tail is on enough copies before the end is final.
    RepairBeforeFinish = "repair_before_finish",
    /// Nodes hear of the end only when it is final.
    FinishAfterCas = "finish_after_cas",
    /// The end becomes final by a compare-and-set.
    FinishByCas = "finish_by_cas",
    /// While a roll is undecided, an entry is committed only when it is in both segments.
    RollCommitsInBoth = "roll_commits_in_both",
    /// A bare tick is announced only when a quorum has confirmed the epoch in a beat.
    BeatBeforeBareTick = "beat_before_bare_tick",
    /// A recoverer learns the highest tick that a node confirmed.
    SealReturnsTick = "seal_returns_tick",
    /// A node that may have forgotten ticks says so.
    RestartIsTold = "restart_is_told",
    /// A segment carries the stamp above which it was opened.
    SegmentCarriesTick = "segment_carries_tick",
    /// A repeated request is recognised by the next writer too.
    Dedup = "dedup",
    /// Readers are held to what is committed.
    ReadersWaitForCommit = "readers_wait_for_commit",
}

/// Whether a rule is kept.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub const fn kept(_: Rule) -> bool {
    true
}

#[cfg(feature = "mutants")]
pub use switch::{break_rule, kept};

#[cfg(feature = "mutants")]
mod switch {
    use super::Rule;
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Whether a rule is kept on this thread.
    #[must_use]
    pub fn kept(rule: Rule) -> bool {
        BROKEN.get() != Some(rule)
    }

    /// Breaks a rule on this thread, or none.
    pub fn break_rule(rule: Option<Rule>) {
        BROKEN.set(rule);
    }
}
