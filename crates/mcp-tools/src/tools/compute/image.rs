//! From what a new machine is made: an image on a storage or behind a URL.
//!
//! Proxmox imports disks from volumes of the content type `import`, whose format is told from the
//! file's ending: so a cloud image that is called `.img`, and is a qcow2 as they all are, gets the
//! ending `.qcow2`.

use std::collections::BTreeMap;

use estate::{NodeName, StorageName};
use futures::future::join_all;
use pve_client::{
    fetch,
    storage::{self, ContentKind},
};

use super::place::Site;
use crate::{
    address::quoted,
    error::{Kind, ToolError},
    report::{Cell, Table, bytes},
    view::Node,
};

/// The longest file name that PVE takes.
const LONGEST_NAME: usize = 255;

/// What a file is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Its content becomes a disk.
    Import,
    /// It is put into the drive, and installs.
    Medium,
    /// A container is unpacked from it.
    Template,
}

/// An image as the arguments name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// To be fetched, unless a file of that name is there.
    Url {
        url: String,
        file: String,
        /// Whether the file gets another ending than it has at its source.
        renamed: bool,
    },
    /// A volume: `storage:import/file`.
    Volume(String),
    /// A file's name, or a part of it.
    Text(String),
}

/// A file on a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The volume's id.
    pub(super) volume: String,
    /// Its storage.
    pub(super) storage: StorageName,
    /// The nodes that see it.
    pub(super) nodes: Vec<NodeName>,
    /// Bytes of the file.
    pub(super) size: u64,
}

/// The checksum of a file: algorithm and digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tools) struct Sum {
    pub(in crate::tools) algorithm: &'static str,
    pub(in crate::tools) value: String,
}

// === impl Use ===

impl Use {
    /// The word of the API for content of this kind.
    pub(super) fn content(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Medium => "iso",
            Self::Template => "vztmpl",
        }
    }

    /// The same as the client has it.
    pub(super) fn kind(self) -> ContentKind {
        match self {
            Self::Import => ContentKind::Import,
            Self::Medium => ContentKind::Iso,
            Self::Template => ContentKind::Template,
        }
    }
}

// === impl Named ===

impl Named {
    /// Reads the argument; what Proxmox could not import is refused with what to do instead.
    pub(super) fn parse(text: &str) -> Result<(Self, Option<Use>), ToolError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ToolError::new("image is empty"));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let is_web = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https");
            if !is_web
                || rest.starts_with('/')
                || text.chars().any(|c| c.is_whitespace() || c.is_control())
            {
                return Err(ToolError::new(format!("{} is no URL of a file", quoted(text)))
                    .hint("nodes fetch over http and https only"));
            }
            let path = rest.split(['?', '#']).next().unwrap_or_default();
            let last = path.rsplit_once('/').map_or("", |(_, last)| last);
            let (file, what, renamed) = file_of(last)?;
            return Ok((Self::Url { url: text.to_owned(), file, renamed }, Some(what)));
        }
        if let Some((_, path)) = text.split_once(':') {
            let what = match path.split_once('/').map(|(kind, _)| kind) {
                Some("import") => Use::Import,
                Some("iso") => Use::Medium,
                Some("vztmpl") => {
                    return Err(ToolError::new(format!(
                        "{} is a template of containers",
                        quoted(text)
                    ))
                    .hint("container_create makes a container from it"));
                }
                _ => {
                    return Err(ToolError::new(format!("{} is no image to import", quoted(text)))
                        .hint("name a volume such as nas:import/debian-13.qcow2; the disk of a guest is copied by guest_clone"));
                }
            };
            return Ok((Self::Volume(text.to_owned()), Some(what)));
        }
        Ok((Self::Text(text.to_owned()), None))
    }
}

/// The name under which a file is kept, what it is good for, and whether it was renamed.
fn file_of(last: &str) -> Result<(String, Use, bool), ToolError> {
    let clean: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '_' })
        .collect();
    let clean = clean.trim_start_matches('.').to_owned();
    let wrong = |why: &str, instead: &str| {
        Err(ToolError::new(format!("{} cannot be imported: {why}", quoted(last)))
            .hint(instead.to_owned()))
    };
    if clean.is_empty() || clean.len() > LONGEST_NAME {
        return wrong("the URL does not end in a file's name", "give the URL of the file itself");
    }
    let (stem, ending) = clean.rsplit_once('.').unwrap_or((&clean, ""));
    match ending.to_ascii_lowercase().as_str() {
        "qcow2" | "raw" | "vmdk" => Ok((clean, Use::Import, false)),
        // Cloud images of that name are qcow2 inside.
        "img" => Ok((format!("{stem}.qcow2"), Use::Import, true)),
        "iso" => Ok((clean, Use::Medium, false)),
        "xz" | "gz" | "zst" | "bz2" | "zip" => wrong(
            "it is packed",
            "unpack it and upload it (storage_upload), or use the vendor's qcow2",
        ),
        "ova" | "ovf" => wrong(
            "it is a whole machine, not a disk",
            "import it in the web interface: its disks and its configuration belong together",
        ),
        "" => {
            wrong("its name has no ending", "use a file that ends in .qcow2, .img, .raw or .vmdk")
        }
        other => wrong(
            &format!("nobody imports .{other}"),
            "use a file that ends in .qcow2, .img, .raw or .vmdk, or .iso to install from",
        ),
    }
}

/// The files of these kinds that the nodes see, and the storages that did not tell.
pub(super) async fn list(site: &Site, nodes: &[&Node], kinds: &[Use]) -> (Vec<Found>, Vec<String>) {
    let mut asked = Vec::new();
    let mut shared: Vec<(&StorageName, Use)> = Vec::new();
    for storage in site.view.storages.iter().filter(|storage| storage.is_available()) {
        let Some(node) = nodes.iter().find(|node| node.name == storage.node) else { continue };
        for kind in kinds {
            // Of a shared one all nodes see the same, so one is asked.
            let again = shared.contains(&(&storage.name, *kind));
            if again || !storage.content.iter().any(|word| word == kind.content()) {
                continue;
            }
            if storage.shared {
                shared.push((&storage.name, *kind));
            }
            let call = storage::content(&node.name, &storage.name, Some(&kind.kind()), None);
            let client = site.member.client.clone();
            asked.push(async move { (storage, client.call(call).await) });
        }
    }
    let mut found: BTreeMap<(String, u64), Found> = BTreeMap::new();
    let mut silent = Vec::new();
    for (storage, answer) in join_all(asked).await {
        let volumes = match answer {
            Ok(volumes) => volumes,
            Err(error) => {
                silent.push(format!(
                    "{} on {} did not tell what it holds: {}",
                    storage.name,
                    storage.node,
                    stdx::Chain(&error)
                ));
                continue;
            }
        };
        let seen_by: Vec<NodeName> = if storage.shared {
            let same = site.view.storages.iter().filter(|other| other.name == storage.name);
            same.map(|other| other.node.clone()).collect()
        } else {
            vec![storage.node.clone()]
        };
        for volume in volumes {
            let entry =
                found.entry((volume.id.clone(), volume.size_bytes)).or_insert_with(|| Found {
                    volume: volume.id,
                    storage: storage.name.clone(),
                    nodes: Vec::new(),
                    size: volume.size_bytes,
                });
            for node in &seen_by {
                if !entry.nodes.contains(node) {
                    entry.nodes.push(node.clone());
                }
            }
        }
    }
    (found.into_values().collect(), silent)
}

impl Found {
    /// The file's own name.
    pub(super) fn file(&self) -> &str {
        self.volume.rsplit('/').next().unwrap_or(&self.volume)
    }

    /// What it is good for, by its place on the storage.
    pub(super) fn good_for(&self) -> Use {
        match self.volume.split_once(':').and_then(|(_, path)| path.split('/').next()) {
            Some("iso") => Use::Medium,
            Some("vztmpl") => Use::Template,
            _ => Use::Import,
        }
    }
}

/// The one file that a text means.
pub(super) fn pick<'a>(all: &'a [Found], text: &str, key: &str) -> Result<&'a Found, ToolError> {
    let wanted = text.to_ascii_lowercase();
    let exact: Vec<&Found> =
        all.iter().filter(|found| found.file().eq_ignore_ascii_case(text)).collect();
    let part = || all.iter().filter(|found| found.file().to_ascii_lowercase().contains(&wanted));
    let mut fit: Vec<&Found> = if exact.is_empty() { part().collect() } else { exact };
    // A system is rather imported than installed.
    if fit.iter().any(|found| found.good_for() == Use::Import) {
        fit.retain(|found| found.good_for() == Use::Import);
    }
    match fit.as_slice() {
        [one] => Ok(one),
        [] => Err(ToolError::not_found(format!("{key} has no image {}", quoted(text)))
            .choices(table(all.iter()))
            .hint("give the URL of a cloud image to fetch one")),
        several => Err(ToolError::new(format!("{} fits {} images", quoted(text), several.len()))
            .of_kind(Kind::Ambiguous)
            .choices(table(several.iter().copied()))
            .hint("name the volume in full")),
    }
}

/// Files to choose from.
pub(super) fn table<'a>(all: impl Iterator<Item = &'a Found>) -> Table {
    let mut table = Table::new("images", &["volume", "size", "nodes"]);
    for found in all.take(40) {
        let nodes: Vec<String> = found.nodes.iter().map(ToString::to_string).collect();
        table.push(vec![Cell::text(&*found.volume), Cell::bytes(found.size), Cell::words(&nodes)]);
    }
    table
}

/// What the server behind a URL says of the file, asked through the node that would fetch it.
///
/// # Errors
/// It does not have it.
pub(super) async fn ask_server(
    site: &Site,
    node: &NodeName,
    url: &str,
) -> Result<Result<u64, String>, ToolError> {
    // What it takes to ask is what it takes to fetch, and the token for reads may not have it.
    let answer = site.member.operator.call(fetch::url_metadata(node, url)).await;
    match answer {
        Ok(file) => Ok(Ok(file.size_bytes.unwrap_or_default())),
        // The node reached a server, or none of that name, and says what came of it.
        Err(error) if error.message().contains("invalid server response") => {
            let at = format!("{}/{node}", site.member.key);
            Err(ToolError::not_found(format!(
                "{at} cannot fetch {}: {}",
                quoted(url),
                stdx::untrusted::line(error.message(), 200)
            ))
            .hint("check the URL; the node itself fetches it, so it needs the way out and a name server"))
        }
        Err(error) => Ok(Err(stdx::Chain(&error).to_string())),
    }
}

/// Reads a checksum: `sha256:…`, or digits whose number tells the algorithm.
pub(in crate::tools) fn checksum(text: Option<&str>) -> Result<Option<Sum>, ToolError> {
    const KNOWN: &[(&str, usize)] = &[
        ("md5", 32),
        ("sha1", 40),
        ("sha224", 56),
        ("sha256", 64),
        ("sha384", 96),
        ("sha512", 128),
    ];
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let (name, digits) = match text.split_once(':') {
        Some((name, digits)) => (Some(name.trim().to_ascii_lowercase()), digits.trim()),
        None => (None, text),
    };
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = KNOWN.iter().find(|(algorithm, length)| {
        *length == digits.len() && name.as_deref().is_none_or(|name| name == *algorithm)
    });
    match found {
        Some((algorithm, _)) if is_hex => {
            Ok(Some(Sum { algorithm, value: digits.to_ascii_lowercase() }))
        }
        _ => Err(ToolError::new(format!("{} is no checksum", quoted(text))).hint(
            "give the hexadecimal digits, with the algorithm before them if you like: sha256:…",
        )),
    }
}

/// How much a file weighs, for sentences; nothing where nobody knows.
pub(super) fn weight(size: u64) -> String {
    if size == 0 { String::new() } else { format!(", {}", bytes(size)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        match Named::parse(text) {
            Ok((Named::Url { file, renamed, .. }, what)) => format!("{what:?} {file} {renamed}"),
            Ok((named, what)) => format!("{named:?} {what:?}"),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn images_are_told_apart() {
        for (text, expected) in [
            (
                "https://example.org/a/noble-server-cloudimg-amd64.img",
                "Some(Import) noble-server-cloudimg-amd64.qcow2 true",
            ),
            ("https://example.org/Rocky-10.qcow2?x=1#y", "Some(Import) Rocky-10.qcow2 false"),
            ("https://example.org/debian.iso", "Some(Medium) debian.iso false"),
            ("https://example.org/a%20b.raw", "Some(Import) a_20b.raw false"),
            ("https://example.org/..%2f..%2fx.raw", "Some(Import) _2f.._2fx.raw false"),
            (
                "https://example.org/",
                "`` cannot be imported: the URL does not end in a file's name",
            ),
            ("https://example.org/a.img.xz", "`a.img.xz` cannot be imported: it is packed"),
            (
                "https://example.org/a.ova",
                "`a.ova` cannot be imported: it is a whole machine, not a disk",
            ),
            ("file:///etc/passwd", "`file:///etc/passwd` is no URL of a file"),
            ("nas:import/x.qcow2", "Volume(\"nas:import/x.qcow2\") Some(Import)"),
            ("nas:iso/x.iso", "Volume(\"nas:iso/x.iso\") Some(Medium)"),
            ("local-lvm:vm-100-disk-0", "`local-lvm:vm-100-disk-0` is no image to import"),
            ("debian-13", "Text(\"debian-13\") None"),
        ] {
            assert_eq!(parsed(text), expected);
        }
    }

    #[test]
    fn checksums_tell_their_kind() {
        let of = |text: &str| checksum(Some(text)).map(|sum| sum.unwrap().algorithm);
        assert_eq!(of(&"a".repeat(64)).unwrap(), "sha256");
        assert_eq!(of(&format!("SHA512: {}", "0".repeat(128))).unwrap(), "sha512");
        assert!(of(&format!("sha512:{}", "0".repeat(64))).is_err());
        assert!(of("zz").is_err() && of(&"g".repeat(64)).is_err());
        assert_eq!(checksum(None).unwrap(), None);
    }
}
