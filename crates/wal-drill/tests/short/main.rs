//! A short run with every fault that this machine allows. Counted as ignored where etcd or the built server is missing.

use std::{process::ExitCode, time::Duration};

use holdfast_meta_etcd::testing;
use holdfast_wal_drill::{
    cluster,
    faults::{self, Plan},
    network,
};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let ready = testing::program().is_some() && cluster::program().is_ok();
    if !ready {
        eprintln!(
            "etcd or the holdfast binary is missing: the drill is IGNORED. Install the package etcd-server, and build \
             holdfast or name it in HOLDFAST_BIN."
        );
    }
    let drill = Trial::test("nothing_is_lost_under_faults", drill).with_ignored_flag(!ready);
    libtest_mimic::run(&arguments, vec![drill]).exit_code()
}

fn drill() -> Result<(), Failed> {
    let root = network::available();
    let plan = Plan {
        time: Duration::from_secs(45),
        seed: 1,
        nodes: 4,
        logs: 2,
        every: Duration::from_millis(50),
        namespaces: root,
        small_disk: root,
        dir: None,
        keep: false,
        only: Vec::new(),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(faults::run(&plan));
    let report = report.map_err(|e| format!("{e:#}"))?;
    eprint!("{}", report.to_table());
    match report.is_clean() && report.counts.acked > 0 {
        true => Ok(()),
        false => Err(format!("{:#}", report.to_json()).into()),
    }
}
