//! The value of rows that give none.

use holdfast_types::{DataType, Failure, FieldSchema, Value};

use crate::milvus::schema::{ValueField, value_field::Data};

/// The default in a message, checked against the rest of the field.
pub(super) fn to_domain(wire: &ValueField, field: &FieldSchema) -> Result<Option<Value>, Failure> {
    let Some(data) = &wire.data else {
        return Ok(None);
    };
    let name = &field.name;
    let refused = |why: &str| {
        Err(Failure::invalid(format!(
            "default value of field {name}: {why}"
        )))
    };
    if field.is_primary {
        return refused("a primary key can not have one");
    }
    let integer = |value: i64, least: i64, most: i64| {
        if (least..=most).contains(&value) {
            Ok(Some(Value::Int(value)))
        } else {
            refused(&format!("{value} is out of range: [{least}, {most}]"))
        }
    };
    let float = |value: f64| {
        if value.is_finite() {
            Ok(Some(Value::Float(value)))
        } else {
            refused(&format!("{value} is not a number or infinity"))
        }
    };
    match (field.data_type, data) {
        (DataType::Bool, Data::BoolData(b)) => Ok(Some(Value::Bool(*b))),
        (DataType::Int8, Data::IntData(i)) => {
            integer(i64::from(*i), i64::from(i8::MIN), i64::from(i8::MAX))
        }
        (DataType::Int16, Data::IntData(i)) => {
            integer(i64::from(*i), i64::from(i16::MIN), i64::from(i16::MAX))
        }
        (DataType::Int32, Data::IntData(i)) => Ok(Some(Value::Int(i64::from(*i)))),
        // pymilvus tells the type from the Python value, and so sends every whole number as a long.
        (DataType::Int8, Data::LongData(i)) => integer(*i, i64::from(i8::MIN), i64::from(i8::MAX)),
        (DataType::Int16, Data::LongData(i)) => {
            integer(*i, i64::from(i16::MIN), i64::from(i16::MAX))
        }
        (DataType::Int32, Data::LongData(i)) => {
            integer(*i, i64::from(i32::MIN), i64::from(i32::MAX))
        }
        (DataType::Int64, Data::IntData(i)) => Ok(Some(Value::Int(i64::from(*i)))),
        (DataType::Double, Data::FloatData(x)) => float(f64::from(*x)),
        (DataType::Int64, Data::LongData(i)) => Ok(Some(Value::Int(*i))),
        (DataType::Float, Data::FloatData(x)) => float(f64::from(*x)),
        (DataType::Double, Data::DoubleData(x)) => float(*x),
        (DataType::VarChar, Data::StringData(text)) => {
            let most = field.max_length.unwrap_or(0) as usize;
            if text.len() > most {
                return refused(&format!(
                    "the length ({}) of string exceeds max length ({most})",
                    text.len()
                ));
            }
            Ok(Some(Value::Str(text.clone())))
        }
        (
            DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
            | DataType::VarChar,
            _,
        ) => refused(&format!(
            "type ({}) of field ({name}) is not equal to the type ({}) of the value",
            field.data_type,
            kind(data)
        )),
        (
            DataType::Json
            | DataType::Array
            | DataType::FloatVector
            | DataType::Float16Vector
            | DataType::BFloat16Vector
            | DataType::Int8Vector
            | DataType::BinaryVector
            | DataType::SparseFloatVector,
            _,
        ) => refused(&format!(
            "type not support default_value: {}",
            field.data_type
        )),
    }
}

/// The default as a message.
pub(super) fn to_wire(value: &Value, data_type: DataType) -> Option<ValueField> {
    let data = match (value, data_type) {
        (Value::Bool(b), _) => Data::BoolData(*b),
        (Value::Int(i), DataType::Int64) => Data::LongData(*i),
        // A checked default fits its field.
        (Value::Int(i), _) => Data::IntData(i32::try_from(*i).ok()?),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it was widened from f32 when it came in"
        )]
        (Value::Float(x), DataType::Float) => Data::FloatData(*x as f32),
        (Value::Float(x), _) => Data::DoubleData(*x),
        (Value::Str(s), _) => Data::StringData(s.clone()),
        (Value::Null | Value::List(_), _) => return None,
    };
    Some(ValueField { data: Some(data) })
}

fn kind(data: &Data) -> &'static str {
    match data {
        Data::BoolData(_) => "Bool",
        Data::IntData(_) => "Int32",
        Data::LongData(_) => "Int64",
        Data::FloatData(_) => "Float",
        Data::DoubleData(_) => "Double",
        Data::StringData(_) => "VarChar",
        Data::BytesData(_) => "Bytes",
        Data::TimestamptzData(_) => "Timestamptz",
        Data::DateData(_) => "Date",
        Data::TimeData(_) => "Time",
    }
}
