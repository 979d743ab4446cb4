//! Fields of a collection that is there: add, alter, drop.

use holdfast_meta::{NameOf, check_name};
use holdfast_node_api::coordinator::CollectionName;
use holdfast_proto::{
    milvus::{
        common::Status,
        milvus::{
            self,
            alter_collection_schema_request::{
                AddRequest, DropRequest, FieldInfo, action::Op, drop_request::Identifier,
            },
        },
        schema as wire,
    },
    schema, status,
};
use holdfast_types::{Code, Failure, FieldId};
use prost::Message;

use super::change::change;
use crate::{Proxy, resolve, session::Caller};

/// Adds a field.
pub(crate) async fn add(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::AddCollectionFieldRequest,
) -> Result<Status, Failure> {
    let name = resolve::target_or_id(
        proxy,
        caller,
        &request.db_name,
        &request.collection_name,
        request.collection_id,
    )?;
    let field = wire::FieldSchema::decode(&request.schema[..])
        .map_err(|e| Failure::invalid(format!("schema: not a FieldSchema message: {e}")))?;
    add_field(proxy, &name, &field).await?;
    Ok(status::ok())
}

async fn add_field(
    proxy: &Proxy,
    name: &CollectionName,
    field: &wire::FieldSchema,
) -> Result<(), Failure> {
    // The coordinator gives the id.
    let field = schema::field_to_domain(field, FieldId(0))?;
    proxy.coordinator.add_field(name, field).await
}

/// Changes a field's type parameters.
pub(crate) async fn alter(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::AlterCollectionFieldRequest,
) -> Result<Status, Failure> {
    let name = resolve::target(caller, &request.db_name, &request.collection_name)?;
    check_name(NameOf::Field, &request.field_name)?;
    let change = change("properties", &request.properties, request.delete_keys)?;
    proxy
        .coordinator
        .alter_field(&name, &request.field_name, change)
        .await?;
    Ok(status::ok())
}

/// Adds or drops a field.
pub(crate) async fn alter_schema(
    proxy: &Proxy,
    caller: &Caller,
    request: milvus::AlterCollectionSchemaRequest,
) -> Result<milvus::AlterCollectionSchemaResponse, Failure> {
    let (database, name, id) = (
        &request.db_name,
        &request.collection_name,
        request.collection_id,
    );
    let target = resolve::target_or_id(proxy, caller, database, name, id)?;
    match request.action.and_then(|action| action.op) {
        None => {
            return Err(Failure::invalid(
                "action: neither add_request nor drop_request is given",
            ));
        }
        Some(Op::AddRequest(add)) => add_field(proxy, &target, &one_field(add)?).await?,
        Some(Op::DropRequest(drop)) => {
            let field = dropped(proxy, &target, drop)?;
            proxy.coordinator.drop_field(&target, &field).await?;
        }
    }
    Ok(milvus::AlterCollectionSchemaResponse {
        alter_status: Some(status::ok()),
    })
}

/// The one field that is added.
fn one_field(add: AddRequest) -> Result<wire::FieldSchema, Failure> {
    let AddRequest {
        field_infos,
        func_schema,
        do_physical_backfill,
    } = add;
    if !func_schema.is_empty() {
        return Err(unsupported("func_schema", "functions"));
    }
    if do_physical_backfill {
        return Err(unsupported("do_physical_backfill", "physical backfill"));
    }
    let mut fields = field_infos.into_iter();
    match (fields.next(), fields.next()) {
        (None, _) => Err(Failure::invalid("field_infos: it must not be empty")),
        (Some(_), Some(_)) => Err(unsupported("field_infos", "adding several fields at once")),
        (
            Some(FieldInfo {
                field_schema,
                index_name,
                extra_params,
            }),
            None,
        ) => {
            if !index_name.is_empty() || !extra_params.is_empty() {
                return Err(unsupported(
                    "field_infos.extra_params",
                    "an index that comes with its field",
                ));
            }
            field_schema
                .ok_or_else(|| Failure::invalid("field_infos.field_schema: it must be given"))
        }
    }
}

/// The name of the field that is dropped.
fn dropped(proxy: &Proxy, target: &CollectionName, drop: DropRequest) -> Result<String, Failure> {
    // `drop_function_output_fields` says something of functions only.
    match drop.identifier {
        None => Err(Failure::invalid(
            "drop_request: neither field_name nor field_id is given",
        )),
        Some(Identifier::FunctionName(_)) => Err(unsupported("function_name", "functions")),
        Some(Identifier::FieldName(name)) => {
            check_name(NameOf::Field, &name)?;
            Ok(name)
        }
        Some(Identifier::FieldId(id)) => {
            let snapshot = proxy.snapshot();
            let meta = snapshot.resolve(&target.database, &target.collection)?;
            let field = meta
                .schema
                .field_by_id(FieldId(id))
                .filter(|f| !f.is_dynamic);
            let not_found = || Failure::invalid(format!("field_id: field {id} not exist"));
            field.map(|f| f.name.clone()).ok_or_else(not_found)
        }
    }
}

fn unsupported(place: &str, what: &str) -> Failure {
    Failure::new(
        Code::Unsupported,
        format!("{place}: {what}: not built in this version of Holdfast"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str) -> FieldInfo {
        let field = wire::FieldSchema {
            name: name.to_owned(),
            ..Default::default()
        };
        FieldInfo {
            field_schema: Some(field),
            ..Default::default()
        }
    }

    #[test]
    fn one_plain_field_is_added_at_a_time() {
        let add = |field_infos| AddRequest {
            field_infos,
            ..Default::default()
        };
        assert_eq!(one_field(add(vec![info("a")])).unwrap().name, "a");
        assert_eq!(
            one_field(add(vec![])).unwrap_err().code,
            Code::InvalidArgument
        );
        assert_eq!(
            one_field(add(vec![FieldInfo::default()])).unwrap_err().code,
            Code::InvalidArgument
        );
        assert_eq!(
            one_field(add(vec![info("a"), info("b")])).unwrap_err().code,
            Code::Unsupported
        );
    }

    #[test]
    fn what_comes_with_a_field_is_refused_and_not_forgotten() {
        let indexed = FieldInfo {
            index_name: "i".to_owned(),
            ..info("a")
        };
        let function = AddRequest {
            field_infos: vec![info("a")],
            func_schema: vec![wire::FunctionSchema::default()],
            ..Default::default()
        };
        let backfill = AddRequest {
            field_infos: vec![info("a")],
            do_physical_backfill: true,
            ..Default::default()
        };
        for add in [
            AddRequest {
                field_infos: vec![indexed],
                ..Default::default()
            },
            function,
            backfill,
        ] {
            assert_eq!(one_field(add).unwrap_err().code, Code::Unsupported);
        }
    }
}
