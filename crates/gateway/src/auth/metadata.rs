//! What the server says about itself as a protected resource (RFC 9728).

use serde_json::{Value, json};
use url::Url;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The metadata document and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedResource {
    url: String,
    paths: Vec<String>,
    document: Value,
}

// === impl ProtectedResource ===

impl ProtectedResource {
    /// The metadata of the resource at this address, with those who issue tokens for it; `None`
    /// where the address is none.
    pub(super) fn new(resource: &str, issuers: &[String], scopes: &[String]) -> Option<Self> {
        let mut url = Url::parse(resource).ok().filter(Url::has_host)?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_query(None);
        url.set_fragment(None);
        url.set_path(&format!("{WELL_KNOWN}{path}"));
        let mut paths = vec![WELL_KNOWN.to_owned(), format!("{WELL_KNOWN}/mcp")];
        if !path.is_empty() && path != "/mcp" {
            paths.push(format!("{WELL_KNOWN}{path}"));
        }
        let document = json!({
            // As it was written: clients compare it letter by letter.
            "resource": resource,
            "authorization_servers": issuers,
            "scopes_supported": scopes,
            "bearer_methods_supported": ["header"],
            "resource_name": "proxmox-mcp",
            "resource_documentation": concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/guide/authentication.md"),
        });
        Some(Self { url: url.into(), paths, document })
    }

    /// The address of the document, as challenges name it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The paths under which to serve it, to anybody.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The document: `application/json`.
    pub fn document(&self) -> &Value {
        &self.document
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use expect_test::expect;

    #[test]
    fn both_places_and_the_document() {
        let issuers = ["https://idp.example/realm".to_owned()];
        let scopes = ["proxmox.read".to_owned(), "proxmox.operate".to_owned()];
        let made =
            ProtectedResource::new("https://mcp.example:8443/mcp", &issuers, &scopes).unwrap();
        expect![[r#"
            {
              "resource": "https://mcp.example:8443/mcp",
              "authorization_servers": [
                "https://idp.example/realm"
              ],
              "scopes_supported": [
                "proxmox.read",
                "proxmox.operate"
              ],
              "bearer_methods_supported": [
                "header"
              ],
              "resource_name": "proxmox-mcp",
              "resource_documentation": "https://github.com/proxmox-mcp/proxmox-mcp/blob/main/docs/guide/authentication.md"
            }"#]].assert_eq(&serde_json::to_string_pretty(made.document()).unwrap());
        let mut places = String::new();
        for resource in
            ["https://mcp.example:8443/mcp", "https://a.example", "https://a.example/x/mcp/"]
        {
            let made = ProtectedResource::new(resource, &issuers, &scopes).unwrap();
            let paths = made.paths().join("\n  ");
            let _ = writeln!(places, "{resource}\n  {}\n  {paths}", made.url());
        }
        expect![[r#"
            https://mcp.example:8443/mcp
              https://mcp.example:8443/.well-known/oauth-protected-resource/mcp
              /.well-known/oauth-protected-resource
              /.well-known/oauth-protected-resource/mcp
            https://a.example
              https://a.example/.well-known/oauth-protected-resource
              /.well-known/oauth-protected-resource
              /.well-known/oauth-protected-resource/mcp
            https://a.example/x/mcp/
              https://a.example/.well-known/oauth-protected-resource/x/mcp
              /.well-known/oauth-protected-resource
              /.well-known/oauth-protected-resource/mcp
              /.well-known/oauth-protected-resource/x/mcp
        "#]]
        .assert_eq(&places);
        assert_eq!(ProtectedResource::new("urn:mcp", &issuers, &scopes), None);
    }
}
