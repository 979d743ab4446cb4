//! From rows that were found to what the caller gets: hits, groups and ordered rows.

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, ListArray, StringArray,
};
use holdfast_expr::{Access, PathStep};
use holdfast_index::{Cancel, Neighbor};
use holdfast_types::DataType;
use serde_json::Value as Json;

use crate::{GroupBy, GroupValue, SegmentError, fields::downcast, filter::json::at_path};

/// The groups that rows belong to, given the column of the grouping field for those rows.
pub(crate) fn group_values(
    access: &Access,
    column: &ArrayRef,
) -> Result<Vec<GroupValue>, SegmentError> {
    let of_rows = |value: &dyn Fn(usize) -> GroupValue| {
        (0..column.len())
            .map(|row| {
                if column.is_null(row) {
                    GroupValue::Null
                } else {
                    value(row)
                }
            })
            .collect()
    };
    if access.data_type == DataType::Json {
        let text: &StringArray = downcast(&**column)?;
        return Ok(of_rows(&|row| {
            json_group(at_path(text.value(row), &access.path))
        }));
    }
    if let (DataType::Array, Some(PathStep::Index(index))) = (access.data_type, access.path.first())
    {
        let list: &ListArray = downcast(&**column)?;
        return (0..list.len())
            .map(|row| {
                if list.is_null(row) || *index >= list.value_length(row) as usize {
                    return Ok(GroupValue::Null);
                }
                let element = list.value(row).slice(*index, 1);
                Ok(scalar_groups(&element)?.remove(0))
            })
            .collect();
    }
    scalar_groups(column)
}

fn scalar_groups(column: &ArrayRef) -> Result<Vec<GroupValue>, SegmentError> {
    macro_rules! groups {
        ($array:ty, $value:expr) => {{
            let array: &$array = downcast(&**column)?;
            array
                .iter()
                .map(|value| value.map_or(GroupValue::Null, $value))
                .collect()
        }};
    }
    use arrow_schema::DataType as Arrow;
    Ok(match column.data_type() {
        Arrow::Boolean => groups!(BooleanArray, GroupValue::Bool),
        Arrow::Int8 => groups!(Int8Array, |v| GroupValue::Int(v.into())),
        Arrow::Int16 => groups!(Int16Array, |v| GroupValue::Int(v.into())),
        Arrow::Int32 => groups!(Int32Array, |v| GroupValue::Int(v.into())),
        Arrow::Int64 => groups!(Int64Array, GroupValue::Int),
        Arrow::Float32 => groups!(Float32Array, |v| json_group(Some(f64::from(v).into()))),
        Arrow::Float64 => groups!(Float64Array, |v| json_group(Some(v.into()))),
        Arrow::Utf8 => groups!(StringArray, |v| GroupValue::Str(v.into())),
        other => {
            return Err(SegmentError::Invalid(format!(
                "group_by_field: a column of {other} cannot be grouped by"
            )));
        }
    })
}

fn json_group(value: Option<Json>) -> GroupValue {
    match value {
        None | Some(Json::Null) => GroupValue::Null,
        Some(Json::Bool(b)) => GroupValue::Bool(b),
        Some(Json::String(s)) => GroupValue::Str(s.into()),
        Some(Json::Number(n)) => match n.as_i64() {
            Some(i) => GroupValue::Int(i),
            None => GroupValue::Json(n.to_string().into()),
        },
        Some(other) => GroupValue::Json(other.to_string().into()),
    }
}

/// A row with its distance and its group.
pub(crate) type Grouped = (Neighbor, GroupValue);

/// The best `groups` groups with at most `group_size` rows each: groups by their best row, rows of a
/// group adjacent, nearest first.
///
/// `nearest(k)` gives the `k` nearest rows and `group_of` their groups. `k` widens until there are
/// enough groups (with `strict`: full ones) or no more rows.
pub(crate) fn grouped(
    group_by: &GroupBy,
    groups: usize,
    rows: usize,
    cancel: &Cancel,
    mut nearest: impl FnMut(usize) -> Result<Vec<Neighbor>, SegmentError>,
    mut group_of: impl FnMut(&[u32]) -> Result<Vec<GroupValue>, SegmentError>,
) -> Result<Vec<Grouped>, SegmentError> {
    let size = group_by.group_size.max(1);
    let mut k = groups
        .saturating_mul(size)
        .saturating_mul(2)
        .max(16)
        .min(rows);
    loop {
        cancel.check()?;
        let found = nearest(k)?;
        let exhausted = found.len() < k || k >= rows;
        let numbers: Vec<u32> = found.iter().map(|n| n.row).collect();
        let values = group_of(&numbers)?;
        let best = best_groups(found.into_iter().zip(values), groups, size);
        let enough = best.len() >= groups
            && (!group_by.strict || best.iter().all(|group| group.len() >= size));
        if exhausted || enough {
            return Ok(best.into_iter().flatten().collect());
        }
        k = k.saturating_mul(4).min(rows);
    }
}

/// Takes rows nearest first; keeps the first `groups` groups and the first `size` rows of each.
pub(crate) fn best_groups<T, G: Eq + std::hash::Hash + Clone>(
    rows: impl Iterator<Item = (T, G)>,
    groups: usize,
    size: usize,
) -> Vec<Vec<(T, G)>> {
    let mut places = std::collections::HashMap::new();
    let mut best: Vec<Vec<(T, G)>> = Vec::new();
    for (row, group) in rows {
        let next = best.len();
        let place = match places.get(&group) {
            Some(place) => *place,
            None if next < groups => {
                places.insert(group.clone(), next);
                best.push(Vec::new());
                next
            }
            None => continue,
        };
        if best[place].len() < size {
            best[place].push((row, group));
        }
    }
    best
}
