//! Table tests of the way out.

use super::*;

#[test]
fn results_keep_a_place_for_null_scalars_but_not_for_null_vectors() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let wire = from_column(&column, &nullable(field(DataType::Int64))).expect("same type");
    let expect = FieldData {
        field_id: 100,
        ..scalars(DataType::Int64, longs(&[1, 0]), &[true, false])
    };
    assert_eq!(wire, expect);

    let data = vectors(
        DataType::FloatVector,
        4,
        floats(&[1.0, 2.0, 3.0, 4.0]),
        &[false, true],
    );
    let float = nullable(field(DataType::FloatVector));
    let column = to_column(&data, &float, 2).expect("valid");
    let expect = FieldData {
        field_id: 100,
        ..data
    };
    assert_eq!(from_column(&column, &float), Ok(expect));
    let json: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let wire = from_column(&json, &nullable(field(DataType::Json))).expect("same type");
    let expect = scalars(DataType::Json, jsons(&["null"]), &[false]);
    assert_eq!(wire.field, expect.field);
}

#[test]
fn a_result_without_rows_still_has_its_type() {
    for data_type in DataType::ALL {
        let field = field(data_type);
        let wire = from_column(&new_null_array(&arrow_type(&field), 0), &field).expect("same type");
        assert_eq!(wire.r#type, data_type.wire_number());
        match wire.field {
            Some(Field::Scalars(s)) => {
                assert!(s.data.is_some(), "{data_type}");
                if let Some(Scalars::ArrayData(a)) = s.data {
                    assert_eq!(a.element_type, 5);
                }
            }
            Some(Field::Vectors(v)) => assert!(v.data.is_some(), "{data_type}"),
            other => panic!("{data_type}: {other:?}"),
        }
    }
}

#[test]
fn a_column_of_another_type_is_a_defect_and_not_a_panic() {
    let columns: [ArrayRef; 3] = [
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(StringArray::from(vec!["x"])),
        new_null_array(&arrow_type(&field(DataType::Int8Vector)), 1),
    ];
    for (column, own) in columns.iter().zip([
        &[DataType::Bool][..],
        &[DataType::VarChar, DataType::Json],
        &[DataType::Int8Vector],
    ]) {
        for data_type in DataType::ALL.iter().filter(|t| !own.contains(t)) {
            let failure = from_column(column, &field(*data_type)).expect_err("differs");
            assert_eq!(failure.code, Code::Internal, "{data_type}");
        }
    }
}

#[test]
fn a_slice_of_a_column_is_shown_as_that_slice() {
    let float = nullable(field(DataType::FloatVector));
    let values: Vec<f32> = (0_u8..12).map(f32::from).collect();
    let data = vectors(
        DataType::FloatVector,
        4,
        floats(&values),
        &[true, true, false, true],
    );
    let column = to_column(&data, &float, 4).expect("valid");
    let list: &FixedSizeListArray = column.as_fixed_size_list();
    assert_eq!(list.len(), 4);
    let wire = from_column(&column.slice(1, 3), &float).expect("same type");
    let expect = vectors(
        DataType::FloatVector,
        4,
        floats(&values[4..]),
        &[true, false, true],
    );
    assert_eq!(wire.field, expect.field);
    assert_eq!(wire.valid_data, expect.valid_data);
    let bools = to_column(
        &scalars(
            DataType::Bool,
            Scalars::BoolData(BoolArray {
                data: vec![true, false],
            }),
            &[],
        ),
        &field(DataType::Bool),
        2,
    );
    let wire =
        from_column(&bools.expect("valid").slice(1, 1), &field(DataType::Bool)).expect("same type");
    let expect = scalars(
        DataType::Bool,
        Scalars::BoolData(BoolArray { data: vec![false] }),
        &[],
    );
    assert_eq!(wire.field, expect.field);
}
