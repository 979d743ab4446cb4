//! What a name in a filter stands for.

use holdfast_types::{CollectionSchema, DataType, FieldSchema};

use super::Checker;
use crate::{
    ast::RawAccess,
    error::{ExprError, excerpt},
    predicate::{Access, Operand, PathStep},
};

/// Most fields that a message lists.
const LISTED_FIELDS: usize = 8;

/// What of a collection a name may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Fields with a value that a filter reads.
    Scalars,
    /// Those, and vector fields: for asking whether there is a value.
    AnyField,
}

/// Finds the scalar field of a name, or the dynamic key, and follows the steps as far as types go.
pub(crate) fn resolve(
    schema: &CollectionSchema,
    at: usize,
    name: &str,
    steps: Vec<PathStep>,
) -> Result<Access, ExprError> {
    resolve_among(schema, at, name, steps, Reads::Scalars)
}

fn resolve_among(
    schema: &CollectionSchema,
    at: usize,
    name: &str,
    steps: Vec<PathStep>,
    reads: Reads,
) -> Result<Access, ExprError> {
    let declared = schema.field(name);
    // Not taken for a dynamic key either: `field == null` is a mistake much more often.
    if declared.is_none() && name.eq_ignore_ascii_case("null") {
        return Err(ExprError::new(
            at,
            "nothing compares with null; write `field is null`",
        ));
    }
    let Some(field) = declared.or_else(|| schema.dynamic()) else {
        return Err(ExprError::new(at, unknown(schema, name)));
    };
    if field.data_type.is_vector() && reads == Reads::Scalars {
        return Err(ExprError::new(
            at,
            format!(
                "field {} is a {}; of a vector, filters only ask `is null` and `is not null`",
                excerpt(name),
                field.data_type
            ),
        ));
    }
    let mut access = Access::column(field);
    if declared.is_none() {
        access.path.push(PathStep::Key(name.to_owned()));
    }
    access.path.extend(steps);
    check_path(at, field, &access)?;
    Ok(access)
}

fn check_path(at: usize, field: &FieldSchema, access: &Access) -> Result<(), ExprError> {
    let wrong = |why: &str| {
        Err(ExprError::new(
            at,
            format!(
                "field {} is {}, {why}",
                excerpt(&field.name),
                type_name(access)
            ),
        ))
    };
    match (field.data_type, access.path.as_slice()) {
        (DataType::Json, _) | (_, []) | (DataType::Array, [PathStep::Index(_)]) => Ok(()),
        (DataType::Array, _) => wrong("which takes one integer index, as in `field[0]`"),
        _ => wrong("which has no parts; only JSON and array fields take [...]"),
    }
}

fn type_name(access: &Access) -> String {
    match access.element {
        Some(element) => format!("an Array of {element}"),
        None => match access.data_type {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                format!("an {}", access.data_type)
            }
            other => format!("a {other}"),
        },
    }
}

fn unknown(schema: &CollectionSchema, name: &str) -> String {
    let mut scalars = schema.fields.iter().filter(|f| !f.data_type.is_vector());
    let listed: Vec<&str> = scalars
        .by_ref()
        .take(LISTED_FIELDS)
        .map(|f| f.name.as_str())
        .collect();
    let more = if scalars.next().is_some() {
        ", ..."
    } else {
        ""
    };
    format!(
        "field {} does not exist; declared fields are {}{more}",
        excerpt(name),
        listed.join(", ")
    )
}

impl Checker<'_> {
    pub(super) fn access(&self, raw: RawAccess<'_>) -> Result<Access, ExprError> {
        self.access_among(raw, Reads::Scalars)
    }

    pub(super) fn access_among(
        &self,
        raw: RawAccess<'_>,
        reads: Reads,
    ) -> Result<Access, ExprError> {
        resolve_among(self.schema, raw.at, raw.name, raw.steps, reads)
    }

    /// The operand as a message names it, with its type.
    pub(super) fn describe(&self, operand: &Operand) -> String {
        match operand {
            Operand::Literal(value) => super::literal::describe(value),
            Operand::ArrayLength(_) => "an array length".into(),
            Operand::Arith { .. } => "a computed number".into(),
            Operand::Column(access) => {
                let name = self.name_of(access);
                match access.result_type() {
                    Some(DataType::Array) | None => format!("{name} ({})", type_name(access)),
                    Some(data_type) => format!("{name} ({data_type})"),
                }
            }
        }
    }

    /// `field "name"`, or `JSON path name["key"]`, of bounded length.
    fn name_of(&self, access: &Access) -> String {
        let field = self.schema.field_by_id(access.field);
        let name = field.map_or("", |field| field.name.as_str());
        let Some(first) = access.path.first() else {
            return format!("field {}", excerpt(name));
        };
        let step = match first {
            PathStep::Key(key) => format!("[{}]", excerpt(key)),
            PathStep::Index(index) => format!("[{index}]"),
        };
        let more = if access.path.len() > 1 { "[...]" } else { "" };
        let kind = match access.data_type {
            DataType::Json => "JSON path",
            _ => "element",
        };
        format!("{kind} {name}{step}{more}")
    }
}
