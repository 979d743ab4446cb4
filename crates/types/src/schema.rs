//! Collections and their fields.

use crate::{DataType, FieldId, Value};

/// Name of the hidden JSON field that holds undeclared keys.
pub const DYNAMIC_FIELD: &str = "$meta";
/// Id of the first user field.
pub const FIRST_USER_FIELD: FieldId = FieldId(100);
/// Id of the row stamp column of a segment.
pub const TIMESTAMP_FIELD: FieldId = FieldId(1);
/// Name of the row stamp column of a segment.
pub const TIMESTAMP_COLUMN: &str = "$ts";

/// A field of a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSchema {
    /// Unique within the collection, never reused.
    pub id: FieldId,
    /// Unique within the collection.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Type of the field.
    pub data_type: DataType,
    /// Type of the elements: present iff `data_type` is `Array`.
    pub element_type: Option<DataType>,
    /// Dimensions: present iff `data_type` is a dense vector.
    pub dim: Option<u32>,
    /// Longest text in bytes: present iff the field, or its element, is `VarChar`.
    pub max_length: Option<u32>,
    /// Most elements of an array: present iff `data_type` is `Array`.
    pub max_capacity: Option<u32>,
    /// Whether this is the primary key.
    pub is_primary: bool,
    /// Whether the server makes the primary key.
    pub auto_id: bool,
    /// Whether rows are placed in partitions by the hash of this field.
    pub is_partition_key: bool,
    /// Kept and shown; Holdfast does not cluster by it.
    pub is_clustering_key: bool,
    /// Whether a row may have no value.
    pub nullable: bool,
    /// The value of rows that give none.
    pub default: Option<Value>,
    /// Whether this is [`DYNAMIC_FIELD`].
    pub is_dynamic: bool,
    /// The type parameters as the client gave them, to be shown again.
    pub type_params: Vec<(String, String)>,
}

/// What the rows of a collection look like.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionSchema {
    /// Free text.
    pub description: String,
    /// All fields in declaration order, the dynamic field (if any) last.
    pub fields: Vec<FieldSchema>,
    /// Whether rows may hold undeclared keys.
    pub enable_dynamic_field: bool,
    /// Rises with every change of the fields.
    pub version: i32,
}

impl CollectionSchema {
    /// The field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&FieldSchema> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The field of this id.
    #[must_use]
    pub fn field_by_id(&self, id: FieldId) -> Option<&FieldSchema> {
        self.fields.iter().find(|f| f.id == id)
    }

    /// The primary key.
    ///
    /// # Panics
    /// If there is none: a schema is checked when a collection is created.
    #[must_use]
    pub fn primary(&self) -> &FieldSchema {
        self.fields
            .iter()
            .find(|f| f.is_primary)
            .expect("a checked schema has a primary key")
    }

    /// The partition key, if the collection has one.
    #[must_use]
    pub fn partition_key(&self) -> Option<&FieldSchema> {
        self.fields.iter().find(|f| f.is_partition_key)
    }

    /// The dynamic field, if the collection has one.
    #[must_use]
    pub fn dynamic(&self) -> Option<&FieldSchema> {
        self.fields.iter().find(|f| f.is_dynamic)
    }

    /// The vector fields in declaration order.
    pub fn vectors(&self) -> impl Iterator<Item = &FieldSchema> {
        self.fields.iter().filter(|f| f.data_type.is_vector())
    }
}
