//! The SDK stays behind its one module.

use std::path::{Path, PathBuf};

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn only_the_adapter_names_the_sdk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sdk = ["rm", "cp::"].concat();
    let mut files = Vec::new();
    for folder in ["src", "examples", "tests"] {
        rust_files(&root.join(folder), &mut files);
    }
    assert!(files.len() > 40, "{files:?}");
    let named: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| !file.starts_with(root.join("src/adapter")))
        .filter(|file| std::fs::read_to_string(file).unwrap().contains(&sdk))
        .collect();
    assert!(named.is_empty(), "these name the SDK: {named:?}");
}
