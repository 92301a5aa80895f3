//! Typed requests, transports, failover and errors of an HTTP API in the Proxmox manner, without
//! knowing which product speaks.
//!
//! A [`Request<T>`] is built without I/O and says what it is: method, escaped path, parameters,
//! which node it concerns, whether it may be sent twice. A [`Transport`] carries bytes. An
//! [`ApiClient`] joins the two: it encodes, sends, decodes the `{"data": …}` envelope and turns
//! every refusal into one [`Error`] with a [`ErrorKind`].
//!
//! Below an [`ApiClient`] the transports are stacked: [`auth`] adds a credential, [`Failover`]
//! chooses among endpoints and bounds what is under way, [`HttpTransport`] sends. [`endpoint`] reads
//! the settings of one cluster and builds that stack; [`task`] follows a task to its end.
//! [`schema`] reads the API as a server describes it, and checks calls against that.
//!
//! ```
//! use api_core::{Request, path};
//!
//! let request: Request<serde_json::Value> = Request::get(path!["nodes", "pve1", "tasks"]).param("limit", 5);
//! assert_eq!(request.uri(), "/nodes/pve1/tasks?limit=5");
//! // A segment cannot leave its place.
//! assert_eq!(path!["nodes", "../x?y"].to_string(), "/nodes/..%2Fx%3Fy");
//! ```
//!
//! *Invariant:* no product's paths, privileges or wording; those live in the clients above.

pub mod auth;
mod client;
pub mod de;
mod dual;
pub mod endpoint;
mod error;
mod failover;
#[doc(hidden)]
pub mod fuzzing;
mod limits;
pub mod multipart;
mod path;
mod request;
pub mod schema;
pub mod task;
mod transport;
mod wire;

pub use client::{ApiClient, Classify, Page};
pub use dual::DualClient;
pub use error::{Error, ErrorKind};
pub use failover::{Endpoint, EndpointHealth, Failover, FailoverOptions, Health};
pub use path::{Path, Segment};
pub use request::{Params, Request, RequestMeta, Retry};
pub use transport::{
    Body, ByteStream, Sent, Transport, TransportError, TransportErrorKind, read_pieces,
};
pub use wire::HttpTransport;
