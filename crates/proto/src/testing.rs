//! Fields for tests.

use holdfast_types::{DataType, FieldId, FieldSchema};

/// A field named `f` of the type: 4 dimensions (16 bits), arrays of at most 3 `Int64`, text of at most 8
/// bytes.
pub(crate) fn field(data_type: DataType) -> FieldSchema {
    FieldSchema {
        id: FieldId(100),
        name: "f".to_owned(),
        description: String::new(),
        data_type,
        element_type: (data_type == DataType::Array).then_some(DataType::Int64),
        dim: match data_type {
            DataType::BinaryVector => Some(16),
            t if t.is_dense_vector() => Some(4),
            _ => None,
        },
        max_length: (data_type == DataType::VarChar).then_some(8),
        max_capacity: (data_type == DataType::Array).then_some(3),
        is_primary: false,
        auto_id: false,
        is_partition_key: false,
        is_clustering_key: false,
        nullable: false,
        default: None,
        is_dynamic: false,
        type_params: Vec::new(),
    }
}

/// [`field`] as an array of elements of this type.
pub(crate) fn array_of(element: DataType) -> FieldSchema {
    FieldSchema {
        element_type: Some(element),
        max_length: (element == DataType::VarChar).then_some(8),
        ..field(DataType::Array)
    }
}

/// The same field, whose rows may be null.
pub(crate) fn nullable(field: FieldSchema) -> FieldSchema {
    FieldSchema {
        nullable: true,
        ..field
    }
}
