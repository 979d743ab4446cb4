//! Rows of any dense type as f32, normalised for cosine.

use holdfast_types::Metric;

use crate::vectors::{QueryVector, VectorData};

/// Dense, non-binary rows read as f32.
#[derive(Clone, Copy)]
pub(super) struct FloatRows<'a> {
    data: VectorData<'a>,
    metric: Metric,
}

impl<'a> FloatRows<'a> {
    /// `None` for binary and sparse vectors.
    pub(super) fn new(data: VectorData<'a>, metric: Metric) -> Option<Self> {
        match data {
            VectorData::Binary { .. } | VectorData::Sparse(_) => None,
            VectorData::F32 { .. }
            | VectorData::F16 { .. }
            | VectorData::Bf16 { .. }
            | VectorData::I8 { .. } => Some(Self { data, metric }),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    pub(super) fn dim(&self) -> usize {
        self.data.dim()
    }

    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    /// Row `i`, of unit length for cosine unless it is zero.
    pub(super) fn read(&self, i: usize, out: &mut [f32]) {
        let at = i * self.dim()..(i + 1) * self.dim();
        match self.data {
            VectorData::F32 { data, .. } => out.copy_from_slice(&data[at]),
            VectorData::F16 { data, .. } => fill(out, data[at].iter().map(|x| x.to_f32())),
            VectorData::Bf16 { data, .. } => fill(out, data[at].iter().map(|x| x.to_f32())),
            VectorData::I8 { data, .. } => fill(out, data[at].iter().map(|&x| f32::from(x))),
            VectorData::Binary { .. } | VectorData::Sparse(_) => {
                unreachable!("new refuses these types")
            }
        }
        if self.metric == Metric::Cosine {
            normalise(out);
        }
    }

    pub(super) fn to_vec(self, i: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.dim()];
        self.read(i, &mut out);
        out
    }
}

fn fill(out: &mut [f32], values: impl Iterator<Item = f32>) {
    for (o, v) in out.iter_mut().zip(values) {
        *o = v;
    }
}

/// Scales to unit length; the zero vector, and one with an element that is not finite, become zero.
pub(super) fn normalise(v: &mut [f32]) {
    let norm = v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let inverse = if norm > 0.0 && norm.is_finite() {
        1.0 / norm
    } else {
        0.0
    };
    for x in v {
        *x = if inverse == 0.0 {
            0.0
        } else {
            (f64::from(*x) * inverse) as f32
        };
    }
}

/// A dense, non-binary query as f32, of unit length for cosine.
pub(super) fn float_query(query: &QueryVector, metric: Metric) -> Vec<f32> {
    let mut wide: Vec<f32> = match query {
        QueryVector::F32(v) => v.clone(),
        QueryVector::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
        QueryVector::Bf16(v) => v.iter().map(|x| x.to_f32()).collect(),
        QueryVector::I8(v) => v.iter().map(|&x| f32::from(x)).collect(),
        QueryVector::Binary(_) | QueryVector::Sparse(_) => Vec::new(),
    };
    if metric == Metric::Cosine {
        normalise(&mut wide);
    }
    wide
}
