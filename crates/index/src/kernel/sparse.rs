//! Inner product of sparse vectors.

/// Inner product of two lists of (index, value) pairs, both ascending by index. Terms are added in order
/// of index, in f32, so that an inverted list that adds in the same order gives the same bits.
pub(crate) fn dot(query: &[(u32, f32)], row: impl Iterator<Item = (u32, f32)>) -> f32 {
    let mut sum = 0.0;
    let mut rest = query;
    for (index, value) in row {
        while let [(first, _), tail @ ..] = rest
            && *first < index
        {
            rest = tail;
        }
        match rest {
            [] => break,
            [(first, weight), ..] if *first == index => sum += weight * value,
            _ => {}
        }
    }
    sum
}
