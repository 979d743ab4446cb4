//! Primary keys on the wire.

use holdfast_types::{DataType, Failure, FieldSchema, PkList};

use crate::milvus::schema::{IDs, LongArray, StringArray, i_ds::IdField};

/// The keys as a message. The right case of the oneof is set even when there is no key: clients read
/// the kind from it.
#[must_use]
pub fn to_wire(keys: PkList) -> IDs {
    let id_field = match keys {
        PkList::Int(data) => IdField::IntId(LongArray { data }),
        PkList::Str(keys) => IdField::StrId(StringArray {
            data: keys.into_iter().map(String::from).collect(),
        }),
    };
    IDs {
        id_field: Some(id_field),
    }
}

/// No keys, of the kind that `primary` has.
#[must_use]
pub fn none(primary: &FieldSchema) -> IDs {
    to_wire(no_keys(primary))
}

/// The keys of a message, which have to be of the kind that `primary` has. A message without keys is
/// an empty list.
///
/// # Errors
/// [`holdfast_types::Code::InvalidArgument`]: keys of the other kind.
pub fn to_domain(ids: IDs, primary: &FieldSchema) -> Result<PkList, Failure> {
    match (ids.id_field, primary.data_type) {
        (None, _) => Ok(no_keys(primary)),
        (Some(IdField::IntId(ids)), DataType::Int64) => Ok(PkList::Int(ids.data)),
        (Some(IdField::StrId(ids)), DataType::VarChar) => Ok(PkList::Str(
            ids.data.into_iter().map(String::into_boxed_str).collect(),
        )),
        (Some(IdField::IntId(_)), _) => Err(wrong_kind("integers", primary)),
        (Some(IdField::StrId(_)), _) => Err(wrong_kind("strings", primary)),
    }
}

fn no_keys(primary: &FieldSchema) -> PkList {
    match primary.data_type {
        DataType::VarChar => PkList::Str(Vec::new()),
        _ => PkList::Int(Vec::new()),
    }
}

fn wrong_kind(got: &str, primary: &FieldSchema) -> Failure {
    Failure::invalid(format!(
        "ids: the primary key {} is {}, but the ids are {got}",
        primary.name, primary.data_type
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::field;

    #[test]
    fn keys_survive_the_round_trip() {
        let int = field(DataType::Int64);
        let text = field(DataType::VarChar);
        for (keys, primary) in [
            (PkList::Int(vec![3, -1, 3]), &int),
            (PkList::Int(vec![]), &int),
            (PkList::Str(vec!["a".into(), "".into()]), &text),
            (PkList::Str(vec![]), &text),
        ] {
            assert_eq!(to_domain(to_wire(keys.clone()), primary), Ok(keys));
        }
    }

    #[test]
    fn no_keys_still_have_a_kind() {
        let kind = |data_type| none(&field(data_type)).id_field;
        assert!(matches!(kind(DataType::Int64), Some(IdField::IntId(_))));
        assert!(matches!(kind(DataType::VarChar), Some(IdField::StrId(_))));
    }

    #[test]
    fn keys_of_the_other_kind_are_refused() {
        let refused = to_domain(to_wire(PkList::Int(vec![1])), &field(DataType::VarChar));
        let text = refused.expect_err("kinds differ").message;
        assert_eq!(
            text,
            "ids: the primary key f is VarChar, but the ids are integers"
        );
    }
}
