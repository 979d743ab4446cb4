//! Predicates as text of the filter language.

use std::fmt::{self, Display, Formatter, Write as _};

use holdfast_types::{CollectionSchema, DataType, Value};

use super::{Access, ArithOp, CompareOp, ContainsMode, Operand, PathStep, Predicate};

/// A predicate with the names of its fields. Its text parses back to an equal predicate.
#[derive(Clone, Copy, Debug)]
pub struct PredicateText<'a> {
    predicate: &'a Predicate,
    schema: &'a CollectionSchema,
}

impl Predicate {
    /// The predicate as text of the filter language.
    #[must_use]
    pub fn to_text<'a>(&'a self, schema: &'a CollectionSchema) -> PredicateText<'a> {
        PredicateText {
            predicate: self,
            schema,
        }
    }
}

impl Display for PredicateText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names = Names(Some(self.schema));
        names.predicate(self.predicate, f)
    }
}

/// The text of the predicate with fields by number: `#101 > 5`.
impl Display for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Names(None).predicate(self, f)
    }
}

impl Display for CompareOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        })
    }
}

impl Display for ArithOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
        })
    }
}

/// Recursion is safe here: see [`Predicate`] on nesting.
struct Names<'a>(Option<&'a CollectionSchema>);

impl Names<'_> {
    fn predicate(&self, predicate: &Predicate, f: &mut Formatter<'_>) -> fmt::Result {
        match predicate {
            Predicate::Const(truth) => write!(f, "{truth}"),
            Predicate::And(children) => self.joined(children, " and ", f),
            Predicate::Or(children) => self.joined(children, " or ", f),
            Predicate::Not(child) => {
                f.write_str("not (")?;
                self.predicate(child, f)?;
                f.write_char(')')
            }
            Predicate::Compare { left, op, right } => {
                self.operand(left, f)?;
                write!(f, " {op} ")?;
                self.operand(right, f)
            }
            Predicate::In { operand, values } => {
                self.operand(operand, f)?;
                f.write_str(" in ")?;
                write_list(values.values(), f)
            }
            Predicate::Like { operand, pattern } => {
                self.operand(operand, f)?;
                f.write_str(" like ")?;
                write_string(&pattern.to_pattern(), f)
            }
            Predicate::IsNull { access } => {
                self.access(access, f)?;
                f.write_str(" is null")
            }
            Predicate::Exists { access } => {
                f.write_str("exists ")?;
                self.access(access, f)
            }
            Predicate::Contains {
                access,
                mode,
                values,
            } => {
                f.write_str(match access.data_type {
                    DataType::Array => "array_contains",
                    _ => "json_contains",
                })?;
                f.write_str(match mode {
                    ContainsMode::One => "(",
                    ContainsMode::All => "_all(",
                    ContainsMode::Any => "_any(",
                })?;
                self.access(access, f)?;
                f.write_str(", ")?;
                match (mode, values.as_slice()) {
                    (ContainsMode::One, [value]) => write_value(value, f)?,
                    _ => write_list(values.iter(), f)?,
                }
                f.write_char(')')
            }
            Predicate::Truth(access) => self.access(access, f),
        }
    }

    fn joined(
        &self,
        children: &[Predicate],
        separator: &str,
        f: &mut Formatter<'_>,
    ) -> fmt::Result {
        for (i, child) in children.iter().enumerate() {
            if i > 0 {
                f.write_str(separator)?;
            }
            if matches!(child, Predicate::And(_) | Predicate::Or(_)) {
                f.write_char('(')?;
                self.predicate(child, f)?;
                f.write_char(')')?;
            } else {
                self.predicate(child, f)?;
            }
        }
        Ok(())
    }

    fn operand(&self, operand: &Operand, f: &mut Formatter<'_>) -> fmt::Result {
        match operand {
            Operand::Literal(value) => write_value(value, f),
            Operand::Column(access) => self.access(access, f),
            Operand::Arith { op, left, right } => {
                f.write_char('(')?;
                self.operand(left, f)?;
                write!(f, " {op} ")?;
                self.operand(right, f)?;
                f.write_char(')')
            }
            Operand::ArrayLength(access) => {
                f.write_str("array_length(")?;
                self.access(access, f)?;
                f.write_char(')')
            }
        }
    }

    fn access(&self, access: &Access, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.and_then(|schema| schema.field_by_id(access.field)) {
            Some(field) => f.write_str(&field.name)?,
            None => write!(f, "#{}", access.field)?,
        }
        for step in &access.path {
            match step {
                PathStep::Key(key) => {
                    f.write_char('[')?;
                    write_string(key, f)?;
                    f.write_char(']')?;
                }
                PathStep::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

fn write_value(value: &Value, f: &mut Formatter<'_>) -> fmt::Result {
    match value {
        Value::Null => f.write_str("null"),
        Value::Bool(b) => write!(f, "{b}"),
        Value::Int(i) => write!(f, "{i}"),
        Value::Float(x) => write!(f, "{x:?}"),
        Value::Str(s) => write_string(s, f),
        Value::List(values) => write_list(values.iter(), f),
    }
}

fn write_list<V: std::borrow::Borrow<Value>>(
    values: impl Iterator<Item = V>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    f.write_char('[')?;
    for (i, value) in values.enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write_value(value.borrow(), f)?;
    }
    f.write_char(']')
}

fn write_string(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
