//! Objects that somebody in this process still needs, whatever the manifests say.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::{Manifest, ObjectPath};

/// What is pinned. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Pins(Arc<Mutex<HashMap<ObjectPath, usize>>>);

/// Keeps objects from being collected until it is dropped.
#[derive(Debug)]
#[must_use = "the objects are unpinned when this is dropped"]
pub struct Pin {
    pins: Pins,
    paths: Vec<ObjectPath>,
}

impl Pins {
    /// Pins every object that a manifest names. The manifest must be retained right now: what is being
    /// deleted already cannot be pinned.
    pub fn manifest(&self, manifest: &Manifest) -> Pin {
        self.objects(manifest.paths().cloned().collect())
    }

    /// Pins objects, for example those that a job has written and not committed yet.
    pub fn objects(&self, paths: Vec<ObjectPath>) -> Pin {
        let mut pinned = self.0.lock();
        for path in &paths {
            *pinned.entry(path.clone()).or_default() += 1;
        }
        Pin {
            pins: self.clone(),
            paths,
        }
    }

    /// What is pinned now.
    #[must_use]
    pub fn all(&self) -> Vec<ObjectPath> {
        self.0.lock().keys().cloned().collect()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pins.0.lock();
        for path in &self.paths {
            if let Some(count) = pinned.get_mut(path) {
                *count -= 1;
                if *count == 0 {
                    pinned.remove(path);
                }
            }
        }
    }
}
