//! Compiles proto/ with protox, a protoc written in Rust, so that nothing has to be installed.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let manifest_dir =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let root = manifest_dir.join("../../proto");
    for (folder, descriptor) in [
        ("public", "public.bin"),
        ("internal", "internal.bin"),
        ("persisted", "persisted.bin"),
    ] {
        let folder = root.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let set = protox::compile(proto_files(&folder)?, [&folder])?;

        // Comments make the generated docs; reflection has no use for them.
        let mut bare = set.clone();
        for file in &mut bare.file {
            file.source_code_info = None;
        }
        fs::write(out_dir.join(descriptor), bare.encode_to_vec())?;

        tonic_prost_build::configure()
            .build_client(true)
            // Its `connect` would collide with the wire's own call of that name.
            .build_transport(false)
            .bytes(".")
            .compile_fds(set)?;
    }
    Ok(())
}

fn proto_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
