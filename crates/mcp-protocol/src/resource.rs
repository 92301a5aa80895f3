//! Resources: things that a client can list and read by URI.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::content::{Audience, as_base64};
use crate::context::CallContext;
use crate::icon::Icon;

/// Serves an app's resources.
///
/// Lists are returned whole and in a fixed order; the boundary cuts them into pages.
#[async_trait]
pub trait Resources: Send + Sync + 'static {
    /// The resources with a fixed URI.
    async fn list(&self, cx: &CallContext) -> Result<Vec<Resource>, ResourceError>;

    /// The families of resources whose URI has variables (RFC 6570).
    async fn templates(&self, cx: &CallContext) -> Result<Vec<ResourceTemplate>, ResourceError>;

    /// The contents at `uri`; never an empty list.
    async fn read(
        &self,
        cx: &CallContext,
        uri: &str,
    ) -> Result<Vec<ResourceContents>, ResourceError>;

    /// Whether a change of what is at `uri` would be told; see [`crate::Notifier::resource_updated`]. Asked when a client
    /// wants to watch it.
    async fn is_watchable(&self, cx: &CallContext, uri: &str) -> bool {
        let _ = (cx, uri);
        true
    }
}

/// One resource with a fixed URI.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resource {
    /// Its address.
    pub uri: String,
    /// Short name, unique among the resources.
    pub name: String,
    /// Name for people.
    pub title: Option<String>,
    /// What it holds.
    pub description: Option<String>,
    /// Such as `application/json`.
    pub mime_type: Option<String>,
    /// Size of the raw contents in bytes, where known.
    pub size_bytes: Option<u64>,
    /// Pictures for lists.
    pub icons: Vec<Icon>,
    /// For whom it is meant; empty says nothing.
    pub audience: Vec<Audience>,
    /// From 0.0 (optional) to 1.0 (needed).
    pub priority: Option<f32>,
    /// When it last changed, as RFC 3339, where known.
    pub modified: Option<String>,
}

/// A family of resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceTemplate {
    /// RFC 6570 template, such as `thing://item/{id}`.
    pub uri_template: String,
    /// Short name, unique among the templates.
    pub name: String,
    /// Name for people.
    pub title: Option<String>,
    /// What its members hold.
    pub description: Option<String>,
    /// Such as `application/json`, if all members share it.
    pub mime_type: Option<String>,
    /// Pictures for lists.
    pub icons: Vec<Icon>,
}

/// What is at one URI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceContents {
    /// The address of this part.
    pub uri: String,
    /// Such as `text/plain`.
    pub mime_type: Option<String>,
    /// Text or bytes.
    pub body: ResourceBody,
}

/// Text or bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Raw bytes; encoded on the wire.
    Blob(#[serde(with = "as_base64")] Vec<u8>),
}

/// Why a resource could not be listed or read. The text goes to the client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// There is nothing at this URI.
    #[error("no resource at {uri}")]
    NotFound {
        /// What was asked for.
        uri: String,
    },
    /// The URI is one of ours, but a part of it is wrong.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what would be right.
        message: String,
    },
    /// Reading failed for a reason that the reader should know.
    #[error("{message}")]
    Unavailable {
        /// What failed, fit for the client.
        message: String,
    },
}

// === impl Resource ===

impl Resource {
    /// A resource with its two required fields.
    pub fn new(uri: impl Into<String>, name: impl Into<String>) -> Self {
        Self { uri: uri.into(), name: name.into(), ..Self::default() }
    }
}

// === impl ResourceTemplate ===

impl ResourceTemplate {
    /// A template with its two required fields.
    pub fn new(uri_template: impl Into<String>, name: impl Into<String>) -> Self {
        Self { uri_template: uri_template.into(), name: name.into(), ..Self::default() }
    }
}

// === impl ResourceContents ===

impl ResourceContents {
    /// Text at a URI.
    pub fn text(
        uri: impl Into<String>,
        mime_type: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        let body = ResourceBody::Text(text.into());
        Self { uri: uri.into(), mime_type: Some(mime_type.into()), body }
    }

    /// Bytes at a URI.
    pub fn blob(uri: impl Into<String>, mime_type: impl Into<String>, data: Vec<u8>) -> Self {
        let body = ResourceBody::Blob(data);
        Self { uri: uri.into(), mime_type: Some(mime_type.into()), body }
    }
}

// === impl ResourceError ===

impl ResourceError {
    /// There is nothing at `uri`.
    pub fn not_found(uri: impl Into<String>) -> Self {
        Self::NotFound { uri: uri.into() }
    }
}
