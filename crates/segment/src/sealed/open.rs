//! Verifying the files of a segment and fitting them together.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_schema::DataType as Arrow;
use holdfast_types::{
    CollectionSchema, DataType, FieldId, FieldSchema, FileRole, PartitionId, SegmentId, Timestamp,
    columns,
};
use parking_lot::RwLock;

use super::{Core, OpenIndex, Overlay, ScalarPart, SealedSegment};
use crate::{
    DamagedSegment, IndexFile, SegmentFile, SegmentStats,
    fields::ReadSchema,
    file::{self, arrow::ArrowFile, blocks::damaged, keys::Keys},
    table,
    vectors::VectorColumn,
    write::{BATCH_ROWS, ROW_COLUMN},
};

impl SealedSegment {
    /// Opens a segment from all of its files. Every byte is verified before it is used; columns then
    /// share the memory of the files.
    ///
    /// `schema` may be younger than the files: fields that they lack read as their default, or null.
    ///
    /// # Errors
    /// [`DamagedSegment`] names the file and the offset of what is wrong: damage, truncation, a missing
    /// file, files or indexes that do not belong together.
    pub fn open(
        id: SegmentId,
        partition: PartitionId,
        schema: Arc<CollectionSchema>,
        files: Vec<SegmentFile>,
        indexes: Vec<IndexFile>,
    ) -> Result<Self, DamagedSegment> {
        let bytes = files.iter().map(|f| f.bytes.len() as u64).sum();
        let mut by_role: HashMap<FileRole, SegmentFile> = HashMap::new();
        for file in files {
            if let Some(twin) = by_role.insert(file.role, file) {
                return Err(damaged(&twin.name, 0, "the segment has this file twice"));
            }
        }
        let mut take = |role: FileRole| {
            by_role
                .remove(&role)
                .ok_or_else(|| damaged(&role.to_string(), 0, "the segment lacks this file"))
        };
        let (columns, keys) = (take(FileRole::Columns)?, take(FileRole::Keys)?);
        let deletes = take(FileRole::Deletes)?;
        let parts = open_columns(&schema, &columns)?;
        let rows = parts.last().map_or(0, |p| p.base + p.batch.num_rows());
        let opened_keys = open_keys(&schema, &keys, &columns.name, &parts, rows)?;
        let vectors = schema
            .vectors()
            .map(|field| {
                let column = match by_role.get(&FileRole::Vector(field.id)) {
                    Some(file) => open_vectors(field, file, rows)?,
                    None if field.nullable => VectorColumn::all_null(field, rows)
                        .map_err(|e| damaged(&columns.name, 0, e.to_string()))?,
                    None => {
                        let name = FileRole::Vector(field.id).to_string();
                        return Err(damaged(&name, 0, "the segment lacks this file"));
                    }
                };
                Ok((field.id, column))
            })
            .collect::<Result<Vec<(FieldId, VectorColumn)>, DamagedSegment>>()?;
        let deleted = file::deletes::read(&deletes.name, &deletes.bytes, rows)?;
        let stamps = || parts.iter().flat_map(|part| part.stamps.values().iter());
        let stats = SegmentStats {
            rows: rows as u64,
            bytes,
            min_ts: Timestamp(stamps().min().copied().unwrap_or(0)),
            max_ts: Timestamp(stamps().max().copied().unwrap_or(0)),
            pk_min: opened_keys.get(0),
            pk_max: opened_keys.get(rows - 1),
            deleted_rows: deleted.len() as u64,
        };
        let core = Arc::new(Core {
            id,
            partition,
            reads: ReadSchema::new(schema),
            parts,
            vectors,
            keys: opened_keys,
            stats,
            overlay: RwLock::new(Overlay::new(rows, deleted)),
        });
        let indexes = indexes
            .into_iter()
            .map(|file| OpenIndex::open(&core, file).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self { core, indexes })
    }
}

fn open_columns(
    schema: &CollectionSchema,
    file: &SegmentFile,
) -> Result<Vec<ScalarPart>, DamagedSegment> {
    let ArrowFile { batches, .. } = file::arrow::read(&file.name, &file.bytes)?;
    let bad = |problem: String| damaged(&file.name, 0, problem);
    let mut parts: Vec<ScalarPart> = Vec::with_capacity(batches.len());
    let mut base = 0;
    let batch_rows = batches.first().map_or(0, RecordBatch::num_rows);
    let last = batches.len().saturating_sub(1);
    for (i, batch) in batches.into_iter().enumerate() {
        let rows = batch.num_rows();
        // Bit sets over all rows are cut at batch borders: these must be at whole words.
        let regular = i == last || (rows == batch_rows && rows.is_multiple_of(64));
        if rows == 0 || rows > BATCH_ROWS || rows > batch_rows || !regular {
            return Err(bad(format!("record batch {i} has {rows} rows")));
        }
        for field in schema.fields.iter().filter(|f| !f.data_type.is_vector()) {
            if let Some(column) = columns::column(&batch, field.id) {
                check_column(field, &**column).map_err(bad)?;
            } else if !field.nullable && field.default.is_none() {
                return Err(bad(format!("field {} has no column", field.name)));
            }
        }
        let stamps = table::stamps(&batch)
            .map_err(|e| bad(e.to_string()))?
            .clone();
        if stamps.null_count() > 0 {
            return Err(bad("a row has no stamp".to_owned()));
        }
        parts.push(ScalarPart {
            base,
            batch,
            stamps,
        });
        base += rows;
    }
    if parts.is_empty() {
        return Err(bad("a segment has at least one row".to_owned()));
    }
    Ok(parts)
}

fn check_column(field: &FieldSchema, column: &dyn Array) -> Result<(), String> {
    if *column.data_type() != columns::arrow_type(field) {
        return Err(format!(
            "the column of {} is {}, not {}",
            field.name,
            column.data_type(),
            columns::arrow_type(field)
        ));
    }
    if !field.nullable && column.null_count() > 0 {
        return Err(format!("{} is null in a row", field.name));
    }
    Ok(())
}

fn open_keys(
    schema: &CollectionSchema,
    file: &SegmentFile,
    columns_name: &str,
    parts: &[ScalarPart],
    rows: usize,
) -> Result<Keys, DamagedSegment> {
    let keys = Keys::open(&file.name, &file.bytes)?;
    let primary = schema.primary();
    if keys.is_int() != (primary.data_type == DataType::Int64) || keys.len() != rows {
        return Err(damaged(
            &file.name,
            0,
            format!("{} keys do not fit {rows} rows", keys.len()),
        ));
    }
    for part in parts {
        let column = columns::column(&part.batch, primary.id)
            .ok_or_else(|| damaged(columns_name, 0, "the key has no column"))?;
        for i in 0..part.batch.num_rows() {
            if !keys.is_key_of(part.base + i, &**column, i) {
                return Err(damaged(
                    &file.name,
                    0,
                    format!(
                        "key {} is not that of its row in {columns_name}",
                        part.base + i
                    ),
                ));
            }
        }
    }
    Ok(keys)
}

fn open_vectors(
    field: &FieldSchema,
    file: &SegmentFile,
    rows: usize,
) -> Result<VectorColumn, DamagedSegment> {
    let ArrowFile { schema, batches } = file::arrow::read(&file.name, &file.bytes)?;
    let bad = |problem: String| damaged(&file.name, 0, problem);
    let [batch] = &batches[..] else {
        return Err(bad(format!("{} record batches are not one", batches.len())));
    };
    let column = columns::column(batch, field.id)
        .ok_or_else(|| bad(format!("field {} has no column", field.name)))?;
    let row_column = match schema.column_with_name(ROW_COLUMN) {
        None => None,
        Some((i, f)) if *f.data_type() == Arrow::UInt32 => batch
            .column(i)
            .as_any()
            .downcast_ref::<UInt32Array>()
            .cloned(),
        Some(_) => return Err(bad(format!("{ROW_COLUMN} is not UInt32"))),
    };
    VectorColumn::new(field, column.clone(), row_column, rows).map_err(|e| bad(e.to_string()))
}
