//! The same requests without us: the HTTP client alone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use stdx::http::{Client, HttpOptions};
use stdx::tls::{TlsOptions, TlsPolicy};

/// The bare client of a simulated cluster. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bare {
    client: Client,
    base: String,
    token: String,
}

/// A running guest.
pub(super) struct Guest {
    /// As our tools name it.
    pub(super) address: String,
    /// Where Proxmox answers for its state.
    pub(super) status_path: String,
}

// === impl Bare ===

impl Bare {
    /// Reads address, certificate and token from the files that the simulator wrote.
    pub(super) fn connect(folder: &Path) -> Result<Self> {
        let settings: toml::Value =
            toml::from_str(&std::fs::read_to_string(folder.join("settings.toml"))?)?;
        let table = &settings["pve"]["lab"];
        let text = |key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let base = table["endpoints"][0].as_str().context("no endpoint")?.to_owned();
        let file = |key: &str| -> Result<String> {
            let name: PathBuf = text(key).with_context(|| format!("no {key}"))?.into();
            let name = if name.is_absolute() { name } else { folder.join(name) };
            std::fs::read_to_string(&name).with_context(|| format!("read {}", name.display()))
        };
        let id = text("token_id").context("no token_id")?;
        let token = format!("PVEAPIToken={id}={}", file("token_file")?.trim());
        let policy = TlsPolicy::CaPem(file("ca_file")?.into_bytes());
        let tls = TlsOptions { policy, ..TlsOptions::default() };
        let client = stdx::http::client(&HttpOptions::with_tls(tls))?;
        Ok(Self { client, base, token })
    }

    /// One request; its body is read to the end.
    pub(super) async fn get(&self, path: &str) -> Result<Vec<u8>> {
        let url = format!("{}{path}", self.base);
        let answer = self.client.get(url).header("authorization", &self.token).send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(answer.bytes().await?.to_vec())
    }

    /// One request of any method with this token; the form goes with what is no GET.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        form: &str,
    ) -> Result<()> {
        let with_form = method != "GET";
        let method = method.parse().context("a method")?;
        let request = self.client.request(method, format!("{}{path}", self.base));
        let mut request = request.header("authorization", token);
        if with_form {
            request = request.header("content-type", "application/x-www-form-urlencoded");
            request = request.body(form.to_owned());
        }
        let answer = request.send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().await?;
        Ok(())
    }

    /// The first of [`running`](Self::running).
    pub(super) async fn first_guest(&self) -> Result<Guest> {
        let Some(guest) = self.running().await?.into_iter().next() else {
            bail!("no guest is running")
        };
        Ok(guest)
    }

    /// Every VM that runs.
    pub(super) async fn running(&self) -> Result<Vec<Guest>> {
        let rows: Value = serde_json::from_slice(&self.get("/api2/json/cluster/resources").await?)?;
        let rows = rows["data"].as_array().context("no resources")?;
        let running = |row: &&Value| row["type"] == "qemu" && row["status"] == "running";
        let guest = |row: &Value| {
            let (node, vmid) = (row["node"].as_str().unwrap_or_default(), &row["vmid"]);
            Guest {
                address: format!("lab/{vmid}"),
                status_path: format!("/api2/json/nodes/{node}/qemu/{vmid}/status/current"),
            }
        };
        Ok(rows.iter().filter(running).map(guest).collect())
    }
}
