//! Which rows of a column have a value, and where in the payload it lies.

use arrow_buffer::NullBuffer;
use holdfast_types::{Failure, FieldSchema};

/// Rows of one field, some of them without a value. Checked: a row has none only where the field has a
/// default or may be null.
pub(super) struct Presence<'a> {
    pub(super) field: &'a FieldSchema,
    pub(super) rows: usize,
    /// One per row, or empty when every row has a value.
    valid: &'a [bool],
}

/// Where the values of a payload of known length lie.
pub(super) struct Layout<'a> {
    rows: usize,
    valid: &'a [bool],
    /// Rows without a value are left out of the payload.
    compact: bool,
}

impl<'a> Presence<'a> {
    pub(super) fn new(
        field: &'a FieldSchema,
        rows: usize,
        valid: &'a [bool],
    ) -> Result<Self, Failure> {
        if !valid.is_empty() && valid.len() != rows {
            return Err(Failure::invalid(format!(
                "the length of valid_data of field({}) is wrong[expected={rows}][actual={}]",
                field.name,
                valid.len()
            )));
        }
        if !field.nullable
            && field.default.is_none()
            && let Some(row) = valid.iter().position(|v| !v)
        {
            return Err(super::bad_row(field, row, "null value is not allowed"));
        }
        Ok(Self { field, rows, valid })
    }

    /// Matches a payload of `values` values to the rows.
    pub(super) fn layout(&self, values: usize) -> Result<Layout<'a>, Failure> {
        let present = self.present();
        if values != self.rows && values != present {
            return Err(Failure::invalid(format!(
                "the num_rows ({values}) of field ({}) is not equal to passed num_rows ({present})",
                self.field.name
            )));
        }
        Ok(Layout {
            rows: self.rows,
            valid: self.valid,
            compact: values == present,
        })
    }

    /// Number of rows with a value.
    pub(super) fn present(&self) -> usize {
        if self.valid.is_empty() {
            self.rows
        } else {
            self.valid.iter().filter(|v| **v).count()
        }
    }

    /// The nulls of the column when rows without a value become null.
    pub(super) fn nulls(&self) -> Option<NullBuffer> {
        if self.present() == self.rows {
            None
        } else {
            Some(NullBuffer::from(self.valid))
        }
    }
}

impl Layout<'_> {
    /// Per row the position of its value in the payload.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        let mut next = 0;
        (0..self.rows).map(move |row| {
            if self.valid.get(row) == Some(&false) {
                return None;
            }
            let position = if self.compact { next } else { row };
            next += 1;
            Some(position)
        })
    }
}
