//! Literals and template values, and what they become beside a field.

use holdfast_types::{DataType, Value};

use crate::{
    MAX_DEPTH, MAX_LIST_VALUES,
    error::{ExprError, excerpt},
};

/// The literal as a message names it, of bounded length.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => value.to_string(),
        Value::Str(text) => format!("the string {}", excerpt(text)),
        Value::List(values) => format!("a list of {}", values.len()),
    }
}

/// 2^63 without a minus.
pub(super) fn two_pow_63(at: usize) -> ExprError {
    ExprError::new(
        at,
        "9223372036854775808 does not fit a 64-bit integer; write it with a decimal point for a float",
    )
}

/// A value given for a template, by value. It comes from outside and is checked like the text.
pub(super) fn template(at: usize, name: &str, value: &Value) -> Result<Value, ExprError> {
    sound(value, MAX_DEPTH).map_err(|why| {
        ExprError::new(at, format!("the value of template {} {why}", excerpt(name)))
    })?;
    Ok(value.clone())
}

fn sound(value: &Value, levels: usize) -> Result<(), &'static str> {
    match value {
        Value::Null => Err("is null, which compares with nothing; use `is null`"),
        Value::Float(float) if !float.is_finite() => Err("is not a finite number"),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => Ok(()),
        Value::List(_) if levels == 0 => Err("is nested too deep"),
        Value::List(values) if values.len() > MAX_LIST_VALUES => {
            Err("is a list of too many values")
        }
        Value::List(values) => values.iter().try_for_each(|value| sound(value, levels - 1)),
    }
}

/// The value as one of `wanted`; the value itself when it is none. Integers become floats for a float
/// type, and floats are rounded to what a `Float` field can hold, so that `field == 0.1` finds 0.1.
pub(super) fn cast(value: Value, wanted: DataType) -> Result<Value, Value> {
    match value {
        Value::Bool(_) if wanted == DataType::Bool => Ok(value),
        Value::Int(_) if wanted.is_integer() => Ok(value),
        Value::Int(int) if wanted.is_floating() => Ok(Value::Float(rounded(int as f64, wanted))),
        Value::Float(float) if wanted.is_floating() => Ok(Value::Float(rounded(float, wanted))),
        Value::Str(_) if wanted == DataType::VarChar => Ok(value),
        other => Err(other),
    }
}

/// The value if it is no list.
pub(super) fn scalar(value: Value) -> Result<Value, Value> {
    match value {
        Value::List(_) | Value::Null => Err(value),
        scalar => Ok(scalar),
    }
}

/// The value if it is a number.
pub(super) fn number(value: Value) -> Result<Value, Value> {
    match value {
        Value::Int(_) | Value::Float(_) => Ok(value),
        other => Err(other),
    }
}

fn rounded(float: f64, wanted: DataType) -> f64 {
    let single = f64::from(float as f32);
    // A number beyond the range of `Float` stays itself: it is above or below every stored value.
    if wanted == DataType::Float && single.is_finite() {
        single
    } else {
        float
    }
}
