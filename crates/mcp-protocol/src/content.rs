//! Content blocks: what answers and prompt messages are made of.

use serde::{Deserialize, Serialize};

use crate::resource::{Resource, ResourceContents};

/// One block of content, with optional hints for whom it is meant and how much it matters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// What the block is.
    pub body: ContentBody,
    /// For whom it is meant; empty says nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<Audience>,
    /// From 0.0 (optional) to 1.0 (needed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<f32>,
}

/// The kinds of content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContentBody {
    /// Plain text.
    Text(String),
    /// A picture.
    Image {
        /// The raw bytes; encoded on the wire.
        #[serde(with = "as_base64")]
        data: Vec<u8>,
        /// Such as `image/png`.
        mime_type: String,
    },
    /// A sound.
    Audio {
        /// The raw bytes; encoded on the wire.
        #[serde(with = "as_base64")]
        data: Vec<u8>,
        /// Such as `audio/wav`.
        mime_type: String,
    },
    /// A pointer to a resource that the client may read.
    ResourceLink(Resource),
    /// A resource's contents, inline.
    Embedded(ResourceContents),
}

/// Whom a block of content is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The person.
    User,
    /// The model.
    Assistant,
}

// === impl Content ===

impl Content {
    /// A block without hints.
    pub fn new(body: ContentBody) -> Self {
        Self { body, audience: Vec::new(), priority: None }
    }

    /// A text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(ContentBody::Text(text.into()))
    }

    /// A picture from its raw bytes.
    pub fn image(data: Vec<u8>, mime_type: impl Into<String>) -> Self {
        Self::new(ContentBody::Image { data, mime_type: mime_type.into() })
    }

    /// A sound from its raw bytes.
    pub fn audio(data: Vec<u8>, mime_type: impl Into<String>) -> Self {
        Self::new(ContentBody::Audio { data, mime_type: mime_type.into() })
    }

    /// A pointer to a resource.
    pub fn link(resource: Resource) -> Self {
        Self::new(ContentBody::ResourceLink(resource))
    }

    /// A resource inline.
    pub fn embedded(contents: ResourceContents) -> Self {
        Self::new(ContentBody::Embedded(contents))
    }

    /// Says for whom the block is meant.
    #[must_use]
    pub fn for_audience(mut self, audience: Audience) -> Self {
        self.audience.push(audience);
        self
    }

    /// Says how much the block matters, 0.0 to 1.0; out of range is clamped.
    #[must_use]
    pub fn with_priority(mut self, priority: f32) -> Self {
        self.priority = Some(priority.clamp(0.0, 1.0));
        self
    }

    /// The text, if this is a text block.
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            ContentBody::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// How bytes are kept in JSON.
pub(crate) mod as_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
