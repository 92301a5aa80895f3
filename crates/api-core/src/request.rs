//! Requests as values: what to ask, of whom, and how often it may be sent.

use std::{fmt, marker::PhantomData, time::Duration};

use estate::NodeName;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Path;

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A request whose answer's `data` is a `T`.
pub struct Request<T> {
    method: Method,
    path: Path,
    params: Params,
    meta: RequestMeta,
    reply: PhantomData<fn() -> T>,
}

/// Parameters in order; a key may stand more than once (that is how arrays are sent).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

/// What the layers below need to know of a request; travels in the `http::Request`'s extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMeta {
    /// The node that does the work, where the path names one: limits count per node.
    pub node: Option<NodeName>,
    /// Whether it runs in the node's few privileged workers.
    pub protected: bool,
    /// Whether it may be sent again when it is unknown whether the first one arrived.
    pub retry: Retry,
    /// The whole time that it may take, retries included; the transport's default without one.
    pub deadline: Option<Duration>,
}

/// Whether a request may be sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Sending it twice is the same as once: nearly every read, and writes that set a value.
    Idempotent,
    /// Only when the first certainly never left.
    Unsent,
}

// === impl Request ===

impl<T> Request<T> {
    /// A read: taken as repeatable until [`Request::once`] says otherwise.
    pub fn get(path: Path) -> Self {
        Self::new(Method::GET, path, Retry::Idempotent)
    }

    /// A POST: taken as not repeatable until [`Request::idempotent`] says otherwise.
    pub fn post(path: Path) -> Self {
        Self::new(Method::POST, path, Retry::Unsent)
    }

    /// A PUT: taken as not repeatable until [`Request::idempotent`] says otherwise.
    pub fn put(path: Path) -> Self {
        Self::new(Method::PUT, path, Retry::Unsent)
    }

    /// A DELETE. The API takes its parameters in the query and refuses a body.
    pub fn delete(path: Path) -> Self {
        Self::new(Method::DELETE, path, Retry::Unsent)
    }

    fn new(method: Method, path: Path, retry: Retry) -> Self {
        let meta = RequestMeta { node: None, protected: false, retry, deadline: None };
        Self { method, path, params: Params::default(), meta, reply: PhantomData }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn param(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.params.push(key, value);
        self
    }

    /// Adds a parameter if there is a value.
    #[must_use]
    pub fn opt(self, key: impl Into<String>, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.param(key, value),
            None => self,
        }
    }

    /// Adds a boolean parameter as the API wants it, `1` or `0`.
    #[must_use]
    pub fn flag(self, key: impl Into<String>, value: Option<bool>) -> Self {
        self.opt(key, value.map(u8::from))
    }

    /// Adds all of `params`.
    #[must_use]
    pub fn params(mut self, params: Params) -> Self {
        self.params.0.extend(params.0);
        self
    }

    /// Says which node does the work.
    #[must_use]
    pub fn on(mut self, node: &NodeName) -> Self {
        self.meta.node = Some(node.clone());
        self
    }

    /// Says that the request runs in the node's privileged workers.
    #[must_use]
    pub fn protected(mut self) -> Self {
        self.meta.protected = true;
        self
    }

    /// Says that sending it twice does what once does.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.meta.retry = Retry::Idempotent;
        self
    }

    /// Says that it must not be sent again once it may have arrived: for reads that take away what
    /// they tell.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.meta.retry = Retry::Unsent;
        self
    }

    /// Sets the whole time that it may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.meta.deadline = Some(deadline);
        self
    }

    /// The same request, its answer read as another type.
    pub fn cast<U>(self) -> Request<U> {
        let Self { method, path, params, meta, .. } = self;
        Request { method, path, params, meta, reply: PhantomData }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path below `/api2/json`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The parameters.
    pub fn parameters(&self) -> &Params {
        &self.params
    }

    /// What the layers below need to know.
    pub fn meta(&self) -> &RequestMeta {
        &self.meta
    }

    /// Path and, where the method takes them there, parameters.
    pub fn uri(&self) -> String {
        let query = self.params.encode();
        if self.takes_body() || query.is_empty() {
            self.path.to_string()
        } else {
            format!("{}?{query}", self.path)
        }
    }

    /// Whether the parameters go into the body.
    pub fn takes_body(&self) -> bool {
        self.method == Method::POST || self.method == Method::PUT
    }
}

impl<T> Clone for Request<T> {
    fn clone(&self) -> Self {
        Self {
            method: self.method.clone(),
            path: self.path.clone(),
            params: self.params.clone(),
            meta: self.meta.clone(),
            reply: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Request<T> {
    /// Method and path; parameters can hold passwords and stay out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

// === impl Params ===

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, key: impl Into<String>, value: impl fmt::Display) {
        self.0.push((key.into(), value.to_string()));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `application/x-www-form-urlencoded`, for a query or a body.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.0 {
            if !out.is_empty() {
                out.push('&');
            }
            out.extend(utf8_percent_encode(key, QUERY));
            out.push('=');
            out.extend(utf8_percent_encode(value, QUERY));
        }
        out
    }
}

impl fmt::Debug for Params {
    /// The keys only: values can be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

impl<K: Into<String>, V: fmt::Display> FromIterator<(K, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.to_string())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;

    #[test]
    fn reads_and_deletions_carry_their_parameters_in_the_query() {
        let request: Request<()> = Request::get(path!["a"])
            .param("x", "1&2")
            .opt("y", None::<u8>)
            .flag("full", Some(true));
        assert_eq!(request.uri(), "/a?x=1%262&full=1");
        let request: Request<()> = Request::delete(path!["a"]).param("purge", 1);
        assert_eq!(request.uri(), "/a?purge=1");
        assert_eq!(request.meta().retry, Retry::Unsent);
        let reads = [Request::<()>::get(path!["a"]), Request::get(path!["a"]).once()];
        let retries = reads.map(|request| request.meta().retry);
        assert_eq!(retries, [Retry::Idempotent, Retry::Unsent]);
        let request: Request<()> = Request::post(path!["a"]).param("password", "s3cret");
        assert_eq!(request.uri(), "/a");
        assert_eq!(format!("{request:?} {:?}", request.parameters()), "POST /a [\"password\"]");
    }
}
