//! The issuer's documents: its metadata and its keys, fetched with limits on time and size.

use std::time::Duration;

use serde::Deserialize;
use stdx::http::Client;
use url::Url;

/// The largest document that is read.
const MAX_BYTES: usize = 256 * 1024;
/// How long one document may take, connection included.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a document is not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("reach {url}")]
    Connect { url: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("get {url} within {} s", TIMEOUT.as_secs())]
    Timeout { url: String },
    #[error("get {url}: it answers with status {status}")]
    Status { url: String, status: u16 },
    #[error("get {url}: it is larger than {} KiB", MAX_BYTES / 1024)]
    TooLarge { url: String },
    #[error("read {url} as {what}")]
    Shape { url: String, what: &'static str, source: serde_json::Error },
    #[error("believe {url}: it is of the issuer {found:?}")]
    OtherIssuer { url: String, found: String },
    #[error("use the keys of {url}: it names no safe place for them")]
    NoKeys { url: String },
    #[error("find the metadata of {issuer}: none of its usual places has any")]
    NoMetadata { issuer: String },
}

/// What is taken from the metadata (RFC 8414, OpenID Connect Discovery).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
}

/// The document at this address.
pub(super) async fn fetch(client: &Client, url: &str) -> Result<Vec<u8>, DocumentError> {
    let timeout = |_| DocumentError::Timeout { url: url.to_owned() };
    tokio::time::timeout(TIMEOUT, read(client, url)).await.map_err(timeout)?
}

/// Where the issuer says that its keys are.
pub(super) async fn jwks_url(client: &Client, issuer: &str) -> Result<String, DocumentError> {
    for url in places(issuer) {
        let bytes = match fetch(client, &url).await {
            Ok(bytes) => bytes,
            // The other places are for issuers that do not serve this one.
            Err(DocumentError::Status { status: 300..=499, .. }) => continue,
            Err(error) => return Err(error),
        };
        let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|source| {
            DocumentError::Shape { url: url.clone(), what: "an issuer's metadata", source }
        })?;
        // RFC 8414: else one issuer could speak for another.
        if metadata.issuer != issuer {
            let found = metadata.issuer.chars().take(200).collect();
            return Err(DocumentError::OtherIssuer { url, found });
        }
        let is_safe = |keys: &String| match (Url::parse(keys), Url::parse(issuer)) {
            (Ok(keys), Ok(issuer)) => keys.scheme() == "https" || keys.scheme() == issuer.scheme(),
            _ => false,
        };
        return metadata.jwks_uri.filter(is_safe).ok_or(DocumentError::NoKeys { url });
    }
    Err(DocumentError::NoMetadata { issuer: issuer.to_owned() })
}

/// The places of the metadata, the OAuth one first: it puts the issuer's path behind its own.
fn places(issuer: &str) -> Vec<String> {
    let Ok(url) = Url::parse(issuer) else { return Vec::new() };
    let path = url.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut place = url.clone();
        place.set_path(&path);
        place.to_string()
    };
    let mut places = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ];
    if !path.is_empty() {
        places.push(at(format!("/.well-known/openid-configuration{path}")));
    }
    places
}

async fn read(client: &Client, url: &str) -> Result<Vec<u8>, DocumentError> {
    let connect = |source: Box<dyn std::error::Error + Send + Sync>| DocumentError::Connect {
        url: url.to_owned(),
        source,
    };
    let request = client.get(url).header("accept", "application/json");
    let mut response = request.send().await.map_err(|error| connect(error.without_url().into()))?;
    if response.status() != http::StatusCode::OK {
        let status = response.status().as_u16();
        return Err(DocumentError::Status { url: url.to_owned(), status });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| connect(error.without_url().into()))?
    {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(DocumentError::TooLarge { url: url.to_owned() });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_in_the_usual_places() {
        assert_eq!(
            places("https://idp.example"),
            [
                "https://idp.example/.well-known/oauth-authorization-server",
                "https://idp.example/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            places("https://idp.example:8443/realms/lab/"),
            [
                "https://idp.example:8443/.well-known/oauth-authorization-server/realms/lab",
                "https://idp.example:8443/realms/lab/.well-known/openid-configuration",
                "https://idp.example:8443/.well-known/openid-configuration/realms/lab",
            ]
        );
    }
}
