//! The small scopes, explored whole, and each broken variant, explored until it is caught.

use std::time::Duration;

use holdfast_wal_model::catalog::{self, MUTANTS, SMALL};
use holdfast_wal_model::check::explore;
use holdfast_wal_model::model::QuorumLog;
use holdfast_wal_model::rules::Rules;
use holdfast_wal_model::scope::Scope;

/// Far above what an exploration takes on a machine that does nothing else.
const LIMIT: Duration = Duration::from_secs(900);
const THREADS: usize = 2;

/// Explores `scope` whole. The number of states is pinned: a rule that stops a part of the exploration by mistake
/// would otherwise look like a proof.
#[track_caller]
fn check(scope: Scope, unique: usize) {
    let log = QuorumLog {
        scope,
        rules: Rules::KEPT,
    };
    let outcome = explore(log, THREADS, LIMIT, &[]);
    assert!(outcome.is_complete, "{}: not done in {LIMIT:?}", scope.name);
    assert!(
        outcome.holds(),
        "{}: {:#?}, not {:#?}",
        scope.name,
        outcome.violated,
        outcome.unseen
    );
    assert_eq!(outcome.unique, unique, "{}: number of states", scope.name);
}

macro_rules! scopes {
    ($($name:ident: $scope:ident = $unique:literal;)*) => {
        $(
            #[test]
            fn $name() {
                check(catalog::$scope, $unique);
            }
        )*

        #[test]
        fn every_small_scope_is_tested() {
            let tested = [$(catalog::$scope.name),*];
            for scope in SMALL {
                assert!(tested.contains(&scope.name), "{} is not tested", scope.name);
            }
        }
    };
}

scopes! {
    two_recoverers_race: RACE = 3_399_863;
    two_recoverers_race_with_one_loss: RACE_ONE_LOSS = 187_434;
    one_loss: ONE_LOSS = 153_917;
    a_loss_a_failover_a_loss: TWO_LOSSES = 92_994;
    memory_sync_and_restarts: RESTARTS = 1_000_476;
    roll_to_another_node_set: ROLL = 4_594_287;
    roll_with_one_loss: ROLL_ONE_LOSS = 728_100;
    bare_ticks: TICKS = 524_069;
    bare_ticks_and_a_restart: TICKS_AND_RESTART = 66_286;
    bare_ticks_and_a_roll: TICKS_AND_ROLL = 1_384_381;
    two_zones_one_is_lost: TWO_ZONES = 46_404;
    finish_messages_and_a_reader: FINISH_AND_READ = 442_754;
}

#[test]
fn every_broken_variant_is_caught() {
    for mutant in MUTANTS {
        assert_ne!(
            mutant.rules,
            Rules::KEPT,
            "{}: nothing is broken",
            mutant.name
        );
        let log = QuorumLog {
            scope: mutant.scope,
            rules: mutant.rules,
        };
        let outcome = explore(log, THREADS, LIMIT, &[mutant.breaks]);
        let steps = outcome
            .counterexample(mutant.breaks)
            .unwrap_or_else(|| panic!("{}: does not break `{}`", mutant.name, mutant.breaks));
        assert!(
            !steps.is_empty(),
            "{}: breaks before it begins",
            mutant.name
        );
    }
}

/// The loss that a published log with this rule had: two answers, and the shorter one is believed.
#[test]
fn the_counterexample_of_the_writers_rule_can_be_read() {
    let mutant = &MUTANTS[0];
    let log = QuorumLog {
        scope: mutant.scope,
        rules: mutant.rules,
    };
    // One thread, so that the path found is always the same.
    let outcome = explore(log, 1, LIMIT, &[mutant.breaks]);
    let steps = outcome.counterexample(mutant.breaks).unwrap();
    let told = |words: &str| steps.iter().any(|step| step.contains(words));
    assert!(told("append 1 is acknowledged"), "{steps:#?}");
    assert!(told("len_certain 1"), "{steps:#?}");
    assert!(told("len_certain 0"), "{steps:#?}");
    assert!(told("decides on end 0"), "{steps:#?}");
    assert!(told("SEALED at 0"), "{steps:#?}");
}
