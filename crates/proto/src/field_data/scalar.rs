//! Scalars, text, JSON and arrays on the way in.

use std::{cell::Cell, collections::HashSet, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, ListArray, PrimitiveArray, StringArray,
    builder::StringBuilder,
    types::{
        ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    },
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType as Arrow;
use holdfast_types::{
    DataType, Failure, FieldSchema, Value, columns::arrow_type, limits::MAX_JSON_BYTES,
    schema::DYNAMIC_FIELD,
};

use super::{MAX_COLUMN_BYTES, bad_row, check_size, presence::Presence, wrong_payload};
use crate::milvus::schema::{ScalarField, scalar_field::Data};

/// `declared` are the names that no key of the dynamic field may have.
pub(super) fn to_column(
    data: Option<&Data>,
    presence: &Presence<'_>,
    declared: &HashSet<&str>,
) -> Result<ArrayRef, Failure> {
    let field = presence.field;
    let reader = Reader { data, presence };
    match field.data_type {
        DataType::Bool => reader.booleans(),
        DataType::Int8 => reader.numbers::<Int8Type, _>(ints, |x| narrow(*x)),
        DataType::Int16 => reader.numbers::<Int16Type, _>(ints, |x| narrow(*x)),
        DataType::Int32 => reader.numbers::<Int32Type, _>(ints, |x| Ok(*x)),
        DataType::Int64 => reader.numbers::<Int64Type, _>(longs, |x| Ok(*x)),
        DataType::Float => reader.numbers::<Float32Type, _>(floats, |x| finite32(*x)),
        DataType::Double => reader.numbers::<Float64Type, _>(doubles, |x| finite64(*x)),
        DataType::VarChar => {
            let most = field.max_length.unwrap_or(0) as usize;
            reader.texts(strings, |text: &String| {
                check_length(text, most)?;
                Ok(())
            })
        }
        DataType::Json if field.is_dynamic => {
            reader.texts(jsons, |text| check_dynamic(text, declared))
        }
        DataType::Json => reader.texts(jsons, |text| check_json(text).map(|_| ())),
        DataType::Array => reader.arrays(),
        DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::Int8Vector
        | DataType::BinaryVector
        | DataType::SparseFloatVector => Err(wrong_payload(field)),
    }
}

struct Reader<'a> {
    data: Option<&'a Data>,
    presence: &'a Presence<'a>,
}

impl<'a> Reader<'a> {
    fn field(&self) -> &'a FieldSchema {
        self.presence.field
    }

    /// The payload, when it is of the wanted kind. None at all is an empty one.
    fn payload<T>(&self, pick: fn(&Data) -> Option<&[T]>) -> Result<&'a [T], Failure> {
        match self.data {
            None => Ok(&[]),
            Some(data) => pick(data).ok_or_else(|| wrong_payload(self.field())),
        }
    }

    fn booleans(&self) -> Result<ArrayRef, Failure> {
        let values = self.payload(bools)?;
        let layout = self.presence.layout(values.len())?;
        let fill = match self.field().default {
            Some(Value::Bool(b)) => Some(b),
            _ => None,
        };
        let column: BooleanArray = layout
            .iter()
            .map(|position| position.map_or(fill, |p| Some(values[p])))
            .collect();
        Ok(Arc::new(column))
    }

    fn numbers<T: ArrowPrimitiveType, W>(
        &self,
        pick: fn(&Data) -> Option<&[W]>,
        convert: impl Fn(&W) -> Result<T::Native, String>,
    ) -> Result<ArrayRef, Failure>
    where
        T::Native: FromDefault,
    {
        let field = self.field();
        let values = self.payload(pick)?;
        let layout = self.presence.layout(values.len())?;
        check_size(field, self.presence.rows, size_of::<T::Native>())?;
        let fill = field.default.as_ref().and_then(T::Native::from_default);
        let mut column = Vec::with_capacity(self.presence.rows);
        for (row, position) in layout.iter().enumerate() {
            column.push(match position {
                Some(p) => convert(&values[p]).map_err(|problem| bad_row(field, row, problem))?,
                None => fill.unwrap_or_default(),
            });
        }
        let nulls = match fill {
            Some(_) => None,
            None => self.presence.nulls(),
        };
        Ok(Arc::new(PrimitiveArray::<T>::new(column.into(), nulls)))
    }

    fn texts<W: AsRef<[u8]>>(
        &self,
        pick: fn(&Data) -> Option<&[W]>,
        check: impl Fn(&W) -> Result<(), String>,
    ) -> Result<ArrayRef, Failure> {
        let field = self.field();
        let values = self.payload(pick)?;
        let layout = self.presence.layout(values.len())?;
        let fill = match &field.default {
            Some(Value::Str(text)) => Some(text.as_str()),
            _ => None,
        };
        let rows = self.presence.rows;
        // Offsets are 32-bit; this bound also keeps them from overflowing.
        let mut bytes: usize = values.iter().map(|v| v.as_ref().len()).sum();
        let filled = (rows - self.presence.present()).checked_mul(fill.map_or(0, str::len));
        bytes = filled
            .and_then(|f| f.checked_add(bytes))
            .unwrap_or(usize::MAX);
        check_size(field, 1, bytes)?;
        check_size(field, rows, size_of::<i32>())?;

        let mut column = StringBuilder::with_capacity(rows, bytes);
        for (row, position) in layout.iter().enumerate() {
            let Some(position) = position else {
                column.append_option(fill);
                continue;
            };
            let value = &values[position];
            check(value).map_err(|problem| bad_row(field, row, problem))?;
            let text = std::str::from_utf8(value.as_ref())
                .map_err(|_| bad_row(field, row, "text is not UTF-8"))?;
            column.append_value(text);
        }
        Ok(Arc::new(column.finish()))
    }

    fn arrays(&self) -> Result<ArrayRef, Failure> {
        let field = self.field();
        let values: &[ScalarField] = match self.data {
            None => &[],
            Some(Data::ArrayData(arrays)) => {
                let element = field.element_type.map_or(0, DataType::wire_number);
                if arrays.element_type != 0 && arrays.element_type != element {
                    return Err(Failure::invalid(format!(
                        "field {}: element type mismatch[expected={element}][actual={}]",
                        field.name, arrays.element_type
                    )));
                }
                &arrays.data
            }
            Some(_) => return Err(wrong_payload(field)),
        };
        let layout = self.presence.layout(values.len())?;
        check_size(field, self.presence.rows, size_of::<i32>())?;
        let rows: Vec<Option<&ScalarField>> =
            layout.iter().map(|p| p.map(|p| &values[p])).collect();
        let lists = Lists {
            presence: self.presence,
            rows: &rows,
        };
        match field.element_type {
            Some(DataType::Bool) => {
                lists.column(bools, |x| Ok(*x), |v| Arc::new(BooleanArray::from(v)))
            }
            Some(DataType::Int8) => lists.numbers::<Int8Type, _>(ints, |x| narrow(*x)),
            Some(DataType::Int16) => lists.numbers::<Int16Type, _>(ints, |x| narrow(*x)),
            Some(DataType::Int32) => lists.numbers::<Int32Type, _>(ints, |x| Ok(*x)),
            Some(DataType::Int64) => lists.numbers::<Int64Type, _>(longs, |x| Ok(*x)),
            Some(DataType::Float) => lists.numbers::<Float32Type, _>(floats, |x| finite32(*x)),
            Some(DataType::Double) => lists.numbers::<Float64Type, _>(doubles, |x| finite64(*x)),
            Some(DataType::VarChar) => {
                let most = field.max_length.unwrap_or(0) as usize;
                let total = Cell::new(0_usize);
                lists.column(
                    strings,
                    |text: &'a String| {
                        total.set(total.get().saturating_add(text.len()));
                        if total.get() > MAX_COLUMN_BYTES {
                            return Err(format!(
                                "more than {MAX_COLUMN_BYTES} bytes in one request"
                            ));
                        }
                        check_length(text, most).map(|()| text.as_str())
                    },
                    |v: Vec<&'a str>| Arc::new(StringArray::from(v)),
                )
            }
            _ => Err(wrong_payload(field)),
        }
    }
}

/// The rows of an array field.
struct Lists<'a, 'p> {
    presence: &'p Presence<'p>,
    rows: &'p [Option<&'a ScalarField>],
}

impl<'a> Lists<'a, '_> {
    fn numbers<T: ArrowPrimitiveType, W>(
        &self,
        pick: fn(&Data) -> Option<&[W]>,
        convert: impl Fn(&W) -> Result<T::Native, String>,
    ) -> Result<ArrayRef, Failure> {
        self.column(pick, convert, |values| {
            Arc::new(PrimitiveArray::<T>::new(values.into(), None))
        })
    }

    fn column<W: 'a, N>(
        &self,
        pick: fn(&Data) -> Option<&[W]>,
        convert: impl Fn(&'a W) -> Result<N, String>,
        finish: impl FnOnce(Vec<N>) -> ArrayRef,
    ) -> Result<ArrayRef, Failure> {
        let field = self.presence.field;
        let most = field.max_capacity.unwrap_or(0) as usize;
        let mut elements = Vec::new();
        let mut lengths = Vec::with_capacity(self.rows.len());
        for (row, list) in self.rows.iter().enumerate() {
            let list: &[W] = match list.and_then(|list| list.data.as_ref()) {
                None => &[],
                Some(data) => {
                    pick(data).ok_or_else(|| bad_row(field, row, "array element type mismatch"))?
                }
            };
            if list.len() > most {
                let problem = format!(
                    "the length ({}) of array exceeds max capacity ({most})",
                    list.len()
                );
                return Err(bad_row(field, row, problem));
            }
            for element in list {
                elements.push(convert(element).map_err(|problem| bad_row(field, row, problem))?);
            }
            lengths.push(list.len());
        }
        // Offsets are 32-bit; this bound also keeps them from overflowing.
        check_size(field, 1, elements.len())?;
        let Arrow::List(item) = arrow_type(field) else {
            return Err(wrong_payload(field));
        };
        let column = ListArray::try_new(
            item,
            OffsetBuffer::from_lengths(lengths),
            finish(elements),
            self.presence.nulls(),
        );
        column
            .map(|column| Arc::new(column) as ArrayRef)
            .map_err(|e| Failure::internal(format!("field {}: {e}", field.name)))
    }
}

/// A native number out of a checked default.
pub(super) trait FromDefault: Sized {
    fn from_default(value: &Value) -> Option<Self>;
}

macro_rules! from_default {
    ($pattern:path: $($name:ty),*) => {$(
        impl FromDefault for $name {
            fn from_default(value: &Value) -> Option<Self> {
                match value {
                    $pattern(x) => Self::try_from(*x).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
from_default!(Value::Int: i8, i16, i32, i64);
from_default!(Value::Float: f64);

impl FromDefault for f32 {
    fn from_default(value: &Value) -> Option<Self> {
        match value {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the default of a Float field was widened from f32"
            )]
            Value::Float(x) => Some(*x as f32),
            _ => None,
        }
    }
}

fn bools(data: &Data) -> Option<&[bool]> {
    match data {
        Data::BoolData(a) => Some(&a.data),
        _ => None,
    }
}

fn ints(data: &Data) -> Option<&[i32]> {
    match data {
        Data::IntData(a) => Some(&a.data),
        _ => None,
    }
}

fn longs(data: &Data) -> Option<&[i64]> {
    match data {
        Data::LongData(a) => Some(&a.data),
        _ => None,
    }
}

fn floats(data: &Data) -> Option<&[f32]> {
    match data {
        Data::FloatData(a) => Some(&a.data),
        _ => None,
    }
}

fn doubles(data: &Data) -> Option<&[f64]> {
    match data {
        Data::DoubleData(a) => Some(&a.data),
        _ => None,
    }
}

fn strings(data: &Data) -> Option<&[String]> {
    match data {
        Data::StringData(a) => Some(&a.data),
        _ => None,
    }
}

fn jsons(data: &Data) -> Option<&[bytes::Bytes]> {
    match data {
        Data::JsonData(a) => Some(&a.data),
        _ => None,
    }
}

fn narrow<T: TryFrom<i32> + Bounds>(value: i32) -> Result<T, String> {
    T::try_from(value)
        .map_err(|_| format!("value {value} out of range: [{}, {}]", T::LEAST, T::MOST))
}

/// The range that an error states.
trait Bounds {
    const LEAST: i32;
    const MOST: i32;
}

impl Bounds for i8 {
    const LEAST: i32 = i8::MIN as i32;
    const MOST: i32 = i8::MAX as i32;
}

impl Bounds for i16 {
    const LEAST: i32 = i16::MIN as i32;
    const MOST: i32 = i16::MAX as i32;
}

fn finite32(value: f32) -> Result<f32, String> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(format!("value '{value}' is not a number or infinity"))
    }
}

fn finite64(value: f64) -> Result<f64, String> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(format!("value '{value}' is not a number or infinity"))
    }
}

fn check_length(text: &str, most: usize) -> Result<(), String> {
    if text.len() > most {
        return Err(format!(
            "length of varchar exceeds max length, length: {}, max length: {most}",
            text.len()
        ));
    }
    Ok(())
}

/// JSON text is kept as it came, but only what every later reader will read is taken: whole, nested no
/// deeper than the reader goes.
fn check_json(text: &bytes::Bytes) -> Result<serde_json::Value, String> {
    if text.len() > MAX_JSON_BYTES {
        return Err(format!(
            "the length ({}) of json exceeds max length ({MAX_JSON_BYTES})",
            text.len()
        ));
    }
    serde_json::from_slice(text).map_err(|e| format!("json is invalid: {e}"))
}

fn check_dynamic(text: &bytes::Bytes, declared: &HashSet<&str>) -> Result<(), String> {
    let serde_json::Value::Object(members) = check_json(text)? else {
        return Err("dynamic field should only contain JSON objects".to_owned());
    };
    for key in members.keys() {
        if key == DYNAMIC_FIELD {
            return Err(format!(
                "cannot set key {DYNAMIC_FIELD} in the dynamic field"
            ));
        }
        if declared.contains(key.as_str()) {
            return Err(format!(
                "dynamic field can not include the static field name: {key}"
            ));
        }
    }
    Ok(())
}
