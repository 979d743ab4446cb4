#!/usr/bin/env python3
"""Lists everything that travels on the wire of an installed pymilvus: messages, enums, methods.

    python dump_descriptors.py                 # the pymilvus that this interpreter would import
    python dump_descriptors.py --site DIR      # the pymilvus unpacked under DIR
    python dump_descriptors.py --check FILE    # exit 1 with a diff when FILE says something else

Needs only `protobuf`: pymilvus itself is not executed, its generated descriptors are loaded below
empty stand-in packages. The Rust crate `holdfast-proto` renders its own descriptors in the same form
and a test compares the two.
"""

import argparse
import difflib
import importlib
import importlib.util
import pathlib
import sys
import types

MODULES = ("common", "schema", "msg", "rg", "feder", "milvus")

TYPES = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "fixed64",
    7: "fixed32",
    8: "bool",
    9: "string",
    10: "group",
    11: "message",
    12: "bytes",
    13: "uint32",
    14: "enum",
    15: "sfixed32",
    16: "sfixed64",
    17: "sint32",
    18: "sint64",
}


def find_package(site):
    """The folder of the pymilvus package, found without importing it."""
    if site is not None:
        return pathlib.Path(site) / "pymilvus"
    spec = importlib.util.find_spec("pymilvus")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("pymilvus is not installed and --site was not given")
    return pathlib.Path(next(iter(spec.submodule_search_locations)))


def load(package):
    """The file descriptors, as FileDescriptorProto messages."""
    from google.protobuf import descriptor_pb2

    for name, folder in (("pymilvus", package), ("pymilvus.grpc_gen", package / "grpc_gen")):
        stand_in = types.ModuleType(name)
        stand_in.__path__ = [str(folder)]
        sys.modules[name] = stand_in
    files = []
    for name in MODULES:
        module = importlib.import_module(f"pymilvus.grpc_gen.{name}_pb2")
        proto = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(proto)
        files.append(proto)
    return files


def field_line(path, message, field):
    kind = field.type_name.lstrip(".") or TYPES[field.type]
    words = [f"{path}.{field.name} = {field.number}"]
    if field.label == 3:
        words.append("repeated")
    if field.proto3_optional:
        words.append("optional")
    words.append(kind)
    if field.HasField("oneof_index") and not field.proto3_optional:
        words.append(f"oneof={message.oneof_decl[field.oneof_index].name}")
    if field.options.HasField("packed"):
        words.append(f"packed={str(field.options.packed).lower()}")
    return " ".join(words)


def lines_of_message(path, message):
    kind = "map-entry" if message.options.map_entry else "message"
    yield f"{path} {kind}"
    for field in message.field:
        yield field_line(path, message, field)
    for nested in message.nested_type:
        yield from lines_of_message(f"{path}.{nested.name}", nested)
    for enum in message.enum_type:
        yield from lines_of_enum(f"{path}.{enum.name}", enum)


def lines_of_enum(path, enum):
    yield f"{path} enum"
    for value in enum.value:
        yield f"{path}.{value.name} = {value.number}"


def lines_of_service(path, service):
    yield f"{path} service"
    for method in service.method:
        asks = "stream " * method.client_streaming + method.input_type.lstrip(".")
        answers = "stream " * method.server_streaming + method.output_type.lstrip(".")
        yield f"{path}/{method.name} ({asks}) returns ({answers})"


def listing(files):
    lines = []
    for file in files:
        for message in file.message_type:
            lines.extend(lines_of_message(f"{file.package}.{message.name}", message))
        for enum in file.enum_type:
            lines.extend(lines_of_enum(f"{file.package}.{enum.name}", enum))
        for service in file.service:
            lines.extend(lines_of_service(f"{file.package}.{service.name}", service))
    return sorted(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", help="folder that holds the pymilvus package")
    parser.add_argument("--check", metavar="FILE", help="compare with this listing instead of printing")
    arguments = parser.parse_args()
    lines = listing(load(find_package(arguments.site)))
    if arguments.check is None:
        print("\n".join(lines))
        return
    expected = pathlib.Path(arguments.check).read_text(encoding="utf-8").splitlines()
    diff = list(difflib.unified_diff(expected, lines, arguments.check, "pymilvus", lineterm="", n=0))
    if diff:
        print("\n".join(diff))
        sys.exit(f"{len(diff)} lines differ")
    print(f"{len(lines)} lines agree")


if __name__ == "__main__":
    main()
