//! Columns of a batch by field, with what a field added later reads as in older rows.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, RecordBatch, StringArray, new_null_array,
};
use holdfast_types::{CollectionSchema, DataType, FieldId, FieldSchema, Value, columns};

use parking_lot::RwLock;

use crate::SegmentError;

/// The schema that a segment answers reads by: the youngest that it was shown. Fields are only added and dropped, and no
/// id is used twice, so a younger one serves older reads as well.
#[derive(Debug)]
pub(crate) struct ReadSchema(RwLock<Arc<CollectionSchema>>);

impl ReadSchema {
    pub(crate) fn new(schema: Arc<CollectionSchema>) -> Self {
        Self(RwLock::new(schema))
    }

    pub(crate) fn get(&self) -> Arc<CollectionSchema> {
        self.0.read().clone()
    }

    pub(crate) fn show(&self, schema: &Arc<CollectionSchema>) {
        if self.0.read().version >= schema.version {
            return;
        }
        let mut youngest = self.0.write();
        if youngest.version < schema.version {
            *youngest = Arc::clone(schema);
        }
    }
}

/// The column of a field. Rows written before the field existed have its default, or null.
pub(crate) fn column(
    batch: &RecordBatch,
    schema: &CollectionSchema,
    id: FieldId,
) -> Result<ArrayRef, SegmentError> {
    if let Some(column) = columns::column(batch, id) {
        return Ok(column.clone());
    }
    let field = schema
        .field_by_id(id)
        .ok_or(SegmentError::UnknownField(id))?;
    Ok(absent(field, batch.num_rows()))
}

/// `rows` rows of a field that was added after they were written.
pub(crate) fn absent(field: &FieldSchema, rows: usize) -> ArrayRef {
    let column: Option<ArrayRef> = match (field.data_type, &field.default) {
        (DataType::Bool, Some(Value::Bool(b))) => {
            Some(Arc::new(BooleanArray::from(vec![*b; rows])))
        }
        (DataType::Int8, Some(Value::Int(i))) => i8::try_from(*i)
            .ok()
            .map(|i| Arc::new(Int8Array::from(vec![i; rows])) as ArrayRef),
        (DataType::Int16, Some(Value::Int(i))) => i16::try_from(*i)
            .ok()
            .map(|i| Arc::new(Int16Array::from(vec![i; rows])) as ArrayRef),
        (DataType::Int32, Some(Value::Int(i))) => i32::try_from(*i)
            .ok()
            .map(|i| Arc::new(Int32Array::from(vec![i; rows])) as ArrayRef),
        (DataType::Int64, Some(Value::Int(i))) => Some(Arc::new(Int64Array::from(vec![*i; rows]))),
        (DataType::Float, Some(Value::Float(x))) => {
            Some(Arc::new(Float32Array::from(vec![*x as f32; rows])))
        }
        (DataType::Float, Some(Value::Int(i))) => {
            Some(Arc::new(Float32Array::from(vec![*i as f32; rows])))
        }
        (DataType::Double, Some(Value::Float(x))) => {
            Some(Arc::new(Float64Array::from(vec![*x; rows])))
        }
        (DataType::Double, Some(Value::Int(i))) => {
            Some(Arc::new(Float64Array::from(vec![*i as f64; rows])))
        }
        (DataType::VarChar | DataType::Json, Some(Value::Str(s))) => Some(Arc::new(
            StringArray::from_iter_values(std::iter::repeat_n(s, rows)),
        )),
        _ => None,
    };
    column.unwrap_or_else(|| {
        let nullable = FieldSchema {
            nullable: true,
            ..field.clone()
        };
        new_null_array(&columns::arrow_type(&nullable), rows)
    })
}

/// The column as its concrete array type.
pub(crate) fn downcast<T: 'static>(column: &dyn Array) -> Result<&T, SegmentError> {
    column.as_any().downcast_ref::<T>().ok_or_else(|| {
        SegmentError::Internal(format!(
            "a column is {}, not what its field says",
            column.data_type()
        ))
    })
}
