//! What nodes fetch from the web: files by their URL, and container templates.
//!
//! Nothing leaves this machine: what is behind a URL follows from the URL. A host below `.invalid`
//! does not exist, a path that contains `missing` is not there, and a checksum of zeros only does
//! not fit; any other fits.

use serde_json::{Value, json};

use super::storage::extension;
use crate::call::{Call, Handlers};
use crate::http::{Answer, Fault, data};
use crate::state::{Outcome, Plan, Volume, noise};

pub(super) const HANDLERS: Handlers = &[
    ("POST", "/nodes/{node}/storage/{storage}/download-url", download),
    ("GET", "/nodes/{node}/query-url-metadata", metadata),
    ("GET", "/nodes/{node}/aplinfo", |_| data(appliances())),
    ("POST", "/nodes/{node}/aplinfo", appliance),
];

/// Package, version, operating system, section, headline.
const APPLIANCES: &[(&str, &str, &str, &str, &str, &str)] = &[
    (
        "almalinux-10-default",
        "20250930",
        "almalinux-10",
        "system",
        "LXC default image for almalinux 10",
        "xz",
    ),
    (
        "alpine-3.22-default",
        "20250617",
        "alpine-3.22",
        "system",
        "LXC default image for alpine 3.22",
        "xz",
    ),
    (
        "alpine-3.23-default",
        "20260116",
        "alpine-3.23",
        "system",
        "LXC default image for alpine 3.23",
        "xz",
    ),
    ("archlinux-base", "20260601-1", "archlinux", "system", "ArchLinux base image.", "zst"),
    (
        "debian-12-standard",
        "12.12-1",
        "debian-12",
        "system",
        "Debian 12 Bookworm (standard)",
        "zst",
    ),
    ("debian-13-standard", "13.1-2", "debian-13", "system", "Debian 13 Trixie (standard)", "zst"),
    (
        "fedora-43-default",
        "20251210",
        "fedora-43",
        "system",
        "LXC default image for fedora 43",
        "xz",
    ),
    (
        "ubuntu-24.04-standard",
        "24.04-2",
        "ubuntu-24.04",
        "system",
        "Ubuntu 24.04 Noble (standard)",
        "zst",
    ),
    (
        "proxmox-mail-gateway-9.0-standard",
        "9.0-1",
        "debian-13",
        "mail",
        "Proxmox Mail Gateway 9.0",
        "zst",
    ),
    (
        "debian-13-turnkey-wordpress",
        "19.0-1",
        "debian-13",
        "turnkeylinux",
        "TurnKey WordPress",
        "gz",
    ),
];

fn file_of(package: &str, version: &str, ending: &str) -> String {
    format!("{package}_{version}_amd64.tar.{ending}")
}

fn appliances() -> Vec<Value> {
    let rows = APPLIANCES.iter().map(|(package, version, os, section, headline, ending)| {
        let file = file_of(package, version, ending);
        json!({
            "template": file, "package": package, "version": version, "os": os, "section": section, "type": "lxc",
            "headline": headline, "description": headline, "architecture": "amd64", "source": "https://releases.example",
            "location": format!("http://download.example/images/{section}/{file}"),
            "sha512sum": crate::state::digest64(&file).repeat(2), "maintainer": "Support <support@example.com>",
            "infopage": "https://www.example.com",
        })
    });
    rows.collect()
}

fn appliance(call: &mut Call<'_>) -> Answer {
    let wanted = call.text("template").unwrap_or_default().to_owned();
    let found = APPLIANCES
        .iter()
        .map(|(package, version, _, _, _, ending)| file_of(package, version, ending))
        .find(|file| *file == wanted);
    let Some(file) = found else {
        return Err(Fault::param("template", "no such template"));
    };
    let storage = call.text("storage").unwrap_or_default().to_owned();
    let size = (80 << 20) + (noise(file.len() as u64) * 9e7) as u64;
    arrive(call, &storage, "vztmpl", &file, size, &format!("http://download.example/{file}"), None)
}

/// Why nothing can be fetched from a URL, if so: what the log says, and the cause.
fn unreachable(url: &str) -> Option<(String, String)> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = rest.split(['/', '?', ':']).next().unwrap_or_default();
    if host.ends_with(".invalid") {
        return Some((
            format!("wget: unable to resolve host address '{host}'"),
            "exit code 4".to_owned(),
        ));
    }
    url.contains("missing").then(|| ("ERROR 404: Not Found.".to_owned(), "exit code 8".to_owned()))
}

fn size_of(url: &str) -> u64 {
    (200 << 20) + (noise(url.len() as u64) * 6e8) as u64
}

fn metadata(call: &mut Call<'_>) -> Answer {
    let url = call.text("url").unwrap_or_default();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Fault::param("url", "value does not match the regex pattern"));
    }
    if let Some((said, _)) = unreachable(url) {
        return Err(Fault::internal(if said.contains("404") {
            "invalid server response: '404 Not Found'".to_owned()
        } else {
            "invalid server response: '500 Can't connect (Name or service not known)'".to_owned()
        }));
    }
    let file = url.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    data(json!({"filename": file, "size": size_of(url), "mimetype": "application/octet-stream"}))
}

fn download(call: &mut Call<'_>) -> Answer {
    let file = call.text("filename").unwrap_or_default().to_owned();
    let url = call.text("url").unwrap_or_default().to_owned();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Fault::param("url", "value does not match the regex pattern"));
    }
    let content = call.text("content").unwrap_or("iso").to_owned();
    let sum = call.text("checksum").map(str::to_owned);
    let storage = call.arg("storage").to_owned();
    if !extension(&content, &file) {
        return Err(Fault::param("filename", "wrong file extension"));
    }
    arrive(call, &storage, &content, &file, size_of(&url), &url, sum)
}

/// The task at whose end a file lies on a storage.
fn arrive(
    call: &mut Call<'_>,
    storage: &str,
    content: &str,
    file: &str,
    size: u64,
    url: &str,
    sum: Option<String>,
) -> Answer {
    let found = call.cluster().storage(storage);
    let found =
        found.ok_or_else(|| Fault::internal(format!("storage '{storage}' does not exist")))?;
    if !found.holds(content) {
        return Err(Fault::internal(format!(
            "storage '{storage}' is not configured for content-type '{content}'"
        )));
    }
    call.need(&format!("/storage/{storage}"), "Datastore.AllocateTemplate")?;
    let (name, shared) = (storage.to_owned(), found.shared);
    let (home, node, user, at) = (call.pve(), call.node, call.who.to_string(), call.home);
    let content: &'static str = match content {
        "vztmpl" => "vztmpl",
        "import" => "import",
        _ => "iso",
    };
    let path = match content {
        "import" => format!("/mnt/sim/{name}/import/{file}"),
        "vztmpl" => format!("/mnt/sim/{name}/template/cache/{file}"),
        _ => format!("/mnt/sim/{name}/template/iso/{file}"),
    };
    let mut lines = vec![format!("downloading {url} to {path}")];
    let lost = unreachable(url);
    match &lost {
        Some((said, _)) => lines.push(said.clone()),
        None => lines.push("100% done".to_owned()),
    }
    let volid = format!("{name}:{content}/{file}");
    let (file, from) = (file.to_owned(), url.to_owned());
    let plan = Plan::new("download", file.clone(), 2500.0, move |estate| {
        if let Some((_, code)) = lost {
            return Outcome::fail(format!(
                "download failed: command '/usr/bin/wget' failed: {code}"
            ));
        }
        let (total, used, there) = match estate.clusters[at].storage(&name) {
            Some(storage) => (
                storage.total,
                storage.used_on(node),
                storage.volumes_on(node).any(|volume| volume.volid == volid),
            ),
            None => return Outcome::fail(format!("storage '{name}' does not exist")),
        };
        if there && sum.as_ref().is_some_and(|sum| !is_wrong(sum)) {
            return Outcome::with(vec![
                "calculating checksum of existing file...OK, got correct file already, no need to download"
                    .to_owned(),
            ]);
        }
        if there {
            return Outcome::fail(format!("refusing to override existing file '{path}'"));
        }
        if size > total - used {
            return Outcome::fail("download failed: No space left on device");
        }
        let mut lines = Vec::new();
        if let Some(sum) = sum {
            if is_wrong(&sum) {
                let got = crate::state::digest64(&volid);
                return Outcome::fail(format!("checksum mismatch: got '{got}' != expect '{sum}'"));
            }
            lines.push("calculating checksum...OK, checksum verified".to_owned());
        }
        let ctime = estate.seconds();
        if let Some(storage) = estate.clusters[at].storage_mut(&name) {
            storage.volumes.push(Volume {
                volid,
                node: (!shared).then_some(node),
                vmid: None,
                content,
                format: format_of(content, &file),
                size,
                ctime,
                notes: None,
                protected: false,
                verified: None,
                subtype: None,
            });
            storage.add_used(node, size as i64);
        }
        lines.push(format!("download of '{from}' to '{path}' finished"));
        Outcome::with(lines)
    });
    data(call.estate.start_task(home, node, &user, plan.lines(lines)))
}

/// The checksum that fits nothing.
fn is_wrong(sum: &str) -> bool {
    sum.bytes().all(|byte| byte == b'0')
}

/// What lists say of a file.
pub(super) fn format_of(content: &str, file: &str) -> &'static str {
    let ends = |ending: &str| file.ends_with(ending);
    match content {
        "iso" => "iso",
        "vztmpl" if ends(".zst") => "tzst",
        "vztmpl" if ends(".xz") => "txz",
        "vztmpl" => "tgz",
        _ if ends(".qcow2") => "qcow2",
        _ if ends(".vmdk") => "vmdk",
        _ if ends(".ova") => "ova",
        _ => "raw",
    }
}
