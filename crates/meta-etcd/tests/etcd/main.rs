//! The store against real etcd members. Where etcd is not installed these tests are counted as ignored.
#![expect(
    clippy::unwrap_used,
    reason = "these are tests, which the lint does not see without #[test]"
)]

mod access;
mod contract;
mod faults;
mod large;
mod model;

use std::process::ExitCode;

use holdfast_meta_etcd::testing;
use libtest_mimic::{Arguments, Trial};

/// A test and its name.
macro_rules! tests {
    ($($module:ident::$test:ident),* $(,)?) => {
        vec![$(test(concat!(stringify!($module), "::", stringify!($test)), $module::$test)),*]
    };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests = tests![
        contract::every_clause_holds,
        contract::every_clause_of_sessions_holds,
        contract::clusters_that_share_an_etcd_do_not_see_each_other,
        contract::a_key_that_is_not_text_is_damage,
        large::a_range_of_many_pages_is_of_one_revision,
        large::a_range_of_large_values_is_read_in_smaller_pages,
        large::transactions_that_etcd_cuts_are_told_whole,
        large::a_transaction_too_large_for_this_etcd_is_refused,
        faults::the_leader_is_killed,
        faults::the_leader_is_paused,
        faults::all_members_start_again,
        faults::history_is_compacted,
        faults::a_member_without_a_leader_is_left,
        faults::a_session_outlives_the_leader,
        faults::a_session_without_a_cluster_ends,
        faults::nobody_is_there,
        model::random_transactions_under_faults,
        access::a_password_is_asked_for,
        access::certificates_are_asked_for,
    ];
    if testing::program().is_none() {
        eprintln!(
            "etcd is not installed: {} tests are IGNORED. Install the package etcd-server, or name the program \
             in HOLDFAST_ETCD.",
            tests.len()
        );
    }
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn test<F: Future<Output = ()>>(name: &str, run: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(run());
        Ok(())
    })
    .with_ignored_flag(testing::program().is_none())
}
