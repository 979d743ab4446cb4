//! The filter of a request.

use std::{collections::HashMap, sync::Arc};

use holdfast_expr::Predicate;
use holdfast_proto::{milvus::schema::TemplateValue, template};
use holdfast_types::{Coded, CollectionSchema, Failure};

/// Parses and types a filter; `None` when every row passes.
pub(crate) fn parse(
    text: &str,
    templates: HashMap<String, TemplateValue>,
    schema: &CollectionSchema,
) -> Result<Option<Arc<Predicate>>, Failure> {
    let params = template::to_domain(templates)?;
    let predicate = holdfast_expr::parse(text, schema, &params)
        .map_err(|e| e.to_failure().within("failed to create query plan"))?;
    Ok((!predicate.is_always_true()).then(|| Arc::new(predicate)))
}
