//! Integers and floats compared by value, without rounding.

use std::cmp::Ordering;

/// 2^63, the first float above every `i64`.
const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;

/// The integer that equals `float`, if there is one.
#[must_use]
pub fn exact_int(float: f64) -> Option<i64> {
    // The cast cannot saturate: the range is checked, and its bounds are exact floats.
    (float.fract() == 0.0 && (-TWO_POW_63..TWO_POW_63).contains(&float)).then_some(float as i64)
}

/// The float that equals `int`, if there is one.
#[must_use]
pub fn exact_float(int: i64) -> Option<f64> {
    let float = int as f64;
    (exact_int(float) == Some(int)).then_some(float)
}

/// Orders an integer and a float by value; `None` for NaN.
///
/// Converting the integer would make 2^53 and 2^53 + 1 equal to the same float.
#[must_use]
pub fn compare_int_float(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= TWO_POW_63 {
        return Some(Ordering::Less);
    }
    if float < -TWO_POW_63 {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    // In range by the two tests above.
    Some(int.cmp(&(whole as i64)).then_with(|| {
        whole
            .partial_cmp(&float)
            .expect("neither side is NaN: tested above")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_beyond_53_bits_stay_apart() {
        let float = 9_007_199_254_740_992.0; // 2^53
        assert_eq!(
            compare_int_float(9_007_199_254_740_992, float),
            Some(Ordering::Equal)
        );
        assert_eq!(
            compare_int_float(9_007_199_254_740_993, float),
            Some(Ordering::Greater)
        );
        assert_eq!(exact_float(9_007_199_254_740_993), None);
        assert_eq!(exact_float(i64::MAX), None);
        assert_eq!(exact_int(float), Some(9_007_199_254_740_992));
    }

    #[test]
    fn fractions_and_extremes_order_by_value() {
        for (int, float, order) in [
            (4, 4.5, Ordering::Less),
            (5, 4.5, Ordering::Greater),
            (-4, -4.5, Ordering::Greater),
            (-5, -4.5, Ordering::Less),
            (0, -0.0, Ordering::Equal),
            (i64::MAX, TWO_POW_63, Ordering::Less),
            (i64::MIN, -TWO_POW_63, Ordering::Equal),
            (i64::MIN, -1e300, Ordering::Greater),
            (i64::MAX, f64::INFINITY, Ordering::Less),
        ] {
            assert_eq!(compare_int_float(int, float), Some(order), "{int} {float}");
        }
        assert_eq!(compare_int_float(1, f64::NAN), None);
        assert_eq!(exact_int(TWO_POW_63), None);
        assert_eq!(exact_int(0.5), None);
        assert_eq!(exact_int(f64::NAN), None);
    }
}
