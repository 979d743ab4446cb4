//! Any column survives the way out and in again; any message is answered, never with a panic.

use arrow_array::{
    BinaryArray, FixedSizeBinaryArray, Float64Array, Int16Array, Int32Array,
    builder::{FixedSizeListBuilder, ListBuilder, PrimitiveBuilder, StringBuilder},
    types::{Float16Type, Float32Type, Int8Type, Int64Type},
};
use arrow_schema::Field as ArrowField;
use proptest::{prelude::*, test_runner::RngSeed};
use prost::Message;

use super::*;
use crate::{ids, milvus::schema as wire, schema, template};

type Rows<T> = Vec<Option<T>>;

fn rows<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Rows<T>> {
    prop::collection::vec(prop::option::weighted(0.7, value), 0..12)
}

fn real() -> impl Strategy<Value = f32> {
    -1e30_f32..1e30
}

fn dense<T: arrow_array::ArrowPrimitiveType>(
    data_type: DataType,
    rows: Rows<Vec<T::Native>>,
) -> (FieldSchema, ArrayRef) {
    let field = nullable(field(data_type));
    let item = ArrowField::new("item", T::DATA_TYPE, false);
    let mut column = FixedSizeListBuilder::new(PrimitiveBuilder::<T>::new(), 4).with_field(item);
    for row in rows {
        let values = row.clone().unwrap_or_else(|| vec![T::Native::default(); 4]);
        column.values().append_slice(&values);
        column.append(row.is_some());
    }
    (field, Arc::new(column.finish()))
}

fn fixed(data_type: DataType, width: i32, rows: &Rows<Vec<u8>>) -> (FieldSchema, ArrayRef) {
    let rows = rows.iter().map(Option::as_deref);
    let column = FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows, width);
    (
        nullable(field(data_type)),
        Arc::new(column.expect("rows of that width")),
    )
}

fn simple<A: Array + FromIterator<Option<T>> + 'static, T>(
    data_type: DataType,
    rows: Rows<T>,
) -> (FieldSchema, ArrayRef) {
    (
        nullable(field(data_type)),
        Arc::new(rows.into_iter().collect::<A>()),
    )
}

fn sparse_row() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::btree_map(0..u32::MAX, 0.0_f32..1e30, 0..5).prop_map(|entries| {
        entries
            .iter()
            .flat_map(|(i, v)| [i.to_le_bytes(), v.to_le_bytes()].concat())
            .collect()
    })
}

/// A column of any type, some of its rows null.
fn column() -> impl Strategy<Value = (FieldSchema, ArrayRef)> {
    let halves = prop::collection::vec(real().prop_map(|x| f16::from_f32(x % 6e4)), 4);
    let brains = prop::collection::vec(real(), 4).prop_map(|v| {
        v.iter()
            .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
            .collect()
    });
    prop_oneof![
        rows(any::<bool>()).prop_map(|r| simple::<BooleanArray, _>(DataType::Bool, r)),
        rows(any::<i8>()).prop_map(|r| simple::<Int8Array, _>(DataType::Int8, r)),
        rows(any::<i16>()).prop_map(|r| simple::<Int16Array, _>(DataType::Int16, r)),
        rows(any::<i32>()).prop_map(|r| simple::<Int32Array, _>(DataType::Int32, r)),
        rows(any::<i64>()).prop_map(|r| simple::<Int64Array, _>(DataType::Int64, r)),
        rows(real()).prop_map(|r| simple::<Float32Array, _>(DataType::Float, r)),
        rows(-1e300_f64..1e300).prop_map(|r| simple::<Float64Array, _>(DataType::Double, r)),
        rows("[a-zé]{0,4}").prop_map(|r| simple::<StringArray, _>(DataType::VarChar, r)),
        rows("(1|null|\\[\\]|\\{\"k\": \"[a-z]{0,3}\"\\})")
            .prop_map(|r| simple::<StringArray, _>(DataType::Json, r)),
        rows(prop::collection::vec(any::<i64>(), 0..4)).prop_map(|r| {
            let item = ArrowField::new("item", arrow_schema::DataType::Int64, false);
            let mut column =
                ListBuilder::new(PrimitiveBuilder::<Int64Type>::new()).with_field(item);
            for row in r {
                column
                    .values()
                    .append_slice(row.as_deref().unwrap_or_default());
                column.append(row.is_some());
            }
            (
                nullable(array_of(DataType::Int64)),
                Arc::new(column.finish()) as ArrayRef,
            )
        }),
        rows(prop::collection::vec("[a-z]{0,8}", 0..4)).prop_map(|r| {
            let item = ArrowField::new("item", arrow_schema::DataType::Utf8, false);
            let mut column = ListBuilder::new(StringBuilder::new()).with_field(item);
            for row in r {
                for text in row.iter().flatten() {
                    column.values().append_value(text);
                }
                column.append(row.is_some());
            }
            (
                nullable(array_of(DataType::VarChar)),
                Arc::new(column.finish()) as ArrayRef,
            )
        }),
        rows(prop::collection::vec(real(), 4))
            .prop_map(|r| dense::<Float32Type>(DataType::FloatVector, r)),
        rows(halves).prop_map(|r| dense::<Float16Type>(DataType::Float16Vector, r)),
        rows(prop::collection::vec(any::<i8>(), 4))
            .prop_map(|r| dense::<Int8Type>(DataType::Int8Vector, r)),
        rows(brains).prop_map(|r| fixed(DataType::BFloat16Vector, 8, &r)),
        rows(prop::collection::vec(any::<u8>(), 2)).prop_map(|r| fixed(
            DataType::BinaryVector,
            2,
            &r
        )),
        rows(sparse_row()).prop_map(|r| {
            let column: BinaryArray = r.iter().map(Option::as_deref).collect();
            (
                nullable(field(DataType::SparseFloatVector)),
                Arc::new(column) as ArrayRef,
            )
        }),
    ]
}

/// The message as a client would have sent it: placeholders of rows without a value left out.
fn compact(mut data: FieldData) -> FieldData {
    fn keep<T>(values: &mut Vec<T>, valid: &[bool]) {
        let mut row = 0;
        values.retain(|_| {
            row += 1;
            valid[row - 1]
        });
    }
    let valid = data.valid_data.clone();
    if let Some(Field::Scalars(ScalarField {
        data: Some(scalars),
        ..
    })) = &mut data.field
    {
        match scalars {
            Scalars::BoolData(a) => keep(&mut a.data, &valid),
            Scalars::IntData(a) => keep(&mut a.data, &valid),
            Scalars::LongData(a) => keep(&mut a.data, &valid),
            Scalars::FloatData(a) => keep(&mut a.data, &valid),
            Scalars::DoubleData(a) => keep(&mut a.data, &valid),
            Scalars::StringData(a) => keep(&mut a.data, &valid),
            Scalars::JsonData(a) => keep(&mut a.data, &valid),
            Scalars::ArrayData(a) => keep(&mut a.data, &valid),
            other => panic!("{other:?}"),
        }
    }
    data
}

fn hostile_scalars() -> impl Strategy<Value = Option<Scalars>> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<bool>(), 0..5)
            .prop_map(|data| Scalars::BoolData(BoolArray { data })),
        prop::collection::vec(any::<i32>(), 0..5)
            .prop_map(|data| Scalars::IntData(IntArray { data })),
        prop::collection::vec(any::<i64>(), 0..5)
            .prop_map(|data| Scalars::LongData(LongArray { data })),
        prop::collection::vec(any::<f32>(), 0..5)
            .prop_map(|data| Scalars::FloatData(FloatArray { data })),
        prop::collection::vec(any::<f64>(), 0..5)
            .prop_map(|data| Scalars::DoubleData(DoubleArray { data })),
        prop::collection::vec(".{0,9}", 0..5)
            .prop_map(|data| Scalars::StringData(Strings { data })),
        prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from),
            0..5
        )
        .prop_map(|data| Scalars::JsonData(JsonArray { data })),
    ];
    let nested = prop::collection::vec(prop::option::of(leaf.clone()), 0..5).prop_map(|rows| {
        let data = rows
            .into_iter()
            .map(|data| ScalarField {
                data,
                valid_data: vec![],
            })
            .collect();
        Scalars::ArrayData(ArrayArray {
            data,
            element_type: 0,
        })
    });
    prop::option::of(prop_oneof![4 => leaf, 1 => nested])
}

fn hostile_vectors() -> impl Strategy<Value = Option<Vectors>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    prop::option::of(prop_oneof![
        prop::collection::vec(any::<f32>(), 0..20)
            .prop_map(|data| Vectors::FloatVector(FloatArray { data })),
        bytes().prop_map(Vectors::BinaryVector),
        bytes().prop_map(Vectors::Float16Vector),
        bytes().prop_map(Vectors::Bfloat16Vector),
        bytes().prop_map(Vectors::Int8Vector),
        prop::collection::vec(bytes(), 0..4).prop_map(|contents| Vectors::SparseFloatVector(
            SparseFloatArray { contents, dim: -1 }
        )),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_column_survives_the_way_out_and_in((field, column) in column()) {
        let data = from_column(&column, &field).expect("same type");
        prop_assert_eq!(column.data_type(), &arrow_type(&field));
        let bytes = data.encode_to_vec();
        let data = FieldData::decode(bytes.as_slice()).expect("just encoded");
        let aligned = to_column(&data, &field, column.len()).expect("our own message");
        prop_assert_eq!(&aligned, &column);
        prop_assert_eq!(aligned.data_type(), column.data_type());
        let compacted = to_column(&compact(data), &field, column.len()).expect("a client's message");
        prop_assert_eq!(&compacted, &column);
    }

    #[test]
    fn a_column_is_never_longer_than_asked_for(
        number in prop::sample::select(DataType::ALL.to_vec()),
        scalars in hostile_scalars(),
        vectors in hostile_vectors(),
        is_vector in any::<bool>(),
        dim in prop::sample::select(vec![-1, 0, 4, 16, i64::MAX]),
        valid in prop::collection::vec(any::<bool>(), 0..5),
        rows in prop::sample::select(vec![0, 1, 2, 4, usize::MAX]),
    ) {
        let payload = if is_vector {
            Field::Vectors(VectorField { dim, data: vectors, valid_data: vec![] })
        } else {
            Field::Scalars(ScalarField { data: scalars, valid_data: vec![] })
        };
        let data = FieldData {
            r#type: number.wire_number(),
            field: Some(payload),
            valid_data: valid,
            ..FieldData::default()
        };
        for base in [field(number), dynamic_field(FieldId(9))] {
            for field in [base.clone(), nullable(base)] {
                if let Ok(column) = to_column(&data, &field, rows) {
                    prop_assert_eq!(column.len(), rows);
                    prop_assert_eq!(column.data_type(), &arrow_type(&field));
                    prop_assert!(from_column(&column, &field).is_ok());
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), rows in 0_usize..4) {
        if let Ok(data) = FieldData::decode(bytes.as_slice()) {
            for data_type in DataType::ALL {
                drop(to_column(&data, &nullable(field(data_type)), rows));
            }
        }
        if let Ok(message) = schema::decode(&bytes) {
            drop(schema::to_domain(&message));
        }
        if let Ok(value) = wire::TemplateValue::decode(bytes.as_slice()) {
            drop(template::to_domain([("x".to_owned(), value)].into()));
        }
        if let Ok(keys) = wire::IDs::decode(bytes.as_slice()) {
            drop(ids::to_domain(keys, &field(DataType::Int64)));
        }
    }
}
