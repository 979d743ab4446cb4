//! What clients send.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

use holdfast_meta::{Catalog, DEFAULT_DATABASE, MemoryStore, NewCollection};
use holdfast_proto::{
    field_data,
    pb::{
        common::{PlaceholderGroup, PlaceholderType, PlaceholderValue},
        schema::{FieldData, TemplateValue},
    },
    placeholder as placeholders, schema as schemas, template,
};
use holdfast_types::{ChannelId, DataType, FieldSchema, Timestamp};
use prost::Message;

use crate::{edits, sample, stored};

static FIELDS: LazyLock<Vec<FieldSchema>> = LazyLock::new(|| {
    let types = [
        DataType::Bool,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float,
        DataType::Double,
        DataType::VarChar,
        DataType::Json,
        DataType::Array,
        DataType::FloatVector,
        DataType::Float16Vector,
        DataType::BFloat16Vector,
        DataType::Int8Vector,
        DataType::BinaryVector,
        DataType::SparseFloatVector,
    ];
    let plain = types.map(|t| sample::field(101, "f", t));
    let optional = types.map(|t| sample::nullable(sample::field(101, "f", t)));
    plain
        .into_iter()
        .chain(optional)
        .chain([sample::texts(101, "f")])
        .collect()
});

/// A column of a write. What was accepted has the type and length that it should, and can be sent back.
pub fn field_data(input: &[u8]) {
    let [which, rows, message @ ..] = input else {
        return;
    };
    let field = &FIELDS[usize::from(*which) % FIELDS.len()];
    let Ok(data) = FieldData::decode(message) else {
        return;
    };
    let rows = usize::from(*rows);
    if let Ok(column) = field_data::to_column(&data, field, rows) {
        assert_eq!(column.len(), rows);
        assert_eq!(
            *column.data_type(),
            holdfast_types::columns::arrow_type(field)
        );
        assert!(field.nullable || column.null_count() == 0);
        let sent = field_data::from_column(&column, field).expect("what was taken can be given");
        let again = field_data::to_column(&sent, field, rows).expect("what was given can be taken");
        assert_eq!(again.len(), column.len());
    }
    drop(field_data::dynamic_to_column(
        &data,
        &sample::every_type(),
        rows,
    ));
}

static GROUP: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let value = PlaceholderValue {
        tag: "$0".to_owned(),
        r#type: PlaceholderType::FloatVector.into(),
        values: vec![vec![0; 4 * sample::DIM].into(); 2],
        element_level: false,
    };
    PlaceholderGroup {
        placeholders: vec![value],
    }
    .encode_to_vec()
});

/// Query vectors. What was accepted fits the field.
pub fn placeholder(input: &[u8]) {
    let Some((&which, input)) = input.split_first() else {
        return;
    };
    let field = &FIELDS[usize::from(which) % FIELDS.len()];
    let bytes = edits::file(&GROUP, input, |_| {});
    if let Ok(queries) = placeholders::decode(&bytes, field) {
        for query in queries {
            assert_eq!(query.data_type(), field.data_type);
            if let Some(dim) = field.dim {
                assert_eq!(query.dim(), dim as usize);
            }
        }
    }
}

/// The schema of a collection to be made. What was accepted is shown as it was given, can be stored, and
/// is read back at the next start.
pub fn schema(input: &[u8]) {
    let Ok(schema) = schemas::decode(input).and_then(|wire| schemas::to_domain(&wire)) else {
        return;
    };
    let shown = schemas::to_wire(&schema, "books");
    let again = schemas::to_domain(&shown).expect("what was taken can be given");
    assert_eq!(again, schema);
    stored::block_on(async {
        let store = Arc::new(MemoryStore::new());
        let catalog = Catalog::open(store.clone(), Timestamp(1))
            .await
            .expect("a new catalog");
        let new = NewCollection {
            name: "books".to_owned(),
            schema: Arc::new(schema),
            shards: vec![ChannelId(0)],
            consistency: 2,
            properties: BTreeMap::new(),
            num_partitions: 0,
            partitions: vec!["_default".to_owned()],
        };
        let created = catalog
            .create_collection(DEFAULT_DATABASE, &new, Timestamp(2))
            .await;
        let reopened = Catalog::open(store, Timestamp(3))
            .await
            .expect("what was stored can be read");
        assert_eq!(
            reopened.snapshot().collections().count(),
            usize::from(created.is_ok())
        );
    });
}

/// A filter and a value for its place `{x}`: the length of the filter (2 bytes, little-endian), the
/// filter, the value's message.
pub fn template(input: &[u8]) {
    let Some((length, rest)) = input.split_first_chunk::<2>() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (text, message) = rest.split_at(length);
    let (Ok(text), Ok(value)) = (std::str::from_utf8(text), TemplateValue::decode(message)) else {
        return;
    };
    if let Ok(values) = template::to_domain(HashMap::from([("x".to_owned(), value)])) {
        drop(holdfast_expr::parse(text, &sample::every_type(), &values));
    }
}
