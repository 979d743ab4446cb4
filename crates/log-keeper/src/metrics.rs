//! Names of what is counted.

pub(crate) const UNDER_REPLICATED: &str = "holdfast_log_keeper_under_replicated_segments";
pub(crate) const UNREADABLE: &str = "holdfast_log_keeper_unreadable_segments";
pub(crate) const STORE_DOWN: &str = "holdfast_log_keeper_object_storage_down";
pub(crate) const UPLOADED: &str = "holdfast_log_keeper_uploaded_segments";
pub(crate) const COPIED: &str = "holdfast_log_keeper_copied_segments";
pub(crate) const DROPPED: &str = "holdfast_log_keeper_dropped_segments";
pub(crate) const OBJECTS_DELETED: &str = "holdfast_log_keeper_deleted_objects";
pub(crate) const SCRUBBED: &str = "holdfast_log_keeper_scrubbed_bytes";
pub(crate) const DAMAGED: &str = "holdfast_log_keeper_damaged_places";
pub(crate) const MENDED: &str = "holdfast_log_keeper_mended_entries";
