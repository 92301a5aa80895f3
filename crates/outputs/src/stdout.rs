//! The output of the simplest set-up: a line for each message, on whatever it is given to write to.
//!
//! *Invariant:* a line is written whole or the delivery fails; two deliveries never mix.

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, EventSink, Receipt, Retry, SinkError};
use serde_json::Value;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::Mutex,
};

use crate::{InvalidConfig, Kit, Wording, line, template::Templates, webhook};

/// The longest line of text; what is longer is several.
const MAX_LINE: usize = 64 * 1024;

/// Settings of this output.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// What a line is.
    pub format: Format,
    /// Other words.
    pub wording: Wording,
}

/// What a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// The object that webhooks are sent.
    Json,
}

/// The output.
pub struct Stdout {
    id: ComponentId,
    kit: Kit,
    config: Config,
    templates: Templates,
    writer: Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
}

// === impl Stdout ===

impl Stdout {
    /// An output of this name that writes there.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(
        id: ComponentId,
        config: Config,
        kit: &Kit,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, InvalidConfig> {
        let slots = match config.format {
            Format::Text => line::slots(&config.wording),
            Format::Json => webhook::slots(&config.wording),
        };
        let templates = Templates::try_new(&id, &slots)?;
        Ok(Self { kit: kit.clone(), templates, config, writer: Mutex::new(Box::new(writer)), id })
    }

    fn lines(&self, delivery: &Delivery) -> String {
        let lines = match self.config.format {
            Format::Json => {
                vec![
                    webhook::payload(delivery, &self.templates, &self.kit.instance, false)
                        .to_string(),
                ]
            }
            Format::Text => {
                let message = &delivery.message;
                let lines = line::lines(message, &self.templates, &self.kit.instance, MAX_LINE);
                lines.into_iter().map(|line| format!("{} {line}", message.written)).collect()
            }
        };
        lines.join("\n") + "\n"
    }
}

#[async_trait]
impl EventSink for Stdout {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    async fn check(&self) -> Result<String, SinkError> {
        Ok("writes lines to the program's own output".to_owned())
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let lines = self.lines(delivery);
        let mut writer = self.writer.lock().await;
        let written = async {
            writer.write_all(lines.as_bytes()).await?;
            writer.flush().await
        };
        written.await.map_err(|error| {
            let said = format!("tell `{}`: write to the program's own output", self.id);
            SinkError::new(Retry::Backoff, said).because(error).maybe_sent()
        })?;
        Ok(Receipt { ids: vec![delivery.key.as_str().to_owned()], extra: Value::Null })
    }
}

impl std::fmt::Debug for Stdout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stdout").field("id", &self.id).finish_non_exhaustive()
    }
}
