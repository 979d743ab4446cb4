//! What a planner reads off a predicate without evaluating it.

use std::ops::Bound;

use holdfast_types::{DataType, FieldId, Pk, PkList, Value};

use super::{Access, CompareOp, InList, Operand, Predicate};

impl Predicate {
    /// Whether every row passes.
    #[must_use]
    pub fn is_always_true(&self) -> bool {
        *self == Self::Const(true)
    }

    /// Whether no row passes, whatever it holds.
    #[must_use]
    pub fn is_always_false(&self) -> bool {
        *self == Self::Const(false)
    }

    /// The parts that must all hold: the children of an `And`, else the predicate itself.
    #[must_use]
    pub fn conjuncts(&self) -> &[Self] {
        match self {
            Self::And(children) => children,
            other => std::slice::from_ref(other),
        }
    }

    /// The fields that are read, ascending, each once.
    #[must_use]
    pub fn fields(&self) -> Vec<FieldId> {
        let mut fields = Vec::new();
        self.visit_accesses(&mut |access| fields.push(access.field));
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Calls `visit` for every column or path that is read, from left to right.
    pub fn visit_accesses<'p>(&'p self, visit: &mut dyn FnMut(&'p Access)) {
        match self {
            Self::Const(_) => {}
            Self::And(children) | Self::Or(children) => {
                for child in children {
                    child.visit_accesses(visit);
                }
            }
            Self::Not(child) => child.visit_accesses(visit),
            Self::Compare { left, right, .. } => {
                left.visit_accesses(visit);
                right.visit_accesses(visit);
            }
            Self::In { operand, .. } | Self::Like { operand, .. } => operand.visit_accesses(visit),
            Self::IsNull { access }
            | Self::Exists { access }
            | Self::Contains { access, .. }
            | Self::Truth(access) => visit(access),
        }
    }

    /// The keys, ascending and each once, when the predicate is exactly `pk in [...]` or `pk == x`.
    #[must_use]
    pub fn pk_equals(&self, pk_field: FieldId) -> Option<PkList> {
        match self {
            Self::Compare {
                left: Operand::Column(access),
                op: CompareOp::Eq,
                right: Operand::Literal(value),
            } if access.is_column(pk_field) => match (access.data_type, value) {
                (DataType::Int64, Value::Int(i)) => Some(PkList::Int(vec![*i])),
                (DataType::VarChar, Value::Str(s)) => Some(PkList::Str(vec![s.as_str().into()])),
                _ => None,
            },
            Self::In {
                operand: Operand::Column(access),
                values,
            } if access.is_column(pk_field) => keys(access.data_type, values),
            _ => None,
        }
    }

    /// Keys of which every passing row has one: the shortest list among the conjuncts that are
    /// [`Self::pk_equals`]. The other conjuncts still have to be evaluated.
    #[must_use]
    pub fn required_keys(&self, pk_field: FieldId) -> Option<PkList> {
        self.conjuncts()
            .iter()
            .filter_map(|part| part.pk_equals(pk_field))
            .min_by_key(PkList::len)
    }

    /// The highest bound under which no row passes, from the conjuncts `pk > x` and `pk >= x`.
    #[must_use]
    pub fn pk_lower_bound(&self, pk_field: FieldId) -> Bound<Pk> {
        let mut bound = Bound::Unbounded;
        for part in self.conjuncts() {
            if let Some(other) = part.own_lower_bound(pk_field) {
                bound = higher(bound, other);
            }
        }
        bound
    }

    /// Values of which every passing row has one in this field; `None` when nothing is known. The values
    /// may hold duplicates and values that no row has.
    ///
    /// This is what chooses partitions by their key.
    #[must_use]
    pub fn equal_values(&self, field: FieldId) -> Option<Vec<Value>> {
        match self {
            Self::Const(false) => Some(Vec::new()),
            Self::Compare {
                left: Operand::Column(access),
                op: CompareOp::Eq,
                right: Operand::Literal(value),
            } if access.is_column(field) => Some(vec![value.clone()]),
            Self::In {
                operand: Operand::Column(access),
                values,
            } if access.is_column(field) => Some(values.values().collect()),
            Self::Truth(access) if access.is_column(field) => Some(vec![Value::Bool(true)]),
            Self::And(children) => children
                .iter()
                .filter_map(|child| child.equal_values(field))
                .min_by_key(Vec::len),
            Self::Or(children) => {
                let mut all = Vec::new();
                for child in children {
                    all.extend(child.equal_values(field)?);
                }
                Some(all)
            }
            Self::Const(true)
            | Self::Not(_)
            | Self::Compare { .. }
            | Self::In { .. }
            | Self::Like { .. }
            | Self::IsNull { .. }
            | Self::Exists { .. }
            | Self::Contains { .. }
            | Self::Truth(_) => None,
        }
    }

    fn own_lower_bound(&self, pk_field: FieldId) -> Option<Bound<Pk>> {
        let Self::Compare {
            left: Operand::Column(access),
            op,
            right: Operand::Literal(value),
        } = self
        else {
            return None;
        };
        if !access.is_column(pk_field) {
            return None;
        }
        let key = match value {
            Value::Int(i) => Pk::Int(*i),
            Value::Str(s) => Pk::Str(s.as_str().into()),
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) => return None,
        };
        match op {
            CompareOp::Gt => Some(Bound::Excluded(key)),
            CompareOp::Ge | CompareOp::Eq => Some(Bound::Included(key)),
            CompareOp::Ne | CompareOp::Lt | CompareOp::Le => None,
        }
    }
}

impl Operand {
    /// Calls `visit` for every column or path that is read, from left to right.
    pub fn visit_accesses<'p>(&'p self, visit: &mut dyn FnMut(&'p Access)) {
        match self {
            Self::Literal(_) => {}
            Self::Column(access) | Self::ArrayLength(access) => visit(access),
            Self::Arith { left, right, .. } => {
                left.visit_accesses(visit);
                right.visit_accesses(visit);
            }
        }
    }
}

impl Access {
    /// Whether this is the whole of `field`.
    #[must_use]
    pub fn is_column(&self, field: FieldId) -> bool {
        self.field == field && self.path.is_empty()
    }
}

fn keys(data_type: DataType, values: &InList) -> Option<PkList> {
    match data_type {
        DataType::Int64 => Some(PkList::Int(values.ints().to_vec())),
        DataType::VarChar => Some(PkList::Str(values.strs().to_vec())),
        _ => None,
    }
}

fn higher(a: Bound<Pk>, b: Bound<Pk>) -> Bound<Pk> {
    let (Bound::Included(x) | Bound::Excluded(x)) = &a else {
        return b;
    };
    let (Bound::Included(y) | Bound::Excluded(y)) = &b else {
        return a;
    };
    match x.cmp(y) {
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Greater => a,
        // The exclusive one is tighter.
        std::cmp::Ordering::Equal => match a {
            Bound::Excluded(_) => a,
            Bound::Included(_) | Bound::Unbounded => b,
        },
    }
}
