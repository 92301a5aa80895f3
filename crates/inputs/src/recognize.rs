//! The readers: what a channel brings, turned into events.
//!
//! | module | reads |
//! |---|---|
//! | [`syslog`] | lines of RFC 3164 and 5424, with the catalogue of what PVE and PBS log |
//! | [`webhook`] | any body: tells the following apart by their shape |
//! | [`proxmox`] | the body that we ask PVE and PBS to send |
//! | [`gotify`] | what their Gotify target sends, and what a Gotify server passes on |
//! | [`ntfy`] | what an ntfy server passes on |
//! | [`chat`] | bodies that were made for Discord and Slack |
//! | [`discord`] | messages, as Discord passes them on |
//! | [`alertmanager`] | what Prometheus' Alertmanager sends |
//! | [`json`] | any other JSON, by a mapping |
//! | [`text`] | what is no JSON |
//! | [`mail`] | messages with headers, as a mailbox or an SMTP server takes them |
//!
//! All but syslog meet in one model, [`notification::Notification`]: its type is taken from fields where there are
//! some, else from the title, and tables of backups are read into one event per guest.

pub mod alertmanager;
mod body;
pub mod chat;
pub mod discord;
pub mod gotify;
pub mod json;
pub mod mail;
pub mod notification;
pub mod ntfy;
pub mod proxmox;
pub mod syslog;
pub(crate) mod task;
pub mod text;
mod title;
mod vzdump;
pub mod webhook;
