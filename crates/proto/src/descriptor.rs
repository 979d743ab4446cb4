//! The descriptor of the public wire: for reflection, and to say which calls exist.

use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;

/// The serialized `FileDescriptorSet` of the public wire.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));

static DECODED: LazyLock<FileDescriptorSet> = LazyLock::new(|| {
    FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the build script encoded it")
});

/// Every call of the public wire as `package.Service/Method`, in declaration order.
#[must_use]
pub fn rpc_names() -> Vec<String> {
    let mut names = Vec::new();
    for file in &DECODED.file {
        for service in &file.service {
            for method in &service.method {
                names.push(format!(
                    "{}.{}/{}",
                    file.package(),
                    service.name(),
                    method.name()
                ));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use prost_types::{
        DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, ServiceDescriptorProto,
        field_descriptor_proto::{Label, Type},
    };

    use super::*;

    /// What `tests/wire/dump_descriptors.py` prints for the pymilvus of that version.
    const PYMILVUS: &str = include_str!("../testdata/pymilvus-3.0.2.descriptors.txt");

    /// What clients newer than that pymilvus may send and Holdfast understands.
    const NEWER: [&str; 2] = [
        "milvus.proto.schema.ScalarField.valid_data = 17 repeated bool",
        "milvus.proto.schema.VectorField.valid_data = 9 repeated bool",
    ];

    #[test]
    fn the_public_wire_is_that_of_pymilvus() {
        let ours = listing();
        let theirs: Vec<&str> = PYMILVUS.lines().chain(NEWER).collect();
        let missing: Vec<&&str> = theirs
            .iter()
            .filter(|line| !ours.contains(**line))
            .collect();
        let strange: Vec<&String> = ours
            .iter()
            .filter(|line| !theirs.contains(&line.as_str()))
            .collect();
        assert!(
            missing.is_empty() && strange.is_empty(),
            "missing: {missing:#?}\nstrange: {strange:#?}"
        );
        assert_eq!(ours.len(), theirs.len());
    }

    #[test]
    fn every_call_of_the_three_services_is_named_once() {
        let names = rpc_names();
        let of = |service: &str| names.iter().filter(|n| n.starts_with(service)).count();
        assert_eq!(of("milvus.proto.milvus.MilvusService/"), 144);
        assert_eq!(of("milvus.proto.milvus.ClientTelemetryService/"), 4);
        assert_eq!(of("milvus.proto.milvus.ProxyService/"), 1);
        assert_eq!(names.len(), 149);
        assert!(names.contains(&"milvus.proto.milvus.MilvusService/Search".to_owned()));
    }

    fn listing() -> std::collections::BTreeSet<String> {
        let mut lines = Vec::new();
        for file in &DECODED.file {
            let package = file.package();
            for message in &file.message_type {
                message_lines(
                    &format!("{package}.{}", message.name()),
                    message,
                    &mut lines,
                );
            }
            for item in &file.enum_type {
                enum_lines(&format!("{package}.{}", item.name()), item, &mut lines);
            }
            for service in &file.service {
                service_lines(
                    &format!("{package}.{}", service.name()),
                    service,
                    &mut lines,
                );
            }
        }
        lines.into_iter().collect()
    }

    fn message_lines(path: &str, message: &DescriptorProto, lines: &mut Vec<String>) {
        let is_map = message.options.as_ref().is_some_and(|o| o.map_entry());
        lines.push(format!(
            "{path} {}",
            if is_map { "map-entry" } else { "message" }
        ));
        for field in &message.field {
            lines.push(field_line(path, message, field));
        }
        for nested in &message.nested_type {
            message_lines(&format!("{path}.{}", nested.name()), nested, lines);
        }
        for item in &message.enum_type {
            enum_lines(&format!("{path}.{}", item.name()), item, lines);
        }
    }

    fn field_line(path: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
        let mut line = format!("{path}.{} = {}", field.name(), field.number());
        if field.label() == Label::Repeated {
            line.push_str(" repeated");
        }
        if field.proto3_optional() {
            line.push_str(" optional");
        }
        line.push(' ');
        match field.type_name().strip_prefix('.') {
            Some(name) => line.push_str(name),
            None => line.push_str(scalar_name(field.r#type())),
        }
        if let (Some(index), false) = (field.oneof_index, field.proto3_optional()) {
            line.push_str(" oneof=");
            line.push_str(message.oneof_decl[usize::try_from(index).unwrap()].name());
        }
        if let Some(packed) = field.options.as_ref().and_then(|o| o.packed) {
            line.push_str(if packed {
                " packed=true"
            } else {
                " packed=false"
            });
        }
        line
    }

    fn scalar_name(kind: Type) -> &'static str {
        match kind {
            Type::Double => "double",
            Type::Float => "float",
            Type::Int64 => "int64",
            Type::Uint64 => "uint64",
            Type::Int32 => "int32",
            Type::Fixed64 => "fixed64",
            Type::Fixed32 => "fixed32",
            Type::Bool => "bool",
            Type::String => "string",
            Type::Group => "group",
            Type::Message => "message",
            Type::Bytes => "bytes",
            Type::Uint32 => "uint32",
            Type::Enum => "enum",
            Type::Sfixed32 => "sfixed32",
            Type::Sfixed64 => "sfixed64",
            Type::Sint32 => "sint32",
            Type::Sint64 => "sint64",
        }
    }

    fn enum_lines(path: &str, item: &EnumDescriptorProto, lines: &mut Vec<String>) {
        lines.push(format!("{path} enum"));
        for value in &item.value {
            lines.push(format!("{path}.{} = {}", value.name(), value.number()));
        }
    }

    fn service_lines(path: &str, service: &ServiceDescriptorProto, lines: &mut Vec<String>) {
        lines.push(format!("{path} service"));
        for method in &service.method {
            let stream = |yes: bool| if yes { "stream " } else { "" };
            lines.push(format!(
                "{path}/{} ({}{}) returns ({}{})",
                method.name(),
                stream(method.client_streaming()),
                method.input_type().trim_start_matches('.'),
                stream(method.server_streaming()),
                method.output_type().trim_start_matches('.'),
            ));
        }
    }
}
