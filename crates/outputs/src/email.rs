//! The mail output: text and HTML over SMTP, threaded by incident.
//!
//! Every mail's Message-ID is made from the delivery's key, so a second attempt is the same mail to whatever knows mails
//! by their ids, and References hold the mails of one incident together. It is marked as written by a program
//! (`Auto-Submitted`), so that nobody's holiday answers it, and as ours (`X-Proxmox-Mcp`), so that an input of ours does
//! not take it for news. TLS is stdx's; lettre speaks SMTP over it.
//!
//! *Invariant:* a password goes only over TLS, or to this machine. *Invariant:* a recipient that has taken a mail is not
//! sent it again because another has not.

mod config;
mod letter;
mod line;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use event_core::{ComponentId, Delivery, EventSink, Receipt, Retry, SinkError};
use lettre::{
    Address,
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::AsyncSmtpConnection,
        commands::{Data, Mail, Noop, Rcpt},
        extension::ClientId,
        response::Response,
    },
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use stdx::{Chain, redact::Redactor};
use tokio::time::timeout;

pub use config::{Config, Login, Security, is_address};

use crate::{InvalidConfig, Kit, template::Templates};

/// How long a whole conversation may take.
const CONVERSATION: Duration = Duration::from_mins(2);

/// The output.
pub struct Email {
    id: ComponentId,
    kit: Kit,
    config: Config,
    addresses: config::Addresses,
    templates: Templates,
    redactor: Redactor,
}

/// What one recipient's server said.
enum Taken {
    Yes,
    No(String),
    Later(String),
}

// === impl Email ===

impl Email {
    /// An output of this name.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn try_new(id: ComponentId, config: Config, kit: &Kit) -> Result<Self, InvalidConfig> {
        let addresses = config.addresses(&id)?;
        let templates = Templates::try_new(&id, &letter::slots(&config.wording))?;
        let secrets: Vec<SecretString> =
            config.login.iter().map(|login| login.password.clone()).collect();
        let redactor = Redactor::default().with_values(secrets);
        Ok(Self { id, kit: kit.clone(), config, addresses, templates, redactor })
    }

    /// An error that says what failed, without secrets.
    fn error(&self, retry: Retry, why: &str) -> SinkError {
        let why = self.redactor.text(why);
        let why = stdx::untrusted::line(&why, 300);
        SinkError::new(retry, format!("tell `{}` over mail: {why}", self.id))
    }

    /// What the server said, sorted: 4xx is for now, 5xx is for good.
    fn sorted(&self, step: &str, error: &SmtpError) -> SinkError {
        let said = Chain(error).to_string();
        if error.is_permanent() {
            let hint = "it is not tried again: look at the settings, or at the server's log, then replay it";
            return self.error(Retry::Never, &format!("{step}: {said}; {hint}"));
        }
        self.error(Retry::Backoff, &format!("{step}: {said}"))
    }

    /// A connection that is ready for mail.
    async fn connect(&self) -> Result<AsyncSmtpConnection, SinkError> {
        let line = line::open(&self.config).await.map_err(|problem| {
            self.error(Retry::Backoff, &format!("connect to {}: {problem}", self.config.server))
        })?;
        let hello = ClientId::Domain(self.config.hello(&self.addresses));
        let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(line), &hello)
            .await
            .map_err(|error| self.sorted("greet the server", &error))?;
        if let Some(login) = &self.config.login {
            let credentials =
                Credentials::new(login.user.clone(), login.password.expose_secret().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let known = connection.auth(&mechanisms, &credentials).await;
            known.map_err(|error| self.sorted("log in", &error))?;
        }
        Ok(connection)
    }

    /// Names a recipient.
    async fn name(
        &self,
        connection: &mut AsyncSmtpConnection,
        to: &Address,
    ) -> Result<Taken, SinkError> {
        match connection.command(Rcpt::new(to.clone(), Vec::new())).await {
            Ok(_) => Ok(Taken::Yes),
            Err(error) if error.is_permanent() => Ok(Taken::No(said(&error))),
            Err(error) if error.is_transient() => Ok(Taken::Later(said(&error))),
            Err(error) => Err(self.sorted("name a recipient", &error)),
        }
    }

    /// Sends the mail to those who have not taken it yet. Gives who has it now, and what the others' server said.
    async fn converse(
        &self,
        delivery: &Delivery,
        to: &[Address],
    ) -> Result<(BTreeSet<String>, Vec<(String, Taken)>), SinkError> {
        let mail = letter::write(delivery, &self.templates, &self.kit, &self.addresses, &self.id)
            .map_err(|error| {
            self.error(Retry::Never, &format!("write the mail: {}", Chain(&error)))
        })?;
        let mut connection = self.connect().await?;
        let from = self.addresses.from.email.clone();
        let mail_from = Mail::new(Some(from), Vec::new());
        let begun = connection.command(mail_from).await;
        begun.map_err(|error| self.sorted("name the sender", &error))?;
        let (mut named, mut others) = (BTreeSet::new(), Vec::new());
        for address in to {
            match self.name(&mut connection, address).await? {
                Taken::Yes => {
                    named.insert(address.to_string());
                }
                other => others.push((address.to_string(), other)),
            }
        }
        if !named.is_empty() {
            let opened = connection.command(Data).await;
            opened.map_err(|error| self.sorted("begin the mail", &error))?;
            // From here on it may be there although nobody says so.
            let sent: Result<Response, SmtpError> = connection.message(&mail).await;
            sent.map_err(|error| {
                let sorted = self.sorted("send the mail", &error);
                let is_answered = error.is_permanent() || error.is_transient();
                if is_answered { sorted } else { sorted.maybe_sent() }
            })?;
        }
        // It has been taken; how the server says goodbye does not matter.
        let _ = connection.quit().await;
        Ok((named, others))
    }
}

#[async_trait]
impl EventSink for Email {
    fn id(&self) -> &ComponentId {
        &self.id
    }

    /// Connects, logs in, and does nothing.
    async fn check(&self) -> Result<String, SinkError> {
        let checking = async {
            let mut connection = self.connect().await?;
            let idle = connection.command(Noop).await;
            idle.map_err(|error| self.sorted("do nothing", &error))?;
            let _ = connection.quit().await;
            let login = if self.config.login.is_some() { " and takes the login" } else { "" };
            Ok(format!("{} speaks SMTP{login}", self.config.server))
        };
        timeout(CONVERSATION, checking).await.unwrap_or_else(|_| {
            Err(self.error(Retry::Backoff, "the server did not answer in time"))
        })
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<Receipt, SinkError> {
        let so_far = delivery.so_far.as_ref().map(|receipt| &receipt.extra["taken"]);
        let mut taken: BTreeSet<String> = so_far
            .and_then(|taken| taken.as_array())
            .into_iter()
            .flatten()
            .filter_map(|address| address.as_str().map(str::to_owned))
            .collect();
        let to = self.addresses.recipients(delivery.message.route.as_deref());
        let to: Vec<Address> =
            to.into_iter().filter(|address| !taken.contains(&address.to_string())).collect();
        if to.is_empty() {
            // Everybody had it before that could be written down.
            let ids = vec![letter::message_id(delivery, &self.addresses)];
            return Ok(Receipt { ids, extra: json!({ "taken": taken }) });
        }
        let talking = timeout(CONVERSATION, self.converse(delivery, &to)).await;
        let talked = talking.unwrap_or_else(|_| {
            Err(self.error(Retry::Backoff, "the server did not answer in time").maybe_sent())
        });
        let id = letter::message_id(delivery, &self.addresses);
        let receipt = |taken: &BTreeSet<String>| Receipt {
            ids: vec![id.clone()],
            extra: json!({ "taken": taken }),
        };
        let (named, others) = match talked {
            Ok(talked) => talked,
            Err(error) if taken.is_empty() => return Err(error),
            Err(error) => return Err(error.so_far(receipt(&taken))),
        };
        taken.extend(named);
        for (address, why) in &others {
            let (Taken::No(why) | Taken::Later(why)) = why else { continue };
            let error = self.redactor.text(why);
            tracing::warn!(sink = %self.id, recipient = address, %error, "a recipient was not taken");
        }
        let later = others.iter().find_map(|(_, it)| match it {
            Taken::Later(why) => Some(why),
            _ => None,
        });
        if let Some(why) = later {
            let said = format!("a recipient has to wait: {why}");
            return Err(self.error(Retry::Backoff, &said).so_far(receipt(&taken)));
        }
        if let (true, Some((_, Taken::No(why)))) = (taken.is_empty(), others.first()) {
            let said = format!(
                "no recipient was taken: {why}; it is not tried again: look at `to`, then replay it"
            );
            return Err(self.error(Retry::Never, &said));
        }
        Ok(receipt(&taken))
    }
}

fn said(error: &SmtpError) -> String {
    stdx::untrusted::line(&Chain(error).to_string(), 200).into_owned()
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").field("id", &self.id).finish_non_exhaustive()
    }
}
