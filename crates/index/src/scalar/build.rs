//! From an Arrow column to bytes.

use arrow_array::{
    Array,
    cast::AsArray,
    types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type},
};
use arrow_schema::DataType as Arrow;

use super::{ScalarIndexKind, keys::family, meta, tag};
use crate::{
    error::BuildError,
    file::{Kind, Plain, Writer, le_bytes},
};

/// Builds an index over a column of `Bool`, an integer, a float or `VarChar`, or of lists of those; as the
/// bytes that [`super::ScalarIndex::open`] takes.
///
/// # Errors
/// [`BuildError::Unsupported`] for other columns, [`BuildError::TooLarge`] beyond 2^32 rows, elements or
/// bytes of distinct text.
pub fn build_scalar(kind: ScalarIndexKind, column: &dyn Array) -> Result<Vec<u8>, BuildError> {
    let rows = u32::try_from(column.len()).map_err(|_| BuildError::TooLarge { what: "rows" })?;
    let nulls: Vec<u32> = (0..rows)
        .filter(|&row| column.is_null(row as usize))
        .collect();
    // (row, element) of what is indexed: a scalar is its own element.
    let (elements, places, array) = match column.data_type() {
        Arrow::List(_) => {
            let lists = column.as_list::<i32>();
            let mut places: Vec<(u32, usize)> = Vec::new();
            for row in 0..rows {
                let (from, to) = {
                    let offsets = lists.value_offsets();
                    (
                        offsets[row as usize] as usize,
                        offsets[row as usize + 1] as usize,
                    )
                };
                if lists.is_valid(row as usize) {
                    places.extend((from..to).map(|element| (row, element)));
                }
            }
            (lists.values().as_ref(), places, true)
        }
        _ => (
            column,
            (0..rows).map(|row| (row, row as usize)).collect(),
            false,
        ),
    };
    let mut places = places;
    places.retain(|&(_, element)| elements.is_valid(element));
    let unsupported = || BuildError::Unsupported {
        what: format!("a scalar index over a column of {}", column.data_type()),
    };
    let write = Head {
        kind,
        rows,
        array,
        nulls,
    };

    macro_rules! ints {
        ($type:ty) => {{
            let values = elements.as_primitive::<$type>().values();
            let pairs = places
                .iter()
                .map(|&(row, i)| (i64::from(values[i]), row))
                .collect();
            write.numbers(family::INT, &sorted(pairs, i64::cmp))
        }};
    }
    match elements.data_type() {
        Arrow::Boolean => {
            let values = elements.as_boolean();
            let pairs = places
                .iter()
                .map(|&(row, i)| (i64::from(values.value(i)), row))
                .collect();
            write.numbers(family::BOOL, &sorted(pairs, i64::cmp))
        }
        Arrow::Int8 => ints!(Int8Type),
        Arrow::Int16 => ints!(Int16Type),
        Arrow::Int32 => ints!(Int32Type),
        Arrow::Int64 => ints!(Int64Type),
        Arrow::Float32 => {
            let values = elements.as_primitive::<Float32Type>().values();
            let pairs = places
                .iter()
                .map(|&(row, i)| (f64::from(values[i]), row))
                .collect();
            write.numbers(family::FLOAT, &floats(pairs))
        }
        Arrow::Float64 => {
            let values = elements.as_primitive::<Float64Type>().values();
            let pairs = places.iter().map(|&(row, i)| (values[i], row)).collect();
            write.numbers(family::FLOAT, &floats(pairs))
        }
        Arrow::Utf8 => {
            let values = elements.as_string::<i32>();
            let pairs = places
                .iter()
                .map(|&(row, i)| (values.value(i), row))
                .collect();
            write.texts(&sorted(pairs, |a: &&str, b| a.as_bytes().cmp(b.as_bytes())))
        }
        _ => Err(unsupported()),
    }
}

/// By key, then row; a row that has a key twice has it once.
fn sorted<K: PartialEq>(
    mut pairs: Vec<(K, u32)>,
    order: impl Fn(&K, &K) -> std::cmp::Ordering,
) -> Vec<(K, u32)> {
    pairs.sort_unstable_by(|a, b| order(&a.0, &b.0).then(a.1.cmp(&b.1)));
    pairs.dedup();
    pairs
}

/// Without NaN, -0 as 0.
fn floats(mut pairs: Vec<(f64, u32)>) -> Vec<(f64, u32)> {
    pairs.retain(|(x, _)| !x.is_nan());
    for (x, _) in &mut pairs {
        *x += 0.0;
    }
    sorted(pairs, f64::total_cmp)
}

struct Head {
    kind: ScalarIndexKind,
    rows: u32,
    array: bool,
    nulls: Vec<u32>,
}

impl Head {
    fn numbers<K: Plain + PartialEq>(
        self,
        family: u32,
        pairs: &[(K, u32)],
    ) -> Result<Vec<u8>, BuildError> {
        let mut keys: Vec<K> = pairs.iter().map(|p| p.0).collect();
        keys.dedup();
        let mut writer = Writer::new(Kind::Scalar);
        writer.section(tag::META, self.meta(family, keys.len()));
        writer.section(tag::KEYS, le_bytes(&keys));
        self.lists(writer, pairs)
    }

    fn texts(self, pairs: &[(&str, u32)]) -> Result<Vec<u8>, BuildError> {
        let mut keys: Vec<&str> = pairs.iter().map(|p| p.0).collect();
        keys.dedup();
        let mut bytes = Vec::new();
        let mut offsets = vec![0_u32];
        for key in &keys {
            bytes.extend(key.as_bytes());
            let end = u32::try_from(bytes.len()).map_err(|_| BuildError::TooLarge {
                what: "bytes of distinct text",
            })?;
            offsets.push(end);
        }
        let mut writer = Writer::new(Kind::Scalar);
        writer.section(tag::META, self.meta(family::TEXT, keys.len()));
        writer.section(tag::KEYS, bytes);
        writer.section(tag::KEY_OFFSETS, le_bytes(&offsets));
        self.lists(writer, pairs)
    }

    fn meta(&self, family: u32, keys: usize) -> Vec<u8> {
        let mut words = [0_u32; meta::WORDS];
        words[meta::ROWS] = self.rows;
        words[meta::FAMILY] = family;
        words[meta::KIND] = self.kind.number();
        words[meta::ARRAY] = u32::from(self.array);
        // No more keys than pairs, whose number `lists` checks.
        words[meta::KEYS] = keys as u32;
        le_bytes(&words)
    }

    fn lists<K: PartialEq>(
        self,
        mut writer: Writer,
        pairs: &[(K, u32)],
    ) -> Result<Vec<u8>, BuildError> {
        let count =
            u32::try_from(pairs.len()).map_err(|_| BuildError::TooLarge { what: "elements" })?;
        let mut offsets: Vec<u32> = (0..count)
            .filter(|&i| i == 0 || pairs[i as usize - 1].0 != pairs[i as usize].0)
            .collect();
        offsets.push(count);
        let rows: Vec<u32> = pairs.iter().map(|p| p.1).collect();
        writer.section(tag::OFFSETS, le_bytes(&offsets));
        writer.section(tag::ROWS, le_bytes(&rows));
        writer.section(tag::NULLS, le_bytes(&self.nulls));
        writer.finish()
    }
}
