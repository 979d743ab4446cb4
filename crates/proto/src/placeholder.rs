//! Query vectors of a search.

use holdfast_index::QueryVector;
use holdfast_types::{Code, DataType, Failure, FieldSchema, limits::MAX_NQ};
use prost::Message;

use crate::{
    elements,
    milvus::common::{PlaceholderGroup, PlaceholderType, PlaceholderValue},
};

/// The query vectors in a serialized `PlaceholderGroup`, for a search of `field`.
///
/// f32 queries of a 16-bit field are narrowed; no other conversion happens.
///
/// # Errors
/// [`Code::InvalidArgument`]: not such a message, no or too many queries, another type or dimension than
/// the field's, NaN or infinite elements. [`Code::Unsupported`]: text queries and lists of vectors.
pub fn decode(bytes: &[u8], field: &FieldSchema) -> Result<Vec<QueryVector>, Failure> {
    let group = PlaceholderGroup::decode(bytes).map_err(|e| {
        Failure::invalid(format!(
            "placeholder_group: not a PlaceholderGroup message: {e}"
        ))
    })?;
    let [placeholder] = group.placeholders.as_slice() else {
        return Err(Failure::invalid(format!(
            "placeholder_group: {} placeholders, but please provide one",
            group.placeholders.len()
        )));
    };
    let PlaceholderValue {
        tag: _,
        r#type,
        values,
        element_level,
    } = placeholder;
    if *element_level {
        return Err(unsupported("search by the elements of an array of structs"));
    }
    let given = vector_type(*r#type)?;
    let narrows = given == DataType::FloatVector
        && matches!(
            field.data_type,
            DataType::Float16Vector | DataType::BFloat16Vector
        );
    if given != field.data_type && !narrows {
        return Err(Failure::invalid(format!(
            "vector type must be the same, field {} - type {}, search info type {given}",
            field.name, field.data_type
        )));
    }
    if values.is_empty() || values.len() > MAX_NQ {
        return Err(Failure::invalid(format!(
            "nq [{}] is invalid, it should be in range [1, {MAX_NQ}]",
            values.len()
        )));
    }
    let expected = match given {
        DataType::SparseFloatVector => None,
        _ => given.vector_bytes(field.dim.unwrap_or(0)),
    };
    values
        .iter()
        .enumerate()
        .map(|(i, value)| {
            if let Some(expected) = expected
                && value.len() != expected
            {
                return Err(Failure::invalid(format!(
                    "vector dimension mismatch, expected vector size(byte) {expected}, actual {}[field={}][query={i}]",
                    value.len(),
                    field.name
                )));
            }
            query(value, given, field.data_type).map_err(|problem| {
                Failure::invalid(format!("{problem}[field={}][query={i}]", field.name))
            })
        })
        .collect()
}

fn query(value: &[u8], given: DataType, wanted: DataType) -> Result<QueryVector, String> {
    Ok(match (given, wanted) {
        (DataType::FloatVector, DataType::Float16Vector) => {
            QueryVector::F16(elements::to_f16s(&elements::f32s(value)?)?)
        }
        (DataType::FloatVector, DataType::BFloat16Vector) => {
            QueryVector::Bf16(elements::to_bf16s(&elements::f32s(value)?)?)
        }
        (DataType::FloatVector, _) => QueryVector::F32(elements::f32s(value)?),
        (DataType::Float16Vector, _) => QueryVector::F16(elements::f16s(value)?),
        (DataType::BFloat16Vector, _) => QueryVector::Bf16(elements::bf16s(value)?),
        (DataType::Int8Vector, _) => QueryVector::I8(elements::i8s(value)),
        (DataType::BinaryVector, _) => QueryVector::Binary(value.to_vec()),
        (DataType::SparseFloatVector, _) => QueryVector::Sparse(elements::sparse(value)?),
        (other, _) => return Err(format!("{other} is not a vector type")),
    })
}

fn vector_type(number: i32) -> Result<DataType, Failure> {
    match PlaceholderType::try_from(number) {
        Ok(PlaceholderType::FloatVector) => Ok(DataType::FloatVector),
        Ok(PlaceholderType::Float16Vector) => Ok(DataType::Float16Vector),
        Ok(PlaceholderType::BFloat16Vector) => Ok(DataType::BFloat16Vector),
        Ok(PlaceholderType::Int8Vector) => Ok(DataType::Int8Vector),
        Ok(PlaceholderType::BinaryVector) => Ok(DataType::BinaryVector),
        Ok(PlaceholderType::SparseFloatVector) => Ok(DataType::SparseFloatVector),
        Ok(PlaceholderType::VarChar) => Err(unsupported("search by text")),
        Ok(PlaceholderType::Int64) => Err(unsupported("search by integers")),
        Ok(
            PlaceholderType::EmbListBinaryVector
            | PlaceholderType::EmbListFloatVector
            | PlaceholderType::EmbListFloat16Vector
            | PlaceholderType::EmbListBFloat16Vector
            | PlaceholderType::EmbListSparseFloatVector
            | PlaceholderType::EmbListInt8Vector,
        ) => Err(unsupported("search by lists of vectors")),
        Ok(PlaceholderType::None) | Err(_) => Err(Failure::invalid(format!(
            "placeholder_group: {number} is not a placeholder type"
        ))),
    }
}

fn unsupported(what: &str) -> Failure {
    Failure::new(Code::Unsupported, format!("{what} is not built"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use half::{bf16, f16};
    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;
    use crate::testing::field;

    fn group(number: i32, values: Vec<Vec<u8>>) -> Vec<u8> {
        PlaceholderGroup {
            placeholders: vec![PlaceholderValue {
                tag: "$0".to_owned(),
                r#type: number,
                values: values.into_iter().map(Bytes::from).collect(),
                element_level: false,
            }],
        }
        .encode_to_vec()
    }

    fn f32_bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[track_caller]
    fn refused(bytes: &[u8], data_type: DataType, code: Code, expect: &str) {
        let failure = decode(bytes, &field(data_type)).expect_err("refused");
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(expect), "{failure}");
    }

    #[test]
    fn every_vector_type_is_read_exactly() {
        let x = [1.0_f32, -2.0, 0.5, 4.0];
        let halves = x.map(f16::from_f32);
        let brains = x.map(bf16::from_f32);
        let half_bytes = || {
            halves
                .iter()
                .flat_map(|h| h.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let brain_bytes = || {
            brains
                .iter()
                .flat_map(|h| h.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let sparse_bytes = [3_u32.to_le_bytes(), 0.5_f32.to_le_bytes()].concat();
        let cases = [
            (
                101,
                DataType::FloatVector,
                f32_bytes(&x),
                QueryVector::F32(x.into()),
            ),
            (
                102,
                DataType::Float16Vector,
                half_bytes(),
                QueryVector::F16(halves.into()),
            ),
            (
                103,
                DataType::BFloat16Vector,
                brain_bytes(),
                QueryVector::Bf16(brains.into()),
            ),
            (
                101,
                DataType::Float16Vector,
                f32_bytes(&x),
                QueryVector::F16(halves.into()),
            ),
            (
                101,
                DataType::BFloat16Vector,
                f32_bytes(&x),
                QueryVector::Bf16(brains.into()),
            ),
            (
                105,
                DataType::Int8Vector,
                vec![1, 255, 128, 127],
                QueryVector::I8(vec![1, -1, -128, 127]),
            ),
            (
                100,
                DataType::BinaryVector,
                vec![0xff, 1],
                QueryVector::Binary(vec![0xff, 1]),
            ),
            (
                104,
                DataType::SparseFloatVector,
                sparse_bytes,
                QueryVector::Sparse(vec![(3, 0.5)]),
            ),
            (
                104,
                DataType::SparseFloatVector,
                vec![],
                QueryVector::Sparse(vec![]),
            ),
        ];
        for (number, data_type, bytes, expect) in cases {
            let decoded = decode(
                &group(number, vec![bytes.clone(), bytes]),
                &field(data_type),
            );
            assert_eq!(decoded, Ok(vec![expect.clone(), expect]), "{data_type}");
        }
    }

    #[test]
    fn wrong_queries_are_refused() {
        use Code::InvalidArgument;
        let float = DataType::FloatVector;
        let good = || f32_bytes(&[1.0; 4]);
        refused(
            &group(101, vec![good(), f32_bytes(&[1.0; 3])]),
            float,
            InvalidArgument,
            "vector dimension mismatch, expected vector size(byte) 16, actual 12[field=f][query=1]",
        );
        refused(
            &group(101, vec![vec![0; 15]]),
            float,
            InvalidArgument,
            "dimension mismatch",
        );
        refused(
            &group(101, vec![vec![]]),
            float,
            InvalidArgument,
            "dimension mismatch",
        );
        refused(
            &group(100, vec![vec![0; 3]]),
            DataType::BinaryVector,
            InvalidArgument,
            "dimension mismatch",
        );
        let nan = f32_bytes(&[0.0, f32::NAN, 0.0, 0.0]);
        refused(
            &group(101, vec![nan]),
            float,
            InvalidArgument,
            "not a number or infinity[field=f][query=0]",
        );
        let large = f32_bytes(&[1e9, 0.0, 0.0, 0.0]);
        refused(
            &group(101, vec![large]),
            DataType::Float16Vector,
            InvalidArgument,
            "out of the range",
        );
        refused(
            &group(100, vec![good()]),
            float,
            InvalidArgument,
            "vector type must be the same",
        );
        refused(
            &group(102, vec![vec![0; 8]]),
            float,
            InvalidArgument,
            "vector type must be the same",
        );
        refused(
            &group(104, vec![vec![0; 7]]),
            DataType::SparseFloatVector,
            InvalidArgument,
            "data length",
        );
        refused(
            &group(101, vec![]),
            float,
            InvalidArgument,
            "nq [0] is invalid",
        );
        refused(
            &group(101, vec![good(); MAX_NQ + 1]),
            float,
            InvalidArgument,
            "nq [16385]",
        );
        refused(
            &group(9, vec![good()]),
            float,
            InvalidArgument,
            "9 is not a placeholder type",
        );
        refused(&[], float, InvalidArgument, "0 placeholders");
        refused(&[0xff], float, InvalidArgument, "not a PlaceholderGroup");
        for number in [5, 21, 300, 305] {
            refused(
                &group(number, vec![good()]),
                float,
                Code::Unsupported,
                "not built",
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), number in 0..320, each in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3)) {
            for data_type in DataType::ALL {
                drop(decode(&bytes, &field(data_type)));
                drop(decode(&group(number, each.clone()), &field(data_type)));
            }
        }
    }
}
