//! Values for the `{name}` places of a filter.

use std::collections::HashMap;

use holdfast_types::{Code, Failure, Value};

use crate::milvus::schema::{
    TemplateArrayValue, TemplateValue, template_array_value::Data, template_value::Val,
};

/// Deepest list within a list.
const MAX_DEPTH: usize = 32;

/// The values of all templates of a request.
///
/// # Errors
/// [`Code::InvalidArgument`] or [`Code::Unsupported`], naming the template.
pub fn to_domain(
    templates: HashMap<String, TemplateValue>,
) -> Result<HashMap<String, Value>, Failure> {
    templates
        .into_iter()
        .map(|(name, value)| match value_of(value) {
            Ok(value) => Ok((name, value)),
            Err(failure) => Err(failure.within(format_args!("expr_template_values.{name}"))),
        })
        .collect()
}

fn value_of(value: TemplateValue) -> Result<Value, Failure> {
    match value.val {
        None => Err(Failure::invalid("no value")),
        Some(Val::BoolVal(b)) => Ok(Value::Bool(b)),
        Some(Val::Int64Val(i)) => Ok(Value::Int(i)),
        Some(Val::FloatVal(x)) => Ok(Value::Float(x)),
        Some(Val::StringVal(s)) => Ok(Value::Str(s)),
        Some(Val::ArrayVal(list)) => list_of(list, 0),
        Some(Val::BytesVal(_)) => Err(Failure::new(Code::Unsupported, "bytes are not built")),
    }
}

fn list_of(list: TemplateArrayValue, depth: usize) -> Result<Value, Failure> {
    if depth == MAX_DEPTH {
        return Err(too_deep());
    }
    let values: Vec<Value> = match list.data {
        None => Vec::new(),
        Some(Data::BoolData(a)) => a.data.into_iter().map(Value::Bool).collect(),
        Some(Data::LongData(a)) => a.data.into_iter().map(Value::Int).collect(),
        Some(Data::DoubleData(a)) => a.data.into_iter().map(Value::Float).collect(),
        Some(Data::StringData(a)) => a.data.into_iter().map(Value::Str).collect(),
        Some(Data::ArrayData(a)) => a
            .data
            .into_iter()
            .map(|inner| list_of(inner, depth + 1))
            .collect::<Result<_, _>>()?,
        Some(Data::JsonData(a)) => a
            .data
            .iter()
            .map(|text| {
                let json = serde_json::from_slice(text)
                    .map_err(|e| Failure::invalid(format!("an element is not JSON: {e}")))?;
                json_value(json, depth + 1)
            })
            .collect::<Result<_, _>>()?,
    };
    Ok(Value::List(values))
}

fn json_value(json: serde_json::Value, depth: usize) -> Result<Value, Failure> {
    if depth == MAX_DEPTH {
        return Err(too_deep());
    }
    match json {
        serde_json::Value::Null => Ok(Value::Null),
        serde_json::Value::Bool(b) => Ok(Value::Bool(b)),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => Ok(Value::Int(i)),
            (None, Some(x)) => Ok(Value::Float(x)),
            (None, None) => Err(Failure::invalid(format!("{n} is not a number in range"))),
        },
        serde_json::Value::String(s) => Ok(Value::Str(s)),
        serde_json::Value::Array(items) => items
            .into_iter()
            .map(|item| json_value(item, depth + 1))
            .collect::<Result<_, _>>()
            .map(Value::List),
        serde_json::Value::Object(_) => Err(Failure::new(
            Code::Unsupported,
            "JSON objects as values are not built",
        )),
    }
}

fn too_deep() -> Failure {
    Failure::invalid(format!("lists are nested deeper than {MAX_DEPTH}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::milvus::schema::{
        BoolArray, DoubleArray, JsonArray, LongArray, StringArray, TemplateArrayValueArray,
    };

    fn convert(val: Option<Val>) -> Result<Value, Failure> {
        let templates = HashMap::from([("x".to_owned(), TemplateValue { val })]);
        to_domain(templates).map(|mut values| values.remove("x").expect("same names"))
    }

    fn list(data: Data) -> Option<Val> {
        Some(Val::ArrayVal(TemplateArrayValue { data: Some(data) }))
    }

    #[test]
    fn every_kind_becomes_its_value() {
        use Value::{Bool, Float, Int, List, Null, Str};
        let text = || "a".to_owned();
        let cases = [
            (Some(Val::BoolVal(true)), Bool(true)),
            (Some(Val::Int64Val(-7)), Int(-7)),
            (Some(Val::FloatVal(0.5)), Float(0.5)),
            (Some(Val::StringVal(text())), Str(text())),
            (
                list(Data::BoolData(BoolArray { data: vec![true] })),
                List(vec![Bool(true)]),
            ),
            (
                list(Data::LongData(LongArray { data: vec![1, 2] })),
                List(vec![Int(1), Int(2)]),
            ),
            (
                list(Data::DoubleData(DoubleArray { data: vec![1.0] })),
                List(vec![Float(1.0)]),
            ),
            (
                list(Data::StringData(StringArray { data: vec![text()] })),
                List(vec![Str(text())]),
            ),
            (
                list(Data::JsonData(JsonArray {
                    data: vec!["1".into(), "[\"a\", null, 1.5]".into()],
                })),
                List(vec![Int(1), List(vec![Str(text()), Null, Float(1.5)])]),
            ),
            (
                Some(Val::ArrayVal(TemplateArrayValue { data: None })),
                List(vec![]),
            ),
        ];
        for (wire, expect) in cases {
            assert_eq!(convert(wire), Ok(expect));
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused_by_name() {
        #[track_caller]
        fn check(val: Option<Val>, expect: &str) {
            assert_eq!(convert(val).expect_err("refused").message, expect);
        }
        check(None, "expr_template_values.x: no value");
        check(
            Some(Val::BytesVal("b".into())),
            "expr_template_values.x: bytes are not built",
        );
        let json = |text: &'static str| {
            list(Data::JsonData(JsonArray {
                data: vec![text.into()],
            }))
        };
        check(
            json("{}"),
            "expr_template_values.x: JSON objects as values are not built",
        );
        let mut deep = TemplateArrayValue { data: None };
        for _ in 0..MAX_DEPTH {
            deep = TemplateArrayValue {
                data: Some(Data::ArrayData(TemplateArrayValueArray {
                    data: vec![deep],
                })),
            };
        }
        check(
            Some(Val::ArrayVal(deep)),
            "expr_template_values.x: lists are nested deeper than 32",
        );
    }
}
