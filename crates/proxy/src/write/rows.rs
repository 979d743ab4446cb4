//! The columns of a request, and whole rows of them.

use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch};
use holdfast_proto::{field_data, milvus::schema::FieldData};
use holdfast_types::{
    CollectionSchema, Failure, FieldId, FieldSchema, PkList, Value, columns,
    limits::MAX_MESSAGE_BYTES, schema::DYNAMIC_FIELD,
};

/// Most bytes of the rows of one write. Fields without values cost a request next to nothing, but have
/// room in each row, so the size of the message bounds nothing.
pub(crate) const ROWS_BYTES_MAX: usize = 4 * MAX_MESSAGE_BYTES;

/// The columns that a request gives, each of as many rows.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// Number of rows, at least 1.
    pub(crate) rows: usize,
    columns: HashMap<FieldId, ArrayRef>,
    bytes: usize,
}

impl Given {
    /// Converts and checks what a request gives. Rows without a value of a field get its default, or null.
    pub(crate) fn read(
        data: &[FieldData],
        schema: &CollectionSchema,
        rows: u32,
    ) -> Result<Self, Failure> {
        if rows == 0 {
            return Err(Failure::invalid("num_rows: it must be at least 1"));
        }
        if data.is_empty() {
            return Err(Failure::invalid("fields_data: it must not be empty"));
        }
        let rows = usize::try_from(rows).map_err(|_| too_many(0))?;
        let mut given = Self {
            rows,
            columns: HashMap::new(),
            bytes: 0,
        };
        for data in data {
            let field = field_of(data, schema)?;
            if given.columns.contains_key(&field.id) {
                return Err(Failure::invalid(format!(
                    "field {}: duplicated field data",
                    field.name
                )));
            }
            let column = if field.is_dynamic {
                field_data::dynamic_to_column(data, schema, rows)?
            } else {
                field_data::to_column(data, field, rows)?
            };
            given.add(field.id, column)?;
        }
        Ok(given)
    }

    fn add(&mut self, field: FieldId, column: ArrayRef) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(column.get_array_memory_size());
        self.columns.insert(field, column);
        if self.bytes > ROWS_BYTES_MAX {
            Err(too_many(self.rows))
        } else {
            Ok(())
        }
    }

    /// The column of a field, if the request gives it.
    pub(crate) fn column(&self, field: FieldId) -> Option<&ArrayRef> {
        self.columns.get(&field)
    }

    /// The same rows with these keys.
    pub(crate) fn with_keys(mut self, schema: &CollectionSchema, keys: &PkList) -> Self {
        self.columns.insert(schema.primary().id, keys.to_array());
        self
    }

    /// The keys of the rows.
    pub(crate) fn keys(&self, schema: &CollectionSchema) -> Result<PkList, Failure> {
        let primary = schema.primary();
        let column = self.column(primary.id).ok_or_else(|| {
            Failure::invalid(format!(
                "field {}: the primary key is required, but the request has no data for it",
                primary.name
            ))
        })?;
        keys_of(column, primary)
    }

    /// Whole rows: fields that are left out get their default, or null.
    pub(crate) fn into_batch(mut self, schema: &CollectionSchema) -> Result<RecordBatch, Failure> {
        for field in &schema.fields {
            if self.columns.contains_key(&field.id) {
                continue;
            }
            if self
                .rows
                .saturating_mul(fill_bytes(field))
                .saturating_add(self.bytes)
                > ROWS_BYTES_MAX
            {
                return Err(too_many(self.rows));
            }
            let column = field_data::absent_column(field, self.rows)?;
            self.add(field.id, column)?;
        }
        batch(schema, |field| Ok(self.columns[&field.id].clone()))
    }
}

/// Whole rows from a column of each field.
pub(crate) fn batch(
    schema: &CollectionSchema,
    column: impl FnMut(&FieldSchema) -> Result<ArrayRef, Failure>,
) -> Result<RecordBatch, Failure> {
    let all = schema
        .fields
        .iter()
        .map(column)
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(columns::row_schema(schema), all)
        .map_err(|e| Failure::internal(format!("checked columns don't make rows: {e}")))
}

/// The keys in a column of the primary key.
pub(crate) fn keys_of(column: &ArrayRef, primary: &FieldSchema) -> Result<PkList, Failure> {
    PkList::from_array(column).ok_or_else(|| {
        Failure::invalid(format!(
            "field {}: the primary key must not be null",
            primary.name
        ))
    })
}

/// The field that `data` is of.
pub(crate) fn field_of<'a>(
    data: &FieldData,
    schema: &'a CollectionSchema,
) -> Result<&'a FieldSchema, Failure> {
    if data.is_dynamic || data.field_name == DYNAMIC_FIELD {
        return schema.dynamic().ok_or_else(|| {
            Failure::invalid(format!(
                "field {DYNAMIC_FIELD}: the collection has no dynamic field"
            ))
        });
    }
    schema.field(&data.field_name).ok_or_else(|| {
        Failure::invalid(format!(
            "field {} not exist: the collection has no field of this name",
            data.field_name
        ))
    })
}

/// Bytes that a row without a value of the field takes, about.
fn fill_bytes(field: &FieldSchema) -> usize {
    /// An offset, or the widest number.
    const FIXED: usize = 8;
    let vector = field.dim.and_then(|dim| field.data_type.vector_bytes(dim));
    match &field.default {
        Some(Value::Str(text)) => FIXED + text.len(),
        _ => vector.unwrap_or(FIXED),
    }
}

fn too_many(rows: usize) -> Failure {
    Failure::invalid(format!(
        "{rows} rows take more than {ROWS_BYTES_MAX} bytes at once, send fewer rows"
    ))
}
