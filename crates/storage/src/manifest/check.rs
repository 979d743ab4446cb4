//! What every manifest must satisfy: checked before one is written and after one is read.

use std::collections::HashSet;

use crate::{
    DeleteLogEntry, FileEntry, IndexEntry, Manifest, ObjectPath, SegmentEntry, paths::ObjectName,
};

impl Manifest {
    /// Whether the manifest agrees with itself and names nothing but objects of its own collection.
    ///
    /// # Errors
    /// A sentence that says what is wrong and where.
    pub fn check(&self) -> Result<(), String> {
        let before = match &self.previous {
            Some(previous) => {
                self.own(&previous.object.path)?;
                let name = previous.object.path.name();
                if !matches!(name, ObjectName::Manifest { version, .. } if version == previous.version)
                {
                    return Err(format!(
                        "previous: {} is not a manifest of version {}",
                        previous.object.path, previous.version
                    ));
                }
                previous.version.0
            }
            None => 0,
        };
        if before.checked_add(1) != Some(self.version.0) {
            return Err(format!("version {} follows {before}", self.version));
        }
        let mut ids = HashSet::new();
        for segment in &self.segments {
            if !ids.insert(segment.id) {
                return Err(format!("segment {} is named twice", segment.id));
            }
            self.check_segment(segment)
                .map_err(|problem| format!("segment {}: {problem}", segment.id))?;
        }
        self.check_delete_logs()
    }

    fn check_segment(&self, segment: &SegmentEntry) -> Result<(), String> {
        if segment.rows == 0 || segment.rows > u64::from(u32::MAX) {
            return Err(format!("{} rows are not in 1..=2^32-1", segment.rows));
        }
        if segment.deleted_rows > segment.rows {
            return Err(format!(
                "{} of {} rows are deleted",
                segment.deleted_rows, segment.rows
            ));
        }
        if segment.min_ts > segment.max_ts {
            return Err(format!(
                "its stamps go from {} down to {}",
                segment.min_ts, segment.max_ts
            ));
        }
        let one_kind =
            std::mem::discriminant(&segment.pk_min) == std::mem::discriminant(&segment.pk_max);
        if !one_kind || segment.pk_min > segment.pk_max {
            return Err("its smallest key is not at or before its largest".to_owned());
        }
        let mut roles = HashSet::new();
        for FileEntry {
            role: wanted,
            object,
        } in &segment.files
        {
            self.own(&object.path)?;
            if !roles.insert(wanted) {
                return Err(format!("file {wanted:?} is named twice"));
            }
            match object.path.name() {
                ObjectName::SegmentFile {
                    segment: id, role, ..
                } if id == segment.id && role == *wanted => {}
                _ => return Err(format!("{} is not its file {wanted:?}", object.path)),
            }
        }
        let mut builds = HashSet::new();
        for entry in &segment.indexes {
            let IndexEntry {
                index: wanted,
                build: by,
                object,
                field: _,
                kind: _,
            } = entry;
            self.own(&object.path)?;
            if !builds.insert((wanted, by)) {
                return Err(format!("build {by} of index {wanted} is named twice"));
            }
            match object.path.name() {
                ObjectName::Index {
                    segment: id,
                    index,
                    build,
                    ..
                } if id == segment.id && index == *wanted && build == *by => {}
                _ => return Err(format!("{} is not its index {wanted}", object.path)),
            }
        }
        Ok(())
    }

    fn check_delete_logs(&self) -> Result<(), String> {
        let mut covered = None;
        for entry in &self.delete_logs {
            let DeleteLogEntry {
                object,
                first_lsn,
                last_lsn,
                min_ts,
                max_ts,
                count,
            } = entry;
            let at = &object.path;
            self.own(at)?;
            match at.name() {
                ObjectName::DeleteLog { first, last, .. }
                    if first == *first_lsn && last == *last_lsn => {}
                _ => return Err(format!("{at} is not the delete log {first_lsn}-{last_lsn}")),
            }
            if first_lsn > last_lsn || covered.is_some_and(|c| c >= *first_lsn) {
                return Err(format!("delete log {at} is out of order"));
            }
            if *last_lsn > self.covers_lsn {
                return Err(format!("delete log {at} is past {}", self.covers_lsn));
            }
            if min_ts > max_ts || *count == 0 {
                return Err(format!(
                    "delete log {at} is empty, or its stamps are reversed"
                ));
            }
            covered = Some(*last_lsn);
        }
        Ok(())
    }

    /// Refuses an object of another collection.
    fn own(&self, path: &ObjectPath) -> Result<(), String> {
        if path.name().collection() == self.shard.collection {
            return Ok(());
        }
        Err(format!(
            "{path} does not belong to collection {}",
            self.shard.collection
        ))
    }
}
