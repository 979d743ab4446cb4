//! Elements added to and removed from arrays; pure.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, ListArray, UInt32Array,
    cast::AsArray,
    types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType as Arrow;
use arrow_select::{concat::concat, take::take};
use holdfast_types::{Failure, FieldSchema, columns::arrow_type};

/// What the given elements do to the stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArrayOp {
    /// They are added at the end.
    Append,
    /// All that are equal to one of them are removed.
    Remove,
}

/// The arrays after the operation; `old` is the stored row of each given one. A row that gives no array
/// keeps its own; a row that is not stored, or is null, counts as empty, and stays null when nothing is
/// added and the field is nullable.
///
/// # Errors
/// `InvalidArgument`: more elements than the field's capacity.
pub(crate) fn apply(
    op: ArrayOp,
    field: &FieldSchema,
    stored: &ArrayRef,
    given: &ArrayRef,
    old: &[Option<usize>],
) -> Result<ArrayRef, Failure> {
    let (Some(stored), Some(given)) = (stored.as_list_opt::<i32>(), given.as_list_opt::<i32>())
    else {
        return Err(Failure::internal(format!(
            "field {}: its column is no list",
            field.name
        )));
    };
    let defect = |e: &dyn std::fmt::Display| {
        Failure::internal(format!(
            "field {}: elements can't be merged: {e}",
            field.name
        ))
    };
    let elements =
        concat(&[stored.values().as_ref(), given.values().as_ref()]).map_err(|e| defect(&e))?;
    let first_given = stored.values().len();
    let equal = match op {
        ArrayOp::Append => Vec::new(),
        ArrayOp::Remove => {
            classes(elements.as_ref()).ok_or_else(|| defect(&elements.data_type()))?
        }
    };
    let capacity = field.max_capacity.unwrap_or(0) as usize;

    let mut taken: Vec<u32> = Vec::new();
    let mut lengths = Vec::with_capacity(old.len());
    let mut valid = Vec::with_capacity(old.len());
    for (row, old) in old.iter().enumerate() {
        let before = old.and_then(|old| range(stored, old));
        let change = range(given, row).map(|r| r.start + first_given..r.end + first_given);
        let adds = op == ArrayOp::Append && change.is_some();
        valid.push(before.is_some() || adds || !field.nullable);
        let (before, change) = (before.unwrap_or(0..0), change.unwrap_or(0..0));
        let start = taken.len();
        match op {
            ArrayOp::Append => taken.extend(before.chain(change).map(index)),
            ArrayOp::Remove => {
                let gone: HashSet<u32> = change.map(|i| equal[i]).collect();
                taken.extend(before.filter(|&i| !gone.contains(&equal[i])).map(index));
            }
        }
        let length = taken.len() - start;
        if length > capacity {
            return Err(Failure::invalid(format!(
                "the length ({length}) of array exceeds max capacity ({capacity})[field={}][row number={row}]",
                field.name
            )));
        }
        if i32::try_from(taken.len()).is_err() {
            return Err(Failure::invalid(format!(
                "field {}: too many elements at once, send fewer rows",
                field.name
            )));
        }
        lengths.push(length);
    }
    let Arrow::List(item) = arrow_type(field) else {
        return Err(Failure::internal(format!(
            "field {}: not an array",
            field.name
        )));
    };
    let values =
        take(elements.as_ref(), &UInt32Array::from(taken), None).map_err(|e| defect(&e))?;
    let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
    let lists = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, nulls)
        .map_err(|e| defect(&e))?;
    Ok(Arc::new(lists))
}

/// The elements of a row; `None` when it is null.
fn range(lists: &ListArray, row: usize) -> Option<Range<usize>> {
    let end = |i: usize| {
        usize::try_from(lists.value_offsets()[i]).expect("offsets of a list are not negative")
    };
    lists.is_valid(row).then(|| end(row)..end(row + 1))
}

fn index(i: usize) -> u32 {
    u32::try_from(i).expect("two columns, each with 31-bit offsets")
}

/// A value that elements are compared by.
#[derive(PartialEq, Eq, Hash)]
enum Element<'a> {
    Int(i64),
    /// The bits, a negative zero being zero.
    Float(u64),
    Str(&'a str),
}

/// A number for each element, the same for those that are equal.
fn classes(elements: &dyn Array) -> Option<Vec<u32>> {
    use Element::{Float, Int, Str};
    let float = |x: f64| Float((x + 0.0).to_bits());
    let all: Vec<Element<'_>> = match elements.data_type() {
        Arrow::Boolean => elements
            .as_boolean_opt()?
            .values()
            .iter()
            .map(|b| Int(b.into()))
            .collect(),
        Arrow::Int8 => elements
            .as_primitive_opt::<Int8Type>()?
            .values()
            .iter()
            .map(|&x| Int(x.into()))
            .collect(),
        Arrow::Int16 => elements
            .as_primitive_opt::<Int16Type>()?
            .values()
            .iter()
            .map(|&x| Int(x.into()))
            .collect(),
        Arrow::Int32 => elements
            .as_primitive_opt::<Int32Type>()?
            .values()
            .iter()
            .map(|&x| Int(x.into()))
            .collect(),
        Arrow::Int64 => elements
            .as_primitive_opt::<Int64Type>()?
            .values()
            .iter()
            .map(|&x| Int(x))
            .collect(),
        Arrow::Float32 => elements
            .as_primitive_opt::<Float32Type>()?
            .values()
            .iter()
            .map(|&x| float(x.into()))
            .collect(),
        Arrow::Float64 => elements
            .as_primitive_opt::<Float64Type>()?
            .values()
            .iter()
            .map(|&x| float(x))
            .collect(),
        Arrow::Utf8 => {
            let texts = elements.as_string_opt::<i32>()?;
            (0..texts.len()).map(|i| Str(texts.value(i))).collect()
        }
        _ => return None,
    };
    let mut known: HashMap<Element<'_>, u32> = HashMap::new();
    all.into_iter()
        .map(|element| {
            let next = u32::try_from(known.len()).ok()?;
            Some(*known.entry(element).or_insert(next))
        })
        .collect()
}
