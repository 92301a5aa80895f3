//! Webhooks: each record as a POST of its JSON.

use async_trait::async_trait;
use serde_json::json;
use stdx::http::{Client, HttpError, HttpOptions, client};

use crate::Copy;
use crate::lane::Transport;

/// Posts to one address. What is posted twice, after an answer that was lost, has the same
/// `Idempotency-Key`.
pub(crate) struct Webhook {
    client: Client,
    url: String,
}

// === impl Webhook ===

impl Webhook {
    pub(crate) fn new(url: String) -> Result<Self, HttpError> {
        Ok(Self { client: client(&HttpOptions::default())?, url })
    }

    async fn post(&self, key: &str, body: String) -> Result<(), String> {
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(body);
        // Without the address, which may be a secret.
        let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(format!("it answered {}", answer.status()))
    }
}

#[async_trait]
impl Transport for Webhook {
    fn attempts(&self) -> u32 {
        5
    }

    async fn send(&self, copy: &Copy) -> Result<(), String> {
        self.post(&copy.hash, copy.line.clone()).await
    }

    async fn tell_dropped(&self, count: u64, last: &Copy) -> Result<(), String> {
        let body = json!({ "dropped": count, "before": last.hash }).to_string();
        self.post(&format!("dropped-before-{}", last.hash), body).await
    }
}
