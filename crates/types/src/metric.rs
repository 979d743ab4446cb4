//! Distance metrics.
//!
//! One sign convention holds inside Holdfast: a **distance** is smaller when closer. The **score** that
//! a client sees is converted once, at the rim, by [`Metric::score`].

use std::{fmt, str::FromStr};

use crate::DataType;

/// How two vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Squared Euclidean distance.
    L2,
    /// Inner product; larger is closer.
    Ip,
    /// Cosine of the angle; larger is closer. The zero vector has cosine 0 with everything.
    Cosine,
    /// Number of differing bits.
    Hamming,
    /// 1 - |a AND b| / |a OR b|; two zero vectors have distance 0.
    Jaccard,
}

impl Metric {
    /// Whether a larger score is closer.
    #[must_use]
    pub fn larger_is_closer(self) -> bool {
        matches!(self, Self::Ip | Self::Cosine)
    }

    /// The score a client sees for an internal distance (smaller is closer). Its own inverse.
    #[must_use]
    pub fn score(self, distance: f32) -> f32 {
        if self.larger_is_closer() {
            -distance
        } else {
            distance
        }
    }

    /// Whether vectors of this type can be compared by this metric.
    #[must_use]
    pub fn applies_to(self, data_type: DataType) -> bool {
        match data_type {
            DataType::BinaryVector => matches!(self, Self::Hamming | Self::Jaccard),
            DataType::SparseFloatVector => self == Self::Ip,
            DataType::FloatVector
            | DataType::Float16Vector
            | DataType::BFloat16Vector
            | DataType::Int8Vector => matches!(self, Self::L2 | Self::Ip | Self::Cosine),
            DataType::Bool
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float
            | DataType::Double
            | DataType::VarChar
            | DataType::Json
            | DataType::Array => false,
        }
    }

    /// The metric used when a client names none.
    #[must_use]
    pub fn default_for(data_type: DataType) -> Self {
        match data_type {
            DataType::BinaryVector => Self::Hamming,
            DataType::SparseFloatVector => Self::Ip,
            _ => Self::Cosine,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "L2",
            Self::Ip => "IP",
            Self::Cosine => "COSINE",
            Self::Hamming => "HAMMING",
            Self::Jaccard => "JACCARD",
        })
    }
}

/// The text names no metric that Holdfast has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metric_type: {0:?} is not one of L2, IP, COSINE, HAMMING, JACCARD")]
pub struct UnknownMetric(pub String);

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        match text.to_ascii_uppercase().as_str() {
            "L2" => Ok(Self::L2),
            "IP" => Ok(Self::Ip),
            "COSINE" => Ok(Self::Cosine),
            "HAMMING" => Ok(Self::Hamming),
            "JACCARD" => Ok(Self::Jaccard),
            _ => Err(UnknownMetric(text.to_owned())),
        }
    }
}
