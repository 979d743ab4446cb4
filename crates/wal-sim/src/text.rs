//! Messages as short lines of a trace.

use std::fmt::Write;

use holdfast_qlog::{
    messages::{Answer, Ask},
    meta::MetaTxn,
};

pub(crate) fn describe(txn: &MetaTxn) -> String {
    let mut text = String::new();
    for (key, _) in &txn.puts {
        write!(text, "{key} ").expect("a String takes everything");
    }
    text
}

pub(crate) fn brief(ask: &Ask) -> String {
    match ask {
        Ask::Append(a) => format!(
            "append log {} seg {} epoch {} committed {} entries {:?} open {}",
            a.log,
            a.segment,
            a.epoch,
            a.committed,
            a.entries.iter().map(|e| e.lsn.0).collect::<Vec<_>>(),
            a.open.is_some()
        ),
        Ask::Repair(r) => format!(
            "repair log {} seg {} epoch {} entries {:?}",
            r.log,
            r.segment,
            r.epoch,
            r.entries.iter().map(|e| e.lsn.0).collect::<Vec<_>>()
        ),
        other => format!("{other:?}"),
    }
}

pub(crate) fn brief_answer(answer: &Answer) -> String {
    match answer {
        Answer::Entries(e) => format!(
            "entries log {} seg {} {:?} committed {} end {:?}",
            e.log,
            e.segment,
            e.entries.iter().map(|e| e.lsn.0).collect::<Vec<_>>(),
            e.committed,
            e.end
        ),
        other => format!("{other:?}"),
    }
}
