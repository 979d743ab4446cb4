//! The values of an `in`, arranged for quick membership.

use holdfast_types::Value;

use super::number::{exact_float, exact_int};

/// A set of scalars, each kind sorted and without duplicates. Numbers are equal when their values are,
/// whatever their kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InList {
    /// `[holds false, holds true]`
    bools: [bool; 2],
    ints: Vec<i64>,
    floats: Vec<f64>,
    strs: Vec<Box<str>>,
}

impl InList {
    /// A set of these values. Nulls, lists and floats that are not finite are no members of anything and
    /// are left out. Takes O(n log n).
    pub fn new(values: impl IntoIterator<Item = Value>) -> Self {
        let mut list = Self::default();
        for value in values {
            match value {
                Value::Bool(b) => list.bools[usize::from(b)] = true,
                Value::Int(i) => list.ints.push(i),
                // -0.0 and 0.0 are one value.
                Value::Float(f) if f.is_finite() => list.floats.push(f + 0.0),
                Value::Str(s) => list.strs.push(s.into_boxed_str()),
                Value::Null | Value::List(_) | Value::Float(_) => {}
            }
        }
        list.ints.sort_unstable();
        list.ints.dedup();
        list.floats.sort_unstable_by(f64::total_cmp);
        list.floats.dedup();
        list.strs.sort_unstable();
        list.strs.dedup();
        list
    }

    /// Number of different values.
    #[must_use]
    pub fn len(&self) -> usize {
        let bools = usize::from(self.bools[0]) + usize::from(self.bools[1]);
        bools + self.ints.len() + self.floats.len() + self.strs.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integers, ascending.
    #[must_use]
    pub fn ints(&self) -> &[i64] {
        &self.ints
    }

    /// The floats, ascending, all finite.
    #[must_use]
    pub fn floats(&self) -> &[f64] {
        &self.floats
    }

    /// The texts, ascending by bytes.
    #[must_use]
    pub fn strs(&self) -> &[Box<str>] {
        &self.strs
    }

    /// Whether `value` is a member.
    #[must_use]
    pub fn contains_bool(&self, value: bool) -> bool {
        self.bools[usize::from(value)]
    }

    /// Whether an integer, or a float equal to it, is a member.
    #[must_use]
    pub fn contains_int(&self, value: i64) -> bool {
        self.ints.binary_search(&value).is_ok()
            || (!self.floats.is_empty()
                && exact_float(value).is_some_and(|float| self.holds_float(float)))
    }

    /// Whether a float, or an integer equal to it, is a member.
    #[must_use]
    pub fn contains_float(&self, value: f64) -> bool {
        self.holds_float(value)
            || (!self.ints.is_empty()
                && exact_int(value).is_some_and(|int| self.ints.binary_search(&int).is_ok()))
    }

    /// Whether `value` is a member.
    #[must_use]
    pub fn contains_str(&self, value: &str) -> bool {
        self.strs
            .binary_search_by(|member| (**member).cmp(value))
            .is_ok()
    }

    /// Whether `value` is a member; null and lists never are.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        match value {
            Value::Null | Value::List(_) => false,
            Value::Bool(b) => self.contains_bool(*b),
            Value::Int(i) => self.contains_int(*i),
            Value::Float(f) => self.contains_float(*f),
            Value::Str(s) => self.contains_str(s),
        }
    }

    /// All values: truths, integers, floats, texts, each ascending.
    pub fn values(&self) -> impl Iterator<Item = Value> + '_ {
        let bools = [false, true]
            .into_iter()
            .filter(|b| self.bools[usize::from(*b)])
            .map(Value::Bool);
        bools
            .chain(self.ints.iter().copied().map(Value::Int))
            .chain(self.floats.iter().copied().map(Value::Float))
            .chain(self.strs.iter().map(|s| Value::Str(s.to_string())))
    }

    fn holds_float(&self, value: f64) -> bool {
        !value.is_nan()
            && self
                .floats
                .binary_search_by(|member| member.total_cmp(&(value + 0.0)))
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_value_whatever_their_kind() {
        let list = InList::new([
            Value::Int(3),
            Value::Int(3),
            Value::Int(i64::MAX),
            Value::Float(2.5),
            Value::Float(7.0),
            Value::Float(-0.0),
            Value::Str("b".into()),
            Value::Str("a".into()),
            Value::Bool(true),
            Value::Null,
            Value::Float(f64::NAN),
        ]);
        assert_eq!(list.len(), 8);
        assert!(list.contains_int(3) && list.contains_float(3.0));
        assert!(list.contains_int(7) && list.contains_float(7.0));
        assert!(list.contains_int(0) && list.contains_float(0.0) && list.contains_float(-0.0));
        assert!(list.contains_float(2.5) && !list.contains_float(2.25));
        assert!(list.contains_int(i64::MAX));
        assert!(!list.contains_float(i64::MAX as f64));
        assert!(!list.contains_float(f64::NAN) && !list.contains_float(f64::INFINITY));
        assert!(list.contains_str("a") && !list.contains_str("c"));
        assert!(list.contains_bool(true) && !list.contains_bool(false));
        assert!(!list.contains(&Value::Null));
        assert_eq!(list.ints(), [3, i64::MAX]);
        assert!(InList::default().is_empty());
    }
}
