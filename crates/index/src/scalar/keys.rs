//! The distinct values and how they compare.

use std::{cmp::Ordering, ops::Range};

use holdfast_types::Value;

use super::tag;
use crate::{
    error::DamagedIndex,
    file::{Reader, Section},
};

/// Families of values, and their numbers in a file.
pub(super) mod family {
    pub(in crate::scalar) const BOOL: u32 = 1;
    pub(in crate::scalar) const INT: u32 = 2;
    pub(in crate::scalar) const FLOAT: u32 = 3;
    pub(in crate::scalar) const TEXT: u32 = 4;
}

/// Distinct values, ascending.
#[derive(Clone)]
pub(super) enum Keys {
    /// 0 and 1.
    Bool(Section<i64>),
    Int(Section<i64>),
    /// Without NaN and -0.
    Float(Section<f64>),
    Text {
        offsets: Section<u32>,
        bytes: Section<u8>,
    },
}

impl Keys {
    /// `None` when there is no such family.
    pub(super) fn open(
        file: &Reader,
        number: u32,
        count: usize,
    ) -> Result<Option<Self>, DamagedIndex> {
        Ok(Some(match number {
            family::BOOL | family::INT => {
                let keys = file.array::<i64>(tag::KEYS, "values", count)?;
                if let Some(i) = keys.get().windows(2).position(|w| w[0] >= w[1]) {
                    return Err(keys.damaged(i, "values do not ascend"));
                }
                if number == family::INT {
                    Self::Int(keys)
                } else {
                    if let Some(i) = keys.get().iter().position(|k| !(0..=1).contains(k)) {
                        return Err(keys.damaged(i, "neither true nor false"));
                    }
                    Self::Bool(keys)
                }
            }
            family::FLOAT => {
                let keys = file.array::<f64>(tag::KEYS, "values", count)?;
                if let Some(i) = keys.get().iter().position(|k| k.is_nan()) {
                    return Err(keys.damaged(i, "not a number"));
                }
                if let Some(i) = keys.get().windows(2).position(|w| w[0] >= w[1]) {
                    return Err(keys.damaged(i, "values do not ascend"));
                }
                Self::Float(keys)
            }
            family::TEXT => {
                let offsets = file.array::<u32>(tag::KEY_OFFSETS, "value offsets", count + 1)?;
                let bytes = file.bytes(tag::KEYS, "values")?;
                offsets.check_offsets(bytes.get().len())?;
                let keys = Self::Text { offsets, bytes };
                keys.check_texts()?;
                keys
            }
            _ => return Ok(None),
        }))
    }

    fn check_texts(&self) -> Result<(), DamagedIndex> {
        let Self::Text { offsets, bytes } = self else {
            return Ok(());
        };
        for i in 0..self.len() {
            let at = offsets.get()[i] as usize;
            if std::str::from_utf8(self.text(i)).is_err() {
                return Err(bytes.damaged(at, "not UTF-8"));
            }
            if i > 0 && self.text(i - 1) >= self.text(i) {
                return Err(bytes.damaged(at, "values do not ascend"));
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bool(keys) | Self::Int(keys) => keys.get().len(),
            Self::Float(keys) => keys.get().len(),
            Self::Text { offsets, .. } => offsets.get().len() - 1,
        }
    }

    /// The bytes of text `i`; none for other families.
    fn text(&self, i: usize) -> &[u8] {
        match self {
            Self::Text { offsets, bytes } => {
                &bytes.get()[offsets.get()[i] as usize..offsets.get()[i + 1] as usize]
            }
            Self::Bool(_) | Self::Int(_) | Self::Float(_) => &[],
        }
    }

    /// The keys equal to `value`: an empty range at its place when there is none. `None` when the value is
    /// not comparable with the family. NaN is at no particular place.
    pub(super) fn position(&self, value: &Value) -> Option<Range<usize>> {
        let between = |less: usize, not_greater: usize| Some(less..not_greater);
        match (self, value) {
            (Self::Bool(keys), Value::Bool(b)) => {
                let (keys, b) = (keys.get(), i64::from(*b));
                between(
                    keys.partition_point(|&k| k < b),
                    keys.partition_point(|&k| k <= b),
                )
            }
            (Self::Int(keys), Value::Int(v)) => {
                let keys = keys.get();
                between(
                    keys.partition_point(|k| k < v),
                    keys.partition_point(|k| k <= v),
                )
            }
            (Self::Int(keys), Value::Float(v)) => {
                let keys = keys.get();
                between(
                    keys.partition_point(|&k| int_to_float(k, *v) == Some(Ordering::Less)),
                    keys.partition_point(|&k| {
                        matches!(int_to_float(k, *v), Some(Ordering::Less | Ordering::Equal))
                    }),
                )
            }
            (Self::Float(keys), Value::Float(v)) => {
                let keys = keys.get();
                between(
                    keys.partition_point(|k| k < v),
                    keys.partition_point(|k| k <= v),
                )
            }
            (Self::Float(keys), Value::Int(v)) => {
                let keys = keys.get();
                between(
                    keys.partition_point(|&k| int_to_float(*v, k) == Some(Ordering::Greater)),
                    keys.partition_point(|&k| {
                        matches!(
                            int_to_float(*v, k),
                            Some(Ordering::Greater | Ordering::Equal)
                        )
                    }),
                )
            }
            (Self::Text { .. }, Value::Str(v)) => between(
                self.texts_before(|text| text < v.as_bytes()),
                self.texts_before(|text| text <= v.as_bytes()),
            ),
            _ => None,
        }
    }

    /// The texts that start with `prefix`; `None` for other families.
    pub(super) fn prefix(&self, prefix: &str) -> Option<Range<usize>> {
        let prefix = prefix.as_bytes();
        matches!(self, Self::Text { .. }).then(|| {
            let start = self.texts_before(|text| text < prefix);
            start..self.texts_before(|text| text < prefix || text.starts_with(prefix))
        })
    }

    /// The texts that `matches` says yes to; `None` for other families.
    pub(super) fn matching(&self, mut matches: impl FnMut(&str) -> bool) -> Option<Vec<usize>> {
        matches!(self, Self::Text { .. }).then(|| {
            (0..self.len())
                .filter(|&i| std::str::from_utf8(self.text(i)).is_ok_and(&mut matches))
                .collect()
        })
    }

    /// How many texts, from the first, `before` says yes to.
    fn texts_before(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if before(self.text(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Compares by mathematical value, without rounding the integer. `None` for NaN.
fn int_to_float(int: i64, float: f64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63
    if float.is_nan() {
        return None;
    }
    if float >= LIMIT {
        return Some(Ordering::Less);
    }
    if float < -LIMIT {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    let fraction = 0.0_f64.partial_cmp(&(float - whole))?;
    Some(int.cmp(&(whole as i64)).then(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_without_rounding() {
        use Ordering::{Equal, Greater, Less};
        for (int, float, expected) in [
            (3, 3.0, Equal),
            (3, 3.5, Less),
            (-3, -3.5, Greater),
            (0, -0.0, Equal),
            (i64::MAX, 9_223_372_036_854_775_807.0, Less),
            (i64::MIN, -9_223_372_036_854_775_808.0, Equal),
            ((1 << 53) + 1, 9_007_199_254_740_992.0, Greater),
            (0, f64::INFINITY, Less),
            (0, f64::NEG_INFINITY, Greater),
        ] {
            assert_eq!(int_to_float(int, float), Some(expected), "{int} {float}");
        }
        assert_eq!(int_to_float(0, f64::NAN), None);
    }
}
