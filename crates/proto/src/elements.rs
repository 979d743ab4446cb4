//! The elements of vectors as bytes: little-endian, finite, in range. Errors are the end of a sentence
//! that the caller begins with the place.

use half::{bf16, f16};
use holdfast_types::limits::MAX_SPARSE_ENTRIES;

/// Bytes of one (u32 index, f32 value) pair.
const SPARSE_ENTRY_BYTES: usize = 8;

fn not_finite(value: f32) -> String {
    format!("value '{value}' is not a number or infinity")
}

/// Refuses NaN and infinities.
pub(crate) fn check_finite(values: &[f32]) -> Result<(), String> {
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(not_finite(*x)),
        None => Ok(()),
    }
}

/// Finite f32 elements; bytes behind the last whole element are ignored.
pub(crate) fn f32s(bytes: &[u8]) -> Result<Vec<f32>, String> {
    let (chunks, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = chunks.iter().map(|b| f32::from_le_bytes(*b)).collect();
    check_finite(&values)?;
    Ok(values)
}

/// Finite binary16 elements; a byte behind the last whole element is ignored.
pub(crate) fn f16s(bytes: &[u8]) -> Result<Vec<f16>, String> {
    let (chunks, _) = bytes.as_chunks::<2>();
    let values: Vec<f16> = chunks.iter().map(|b| f16::from_le_bytes(*b)).collect();
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(not_finite(x.to_f32())),
        None => Ok(values),
    }
}

/// Finite bfloat16 elements; a byte behind the last whole element is ignored.
pub(crate) fn bf16s(bytes: &[u8]) -> Result<Vec<bf16>, String> {
    let (chunks, _) = bytes.as_chunks::<2>();
    let values: Vec<bf16> = chunks.iter().map(|b| bf16::from_le_bytes(*b)).collect();
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(not_finite(x.to_f32())),
        None => Ok(values),
    }
}

/// i8 elements.
pub(crate) fn i8s(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|b| i8::from_le_bytes([*b])).collect()
}

/// The nearest binary16 of each element, which has to exist.
pub(crate) fn to_f16s(values: &[f32]) -> Result<Vec<f16>, String> {
    narrowed(values, f16::from_f32, |x| x.is_finite(), "float16")
}

/// The nearest bfloat16 of each element, which has to exist.
pub(crate) fn to_bf16s(values: &[f32]) -> Result<Vec<bf16>, String> {
    narrowed(values, bf16::from_f32, |x| x.is_finite(), "bfloat16")
}

fn narrowed<T: Copy>(
    values: &[f32],
    narrow: impl Fn(f32) -> T,
    is_finite: impl Fn(T) -> bool,
    what: &str,
) -> Result<Vec<T>, String> {
    check_finite(values)?;
    values
        .iter()
        .map(|x| {
            let narrowed = narrow(*x);
            if is_finite(narrowed) {
                Ok(narrowed)
            } else {
                Err(format!("value {x} is out of the range of {what}"))
            }
        })
        .collect()
}

/// The entries of one sparse vector: indexes strictly ascending and below 2^32 - 1, values finite and not
/// negative. No entry at all is the zero vector.
pub(crate) fn sparse(bytes: &[u8]) -> Result<Vec<(u32, f32)>, String> {
    let (chunks, rest) = bytes.as_chunks::<SPARSE_ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(format!(
            "invalid data length in sparse float vector: {} bytes are not pairs of {SPARSE_ENTRY_BYTES}",
            bytes.len()
        ));
    }
    if chunks.len() > MAX_SPARSE_ENTRIES {
        return Err(format!(
            "sparse float vector has {} entries, more than {MAX_SPARSE_ENTRIES}",
            chunks.len()
        ));
    }
    let mut entries: Vec<(u32, f32)> = Vec::with_capacity(chunks.len());
    for [a, b, c, d, e, f, g, h] in chunks {
        let index = u32::from_le_bytes([*a, *b, *c, *d]);
        let value = f32::from_le_bytes([*e, *f, *g, *h]);
        if index == u32::MAX {
            return Err(
                "invalid index in sparse float vector: must be less than 2^32-1".to_owned(),
            );
        }
        if entries.last().is_some_and(|(last, _)| *last >= index) {
            return Err(format!(
                "unsorted or same indices in sparse float vector: {index}"
            ));
        }
        check_finite(&[value])?;
        if value < 0.0 {
            return Err(format!("negative value in sparse float vector: {value}"));
        }
        entries.push((index, value));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(entries: &[(u32, f32)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|(i, v)| [i.to_le_bytes(), v.to_le_bytes()].concat())
            .collect()
    }

    #[test]
    fn sparse_entries_ascend_and_are_finite() {
        let good = [(0, 0.5), (7, 0.0), (u32::MAX - 1, 3.0)];
        assert_eq!(sparse(&pairs(&good)), Ok(good.to_vec()));
        assert_eq!(sparse(&[]), Ok(vec![]));

        #[track_caller]
        fn check(bytes: &[u8], expect: &str) {
            let text = sparse(bytes).expect_err("refused");
            assert!(text.contains(expect), "{text}");
        }
        check(&pairs(&good)[..12], "invalid data length");
        check(&pairs(&[(1, 1.0), (1, 1.0)]), "unsorted or same");
        check(&pairs(&[(2, 1.0), (1, 1.0)]), "unsorted or same");
        check(&pairs(&[(1, -1.0)]), "negative value");
        check(&pairs(&[(1, f32::NAN)]), "not a number");
        check(&pairs(&[(u32::MAX, 1.0)]), "invalid index");
        let many: Vec<(u32, f32)> = (0..65_537).map(|i| (i, 1.0)).collect();
        check(&pairs(&many), "more than 65536");
    }

    #[test]
    fn narrowing_rounds_but_does_not_overflow() {
        assert_eq!(to_f16s(&[1.0, -65_504.0]), Ok(vec![f16::ONE, f16::MIN]));
        assert_eq!(
            to_f16s(&[65_520.0]),
            Err("value 65520 is out of the range of float16".to_owned())
        );
        assert!(to_bf16s(&[3.0e38]).is_ok());
        assert!(to_bf16s(&[f32::MAX]).is_err());
        assert!(to_bf16s(&[f32::INFINITY]).is_err());
        assert!(f16s(&f16::NAN.to_le_bytes()).is_err());
        assert!(bf16s(&bf16::INFINITY.to_le_bytes()).is_err());
    }
}
