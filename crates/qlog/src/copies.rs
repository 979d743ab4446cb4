//! Who holds the copies of a segment, and which of them together are enough.

use std::{fmt, sync::Arc};

/// A failure domain: what is lost together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(pub Arc<str>);

/// One disk's identity: made with the disk, never reused. A wiped or exchanged disk gets another one, so that its
/// emptiness is never taken for an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageId(pub [u8; 16]);

impl fmt::Display for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A log-node as a segment's descriptor names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyHolder {
    /// The node's name, by which its address is found.
    pub node: Arc<str>,
    /// The disk that was promised.
    pub storage: StorageId,
    /// Where it stands.
    pub zone: Zone,
}

/// The holders of a segment's copies; fixed for the segment's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Three, in the order in which messages name them by index.
    pub holders: Vec<CopyHolder>,
    /// Durable copies before an acknowledgement.
    pub quorum: usize,
    /// Zones those copies must lie in.
    pub zones: usize,
}

impl Copies {
    /// Whether the holders at these indexes are enough for an acknowledgement, a repair or a seal.
    #[must_use]
    pub fn suffice(&self, indexes: impl IntoIterator<Item = usize>) -> bool {
        let mut which: Vec<usize> = indexes
            .into_iter()
            .filter(|&i| i < self.holders.len())
            .collect();
        which.sort_unstable();
        which.dedup();
        let mut zones: Vec<&Zone> = which.iter().map(|&i| &self.holders[i].zone).collect();
        zones.sort_unstable();
        zones.dedup();
        which.len() >= self.quorum && zones.len() >= self.zones
    }

    /// Whether the loss of any one holder leaves enough for an acknowledgement.
    #[must_use]
    pub fn outlive_any_one(&self) -> bool {
        let all = 0..self.holders.len();
        let without = |lost: usize| all.clone().filter(move |&i| i != lost);
        all.clone().all(|lost| self.suffice(without(lost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_copies_in_one_zone_are_not_enough() {
        let holder = |n: u8, zone: &str| CopyHolder {
            node: format!("n{n}").into(),
            storage: StorageId([n; 16]),
            zone: Zone(zone.into()),
        };
        let copies = Copies {
            holders: vec![holder(0, "a"), holder(1, "a"), holder(2, "b")],
            quorum: 2,
            zones: 2,
        };
        assert!(!copies.suffice([0, 1]));
        assert!(copies.suffice([0, 2]));
        assert!(copies.suffice([0, 1, 2]));
        assert!(!copies.suffice([2, 2]), "one holder counts once");
        assert!(!copies.suffice([2, 9]), "nobody is at 9");
    }
}
