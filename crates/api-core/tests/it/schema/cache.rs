//! The cache on disk: what was stored comes back whole or not at all.

use std::fs;

use api_core::schema::cache::{self, CacheError};

const SERVED: &str =
    r#"const apiSchema = [{"path":"/a","info":{"GET":{"description":"ä \"quoted\""}}}]; more();"#;

#[test]
fn what_was_stored_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("schema");
    assert!(cache::load(&folder, "pve", "9.2.3").unwrap().is_none());
    cache::store(&folder, "pve", "9.2.3", SERVED).unwrap();
    cache::store(&folder, "pve", "9.2.3", SERVED).unwrap();
    let schema = cache::load(&folder, "pve", "9.2.3").unwrap().unwrap();
    assert_eq!(schema.endpoints().next().unwrap().about(), "ä \"quoted\"");
    assert!(schema.is_complete());
    assert!(cache::load(&folder, "pve", "9.2.4").unwrap().is_none());
    let files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["pve-9.2.3.json"], "no draft stays behind");
}

#[test]
fn what_was_damaged_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cache::store(folder, "pve", "9.2.3", SERVED).unwrap();
    let file = folder.join("pve-9.2.3.json");
    let good = fs::read_to_string(&file).unwrap();
    let damages = [
        String::new(),
        good[..good.len() / 2].to_owned(),
        good.replace("/a", "/b"),
        good.replace("9.2.3", "9.2.2"),
        good.replace("\"form\":1", "\"form\":2"),
        "[]".to_owned(),
    ];
    for damage in damages {
        fs::write(&file, &damage).unwrap();
        let error = cache::load(folder, "pve", "9.2.3").unwrap_err();
        assert!(matches!(error, CacheError::Damaged(..)), "{damage:?}: {error}");
    }
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(cache::load(folder, "pve", "9.2.3").is_err());
    // The same name under another version is another file's content.
    fs::write(folder.join("pve-9.2.4.json"), &good).unwrap();
    assert!(cache::load(folder, "pve", "9.2.4").is_err());
}

#[test]
fn a_version_cannot_name_another_place() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["../x", "a/b", "", ".hidden", "a\0b", "ä", &"9".repeat(100)] {
        let stored = cache::store(folder.path(), "pve", version, SERVED);
        assert!(matches!(stored, Err(CacheError::Name)), "{version:?}");
        assert!(matches!(cache::load(folder.path(), "pve", version), Err(CacheError::Name)));
    }
    assert!(matches!(
        cache::store(folder.path(), "pve", "1", "<html>"),
        Err(CacheError::Schema(_))
    ));
}
