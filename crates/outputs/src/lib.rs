//! Everything that tells: one module per channel, and the loop that delivers.
//!
//! Every channel is an [`EventSink`](event_core::EventSink): it gives a [`Message`](event_core::Message) the shape of
//! its service, says what the service made of it, and sorts failures by whether trying again can help.
//!
//! ```no_run
//! # async fn example(outbox: std::sync::Arc<dyn event_core::Outbox>) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use outputs::{Courier, Kit, Pace, gotify::{Config, Gotify}};
//! use stdx::{SystemClock, http::{HttpOptions, client}};
//!
//! let kit = Kit::new(client(&HttpOptions::default())?, SystemClock::shared(), "home");
//! let config = Config::new("https://gotify.example.org", "A-token".into());
//! let phone = Arc::new(Gotify::try_new("phone".parse()?, config, &kit)?);
//! let mut courier = Courier::new(phone, outbox, SystemClock::shared(), Pace::default(), |word| drop(word));
//! courier.run(tokio_util::sync::CancellationToken::new()).await;
//! # Ok(())
//! # }
//! ```
//!
//! For details, see: [`deliver`] for order, retries and what is said when an output is down, and
//! `docs/dev/outputs.md` for what each channel shows, its limits and its settings.
//!
//! *Invariant:* text of others is escaped for the channel that shows it, and alerts nobody by itself. *Invariant:* what
//! is too long for one message is several, and nothing is left out. *Invariant:* the outputs do not know each other, nor
//! any store, rule or input. *Invariant:* no secret stands in an error, a log line or `Debug`.

pub mod deliver;
pub mod discord;
pub mod email;
mod error;
mod escape;
pub mod gotify;
pub mod heartbeat;
mod http;
mod kit;
mod line;
pub mod ntfy;
pub mod slack;
mod split;
pub mod stdout;
pub mod syslog;
mod template;
pub mod webhook;

pub use deliver::{Courier, Pace, Standing, Word};
pub use error::InvalidConfig;
pub use kit::{Kit, MARK, MARKER_HEADER};
pub use template::Wording;
