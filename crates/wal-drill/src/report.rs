//! What came of a run, for people and for programs.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    faults::Plan,
    history::{Counts, Violation, Violations},
    nemesis::{Effect, Kind},
};

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The plan.
    pub plan: Plan,
    /// How long it took.
    pub took: Duration,
    /// Faults by kind.
    pub effects: BTreeMap<Kind, Effect>,
    /// Faults that were left out because too few copies were there.
    pub left_out: u64,
    /// Appends of all logs.
    pub counts: Counts,
    /// Records that readers have seen.
    pub records: usize,
    /// Times that logs were opened.
    pub opens: u64,
    /// What must not be.
    pub violations: Violations,
    /// What was answered, and not expected.
    pub troubles: Vec<String>,
    /// What `holdfast ctl wal verify` found at the end.
    pub verify: Value,
}

impl Report {
    /// Of what the faults did; what the logs say is still to come.
    #[must_use]
    pub fn new(
        plan: Plan,
        effects: BTreeMap<Kind, Effect>,
        left_out: u64,
        violations: Violations,
    ) -> Self {
        Self {
            plan,
            took: Duration::ZERO,
            effects,
            left_out,
            counts: Counts::default(),
            records: 0,
            opens: 0,
            violations,
            troubles: Vec::new(),
            verify: Value::Null,
        }
    }

    /// Whether nothing happened that must not.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.counts.is_empty()
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut faults = Map::new();
        for (kind, effect) in &self.effects {
            let value = json!({
                "count": effect.count, "gap_ms_max": effect.gap_max.as_millis() as u64,
                "gap_ms_mean": effect.gap_mean_ms(),
                "recovery_ms_max": effect.recovery_max.as_millis() as u64,
            });
            faults.insert(kind.to_string(), value);
        }
        let mut report = json!({
            "seed": self.plan.seed, "nodes": self.plan.nodes, "logs": self.plan.logs,
            "namespaces": self.plan.namespaces, "small_disk": self.plan.small_disk,
            "seconds": self.took.as_secs(), "faults": faults, "faults_left_out": self.left_out,
            "appends": {
                "acked": self.counts.acked, "unknown": self.counts.unknown,
                "rejected": self.counts.rejected,
            },
            "records": self.records, "opens": self.opens,
            "violations": self.violations.texts, "troubles": self.troubles, "verify": self.verify,
        });
        for violation in Violation::ALL {
            report[violation.to_string()] = self.violations.count(violation).into();
        }
        report
    }

    /// As a table.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut table = format!(
            "{:<20} {:>6} {:>14} {:>14} {:>16}\n",
            "fault", "times", "gap max ms", "gap mean ms", "recovery max ms"
        );
        let mut line = |text: String| writeln!(table, "{text}").expect("a string has room");
        for (kind, effect) in &self.effects {
            line(format!(
                "{:<20} {:>6} {:>14} {:>14} {:>16}",
                kind.to_string(),
                effect.count,
                effect.gap_max.as_millis(),
                effect.gap_mean_ms(),
                effect.recovery_max.as_millis(),
            ));
        }
        let Counts {
            acked,
            rejected,
            unknown,
        } = self.counts;
        line(format!(
            "appends: {acked} acknowledged, {unknown} unknown, {rejected} rejected; {} records read; {} openings; {} faults left out",
            self.records, self.opens, self.left_out
        ));
        let counts = Violation::ALL.map(|v| format!("{v} = {}", self.violations.count(v)));
        line(counts.join("; "));
        for text in &self.violations.texts {
            line(format!("  {text}"));
        }
        table
    }
}

impl Effect {
    fn gap_mean_ms(&self) -> u64 {
        self.gap_sum.as_millis() as u64 / self.count.max(1)
    }
}
