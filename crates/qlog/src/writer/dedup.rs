//! Which requests are in the log already: a function of the log, so that every writer has the same answer.

use std::collections::{BTreeMap, VecDeque};

use holdfast_types::{Lsn, Timestamp};

use crate::{
    entry::{Entry, RequestId},
    rules::{Rule, kept},
};

/// The last requests of a log and where they are. Whoever follows the log takes in each committed entry, in order; the
/// next writer begins with the window of what it has followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupWindow {
    requests_max: usize,
    at: BTreeMap<RequestId, (Lsn, Timestamp)>,
    order: VecDeque<RequestId>,
}

impl DedupWindow {
    /// An empty window that remembers so many requests.
    #[must_use]
    pub fn new(requests_max: usize) -> Self {
        Self {
            requests_max,
            at: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes in the next committed entry.
    pub fn apply(&mut self, entry: &Entry) {
        if let Some(request) = entry.request {
            self.remember(request, entry.lsn, entry.tick);
        }
    }

    /// Takes in the next committed request.
    pub fn remember(&mut self, request: RequestId, lsn: Lsn, tick: Timestamp) {
        if self.at.insert(request, (lsn, tick)).is_none() {
            self.order.push_back(request);
        }
        while self.order.len() > self.requests_max {
            if let Some(oldest) = self.order.pop_front() {
                self.at.remove(&oldest);
            }
        }
    }

    /// Where a request is, if it is remembered.
    #[must_use]
    pub fn find(&self, request: RequestId) -> Option<(Lsn, Timestamp)> {
        if !kept(Rule::Dedup) {
            return None;
        }
        self.at.get(&request).copied()
    }

    /// How many requests are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
