//! Tests of the journal over the simulated disk, against a plain model of what it must hold.

mod crashes;
mod damage;
mod golden;
mod histories;
mod model;
mod rules;
