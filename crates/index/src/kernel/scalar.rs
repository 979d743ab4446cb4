//! The oracle: plain loops in f64 and i64, for tests and for rows whose norm leaves the range of f32.

/// Inner product in f64.
pub(crate) fn dot(a: &[f32], b: impl IntoIterator<Item = f32>) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&x, y)| f64::from(x) * f64::from(y))
        .sum()
}

/// Cosine in f64; 0 when either is the zero vector.
pub(crate) fn cosine(a: &[f32], b: impl IntoIterator<Item = f32> + Clone) -> f64 {
    let norm_b: f64 = b.clone().into_iter().map(|y| f64::from(y).powi(2)).sum();
    let norm_a: f64 = a.iter().map(|&x| f64::from(x).powi(2)).sum();
    if norm_a == 0.0 || norm_b == 0.0 {
        return 0.0;
    }
    // Rooted apart: the product of two squared norms may leave even f64.
    (dot(a, b) / (norm_a.sqrt() * norm_b.sqrt())).clamp(-1.0, 1.0)
}

/// Squared Euclidean distance in f64.
#[cfg(test)]
pub(crate) fn l2(a: &[f32], b: impl IntoIterator<Item = f32>) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&x, y)| (f64::from(x) - f64::from(y)).powi(2))
        .sum()
}
