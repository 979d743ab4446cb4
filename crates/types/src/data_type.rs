//! The data types a field may have. The numbers are those of the public wire.

use std::fmt;

/// Type of a field, or of the elements of an array field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    /// One bit of truth.
    Bool,
    /// Signed 8-bit integer.
    Int8,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// IEEE 754 binary32.
    Float,
    /// IEEE 754 binary64.
    Double,
    /// UTF-8 text of bounded byte length.
    VarChar,
    /// A JSON document as UTF-8 text.
    Json,
    /// A list of scalars of one type.
    Array,
    /// `dim` x f32.
    FloatVector,
    /// `dim` x IEEE 754 binary16.
    Float16Vector,
    /// `dim` x bfloat16.
    BFloat16Vector,
    /// `dim` x i8.
    Int8Vector,
    /// `dim` bits.
    BinaryVector,
    /// Ascending (u32 index, f32 value) pairs.
    SparseFloatVector,
}

impl DataType {
    /// Every type, in the order of [`Self::wire_number`].
    pub const ALL: [Self; 16] = [
        Self::Bool,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Float,
        Self::Double,
        Self::VarChar,
        Self::Array,
        Self::Json,
        Self::BinaryVector,
        Self::FloatVector,
        Self::Float16Vector,
        Self::BFloat16Vector,
        Self::SparseFloatVector,
        Self::Int8Vector,
    ];

    /// Number on the public wire.
    #[must_use]
    pub fn wire_number(self) -> i32 {
        match self {
            Self::Bool => 1,
            Self::Int8 => 2,
            Self::Int16 => 3,
            Self::Int32 => 4,
            Self::Int64 => 5,
            Self::Float => 10,
            Self::Double => 11,
            Self::VarChar => 21,
            Self::Array => 22,
            Self::Json => 23,
            Self::BinaryVector => 100,
            Self::FloatVector => 101,
            Self::Float16Vector => 102,
            Self::BFloat16Vector => 103,
            Self::SparseFloatVector => 104,
            Self::Int8Vector => 105,
        }
    }

    /// The type with this number on the public wire, if Holdfast has it.
    #[must_use]
    pub fn from_wire_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.wire_number() == number)
    }

    /// Whether the type is a vector, dense or sparse.
    #[must_use]
    pub fn is_vector(self) -> bool {
        self.is_dense_vector() || self == Self::SparseFloatVector
    }

    /// Whether the type is a vector with a fixed `dim`.
    #[must_use]
    pub fn is_dense_vector(self) -> bool {
        matches!(
            self,
            Self::FloatVector
                | Self::Float16Vector
                | Self::BFloat16Vector
                | Self::Int8Vector
                | Self::BinaryVector
        )
    }

    /// Whether the type is an integer of any width.
    #[must_use]
    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64)
    }

    /// Whether the type is `Float` or `Double`.
    #[must_use]
    pub fn is_floating(self) -> bool {
        matches!(self, Self::Float | Self::Double)
    }

    /// Whether arithmetic applies.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        self.is_integer() || self.is_floating()
    }

    /// Whether arrays may have elements of this type.
    #[must_use]
    pub fn is_array_element(self) -> bool {
        self.is_numeric() || matches!(self, Self::Bool | Self::VarChar)
    }

    /// Bytes of one vector of `dim` dimensions; `None` for types without a fixed width.
    #[must_use]
    pub fn vector_bytes(self, dim: u32) -> Option<usize> {
        let dim = dim as usize;
        match self {
            Self::FloatVector => Some(dim * 4),
            Self::Float16Vector | Self::BFloat16Vector => Some(dim * 2),
            Self::Int8Vector => Some(dim),
            Self::BinaryVector => Some(dim / 8),
            Self::Bool
            | Self::Int8
            | Self::Int16
            | Self::Int32
            | Self::Int64
            | Self::Float
            | Self::Double
            | Self::VarChar
            | Self::Json
            | Self::Array
            | Self::SparseFloatVector => None,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "Bool",
            Self::Int8 => "Int8",
            Self::Int16 => "Int16",
            Self::Int32 => "Int32",
            Self::Int64 => "Int64",
            Self::Float => "Float",
            Self::Double => "Double",
            Self::VarChar => "VarChar",
            Self::Json => "JSON",
            Self::Array => "Array",
            Self::FloatVector => "FloatVector",
            Self::Float16Vector => "Float16Vector",
            Self::BFloat16Vector => "BFloat16Vector",
            Self::Int8Vector => "Int8Vector",
            Self::BinaryVector => "BinaryVector",
            Self::SparseFloatVector => "SparseFloatVector",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_numbers_round_trip_and_strangers_are_refused() {
        for t in DataType::ALL {
            assert_eq!(DataType::from_wire_number(t.wire_number()), Some(t));
        }
        for stranger in [0, 6, 24, 26, 106, 201, -1] {
            assert_eq!(DataType::from_wire_number(stranger), None);
        }
    }
}
