//! `and`, `or` and `not` without needless pieces.
//!
//! Every rewriting keeps three-valued truth: `false and unknown` is false, `true or unknown` is true.

use crate::predicate::Predicate;

pub(super) fn and(parts: Vec<Predicate>) -> Predicate {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Predicate::Const(true) => {}
            Predicate::Const(false) => return Predicate::Const(false),
            Predicate::And(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    match flat.len() {
        0 => Predicate::Const(true),
        1 => flat.remove(0),
        _ => Predicate::And(flat),
    }
}

pub(super) fn or(parts: Vec<Predicate>) -> Predicate {
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Predicate::Const(false) => {}
            Predicate::Const(true) => return Predicate::Const(true),
            Predicate::Or(inner) => flat.extend(inner),
            other => flat.push(other),
        }
    }
    match flat.len() {
        0 => Predicate::Const(false),
        1 => flat.remove(0),
        _ => Predicate::Or(flat),
    }
}

pub(super) fn not(part: Predicate) -> Predicate {
    match part {
        Predicate::Const(truth) => Predicate::Const(!truth),
        Predicate::Not(inner) => *inner,
        other => Predicate::Not(Box::new(other)),
    }
}
