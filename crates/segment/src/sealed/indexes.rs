//! Index files, and the conditions that scalar indexes answer.

use std::ops::Bound;

use holdfast_expr::{Access, CompareOp, ContainsMode, LikePattern, Operand, PathStep, Predicate};
use holdfast_index::{FrozenHnsw, FrozenSparse, ScalarIndex};
use holdfast_types::{DataType, FieldId, IndexId, Metric, Value};
use roaring::RoaringBitmap;

use super::{Core, SealedSegment};
use crate::{DamagedSegment, IndexBuild, IndexFile, JsonCast, file::blocks::damaged};

/// One index of a segment.
#[derive(Debug)]
pub(super) struct OpenIndex {
    id: IndexId,
    field: FieldId,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Vectors(VectorIndex),
    Scalar(Box<ScalarIndex>),
    JsonPath {
        path: Vec<PathStep>,
        cast: JsonCast,
        index: Box<ScalarIndex>,
    },
}

/// An index that finds nearest rows.
#[derive(Debug)]
pub(super) enum VectorIndex {
    Hnsw(Box<FrozenHnsw>),
    Sparse(Box<FrozenSparse>),
}

impl OpenIndex {
    /// Opens an index file and checks that it was built for these rows.
    pub(super) fn open(core: &Core, file: IndexFile) -> Result<Self, DamagedSegment> {
        let name = file.name;
        let broken = |error: holdfast_index::DamagedIndex| DamagedSegment {
            file: name.clone(),
            offset: error.offset,
            problem: error.to_string(),
        };
        let foreign = |problem: String| damaged(&name, 0, problem);
        let data = || {
            let column = core.vectors(file.field);
            column
                .and_then(|column| column.data())
                .map_err(|e| foreign(e.to_string()))
        };
        let rows = core.keys.len();
        let scalar = |bytes| -> Result<Box<ScalarIndex>, DamagedSegment> {
            let index = ScalarIndex::open(bytes, rows).map_err(broken)?;
            Ok(Box::new(index))
        };
        let kind = match file.build {
            IndexBuild::Hnsw { metric, .. } => {
                let graph = FrozenHnsw::open(file.bytes).map_err(broken)?;
                if !graph.fits(&data()?) || graph.metric() != metric {
                    return Err(foreign("built over other vectors".to_owned()));
                }
                Kind::Vectors(VectorIndex::Hnsw(graph.into()))
            }
            IndexBuild::Sparse => {
                let lists = FrozenSparse::open(file.bytes).map_err(broken)?;
                if !lists.fits(&data()?) {
                    return Err(foreign("built over other vectors".to_owned()));
                }
                Kind::Vectors(VectorIndex::Sparse(lists.into()))
            }
            IndexBuild::Scalar(_) => Kind::Scalar(scalar(file.bytes)?),
            IndexBuild::JsonPath { path, cast, .. } => Kind::JsonPath {
                path,
                cast,
                index: scalar(file.bytes)?,
            },
        };
        Ok(Self {
            id: file.index,
            field: file.field,
            kind,
        })
    }

    pub(super) fn id(&self) -> IndexId {
        self.id
    }

    /// The index, if it finds nearest vectors of this field by this metric.
    pub(super) fn vectors(&self, field: FieldId, metric: Metric) -> Option<&VectorIndex> {
        match &self.kind {
            Kind::Vectors(index) if self.field == field => match index {
                VectorIndex::Hnsw(graph) if graph.metric() != metric => None,
                index => Some(index),
            },
            _ => None,
        }
    }

    /// The scalar index over exactly what `access` reads, and how JSON values were cast.
    fn over(&self, access: &Access) -> Option<(&ScalarIndex, Option<JsonCast>)> {
        if self.field != access.field {
            return None;
        }
        match &self.kind {
            Kind::Scalar(index) if access.path.is_empty() => Some((index, None)),
            Kind::JsonPath { path, cast, index } if *path == access.path => {
                Some((index, Some(*cast)))
            }
            _ => None,
        }
    }
}

impl SealedSegment {
    /// The rows for which the condition is true, when indexes alone can tell, or the vectors' own list of rows.
    pub(super) fn answer(&self, condition: &Predicate) -> Option<RoaringBitmap> {
        match condition {
            Predicate::Const(true) => Some(self.every_row()),
            Predicate::Const(false) => Some(RoaringBitmap::new()),
            Predicate::And(children) => {
                let mut all = self.every_row();
                for child in children {
                    all &= self.answer(child)?;
                }
                Some(all)
            }
            Predicate::Or(children) => {
                let mut any = RoaringBitmap::new();
                for child in children {
                    any |= self.answer(child)?;
                }
                Some(any)
            }
            Predicate::Not(child) => self.answer_not(child),
            Predicate::Compare { left, op, right } => match (left, right) {
                (Operand::Column(access), Operand::Literal(literal)) => {
                    self.find(access, |index, cast| {
                        // Values of other types are different too, and the index lacks them.
                        if cast.is_some() && *op == CompareOp::Ne {
                            return None;
                        }
                        compare(index, *op, &literal_for(access, cast, literal)?)
                    })
                }
                _ => None,
            },
            Predicate::In {
                operand: Operand::Column(access),
                values,
            } => self.find(access, |index, cast| {
                let values: Option<Vec<Value>> = values
                    .values()
                    .map(|value| literal_for(access, cast, &value))
                    .collect();
                index.in_list(&values?)
            }),
            Predicate::Like {
                operand: Operand::Column(access),
                pattern,
            } => self.find(access, |index, cast| {
                if cast.is_some_and(|cast| cast != JsonCast::VarChar) {
                    return None;
                }
                match pattern {
                    LikePattern::Prefix(prefix) => index.prefix(prefix),
                    pattern => index.matching(|text| pattern.matches(text)),
                }
            }),
            Predicate::IsNull { access } if access.data_type.is_vector() => {
                let schema = self.core.reads.get();
                let field = schema.field_by_id(access.field)?;
                Some(self.core.vectors_to_read(field).ok()?.null_rows())
            }
            // A JSON path index also has no value where there is one of another type.
            Predicate::IsNull { access } => self.find(access, |index, cast| {
                cast.is_none().then(|| index.is_null())
            }),
            Predicate::Truth(access) => {
                self.find(access, |index, _| index.equal(&Value::Bool(true)))
            }
            Predicate::Contains {
                access,
                mode,
                values,
            } => self.find(access, |index, cast| {
                if cast.is_some() || !index.is_over_arrays() {
                    return None;
                }
                let mut rows = match mode {
                    ContainsMode::One | ContainsMode::All => self.every_row() - index.is_null(),
                    ContainsMode::Any => RoaringBitmap::new(),
                };
                for value in values {
                    let found = index.contains(&rounded_for(access, value))?;
                    match mode {
                        ContainsMode::One | ContainsMode::All => rows &= found,
                        ContainsMode::Any => rows |= found,
                    }
                }
                Some(rows)
            }),
            Predicate::In { .. } | Predicate::Like { .. } | Predicate::Exists { .. } => None,
        }
    }

    /// The rows for which a condition is false: those for which it is neither true nor unknown.
    fn answer_not(&self, condition: &Predicate) -> Option<RoaringBitmap> {
        let access = match condition {
            Predicate::IsNull { .. } => return Some(self.every_row() - self.answer(condition)?),
            Predicate::Compare {
                left: Operand::Column(access),
                ..
            }
            | Predicate::In {
                operand: Operand::Column(access),
                ..
            }
            | Predicate::Like {
                operand: Operand::Column(access),
                ..
            }
            | Predicate::Contains { access, .. }
            | Predicate::Truth(access) => access,
            _ => return None,
        };
        let known = self.find(access, |index, cast| {
            // A JSON path index does not tell values of other types from no value.
            cast.is_none().then(|| self.every_row() - index.is_null())
        })?;
        Some(known - self.answer(condition)?)
    }

    /// What the first index over `access` says that can say something.
    fn find(
        &self,
        access: &Access,
        ask: impl Fn(&ScalarIndex, Option<JsonCast>) -> Option<RoaringBitmap>,
    ) -> Option<RoaringBitmap> {
        self.indexes
            .iter()
            .filter_map(|index| index.over(access))
            .find_map(|(index, cast)| ask(index, cast))
    }

    fn every_row(&self) -> RoaringBitmap {
        let mut rows = RoaringBitmap::new();
        rows.insert_range(0..self.len() as u32);
        rows
    }
}

fn compare(index: &ScalarIndex, op: CompareOp, literal: &Value) -> Option<RoaringBitmap> {
    match op {
        CompareOp::Eq => index.equal(literal),
        CompareOp::Ne => {
            let equal = index.equal(literal)?;
            let mut rows = RoaringBitmap::new();
            rows.insert_range(0..u32::try_from(index.len()).ok()?);
            Some(rows - index.is_null() - equal)
        }
        CompareOp::Lt => index.range(Bound::Unbounded, Bound::Excluded(literal)),
        CompareOp::Le => index.range(Bound::Unbounded, Bound::Included(literal)),
        CompareOp::Gt => index.range(Bound::Excluded(literal), Bound::Unbounded),
        CompareOp::Ge => index.range(Bound::Included(literal), Bound::Unbounded),
    }
}

/// The literal as the index holds values; `None` when the index cannot speak for it.
fn literal_for(access: &Access, cast: Option<JsonCast>, literal: &Value) -> Option<Value> {
    match (cast, literal) {
        (_, Value::Null | Value::List(_)) => None,
        (None, literal) => Some(rounded_for(access, literal)),
        (Some(JsonCast::Bool), Value::Bool(_)) | (Some(JsonCast::VarChar), Value::Str(_)) => {
            Some(literal.clone())
        }
        // Integers beyond 2^53 were rounded when they were cast; what is nearer to 0 was not, and is
        // ordered correctly against them.
        (Some(JsonCast::Double), Value::Int(i)) if i.unsigned_abs() < 1 << 53 => {
            Some(literal.clone())
        }
        (Some(JsonCast::Double), Value::Float(x)) if x.abs() < (1_u64 << 53) as f64 => {
            Some(literal.clone())
        }
        (Some(_), _) => None,
    }
}

/// A floating literal as it meets a `Float` column or element.
fn rounded_for(access: &Access, literal: &Value) -> Value {
    let binary32 = access.data_type == DataType::Float || access.element == Some(DataType::Float);
    match literal {
        Value::Float(x) if binary32 => Value::Float(f64::from(*x as f32)),
        other => other.clone(),
    }
}
