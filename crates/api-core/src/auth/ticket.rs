//! Login with user name and password: a ticket in a cookie, a CSRF token with writes.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use stdx::{Chain, Clock};
use tokio::{sync::Mutex, time::Instant};
use tracing::{debug, warn};

use super::{TotpSecret, sensitive};
use crate::{
    Body, Params, RequestMeta, Retry, Sent, Transport, TransportError, TransportErrorKind,
    transport::copy,
};

const CSRF: HeaderName = HeaderName::from_static("csrfpreventiontoken");
/// A ticket holds two hours; from here on it is renewed while it still holds.
const RENEW_AFTER: Duration = Duration::from_mins(90);
/// When a ticket is no longer used: two hours less what clocks and long calls may differ.
const ENDS_AFTER: Duration = Duration::from_mins(115);
/// How long a refused login is not tried again: every refusal takes the server three seconds, and
/// many look like an attack.
const REFUSED_FOR: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: usize = 1 << 16;

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Password {
    /// `user@realm`.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// The second factor, where the user has one.
    pub totp: Option<TotpSecret>,
}

/// Keeps a session and sends it with every request. One login at a time, however many wait.
pub struct TicketAuth {
    inner: Arc<dyn Transport>,
    who: Password,
    cookie: &'static str,
    clock: Arc<dyn Clock>,
    session: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    refused: Option<Refused>,
    count: u64,
}

struct Session {
    number: u64,
    since: Instant,
    ticket: SecretString,
    cookie: HeaderValue,
    csrf: HeaderValue,
}

/// What the server said to a login; given to whoever asks soon after.
#[derive(Clone)]
struct Refused {
    since: Instant,
    status: StatusCode,
    reason: String,
}

enum LoginError {
    Transport(TransportError),
    Refused(Refused),
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Login>,
}

#[derive(Deserialize)]
struct Login {
    ticket: Option<SecretString>,
    #[serde(rename = "CSRFPreventionToken")]
    csrf: Option<SecretString>,
    #[serde(rename = "NeedTFA")]
    need_second_factor: Option<serde_json::Value>,
}

// === impl TicketAuth ===

impl TicketAuth {
    /// Logs `who` in when first needed; the ticket is sent as the cookie of this name.
    pub fn new(
        inner: Arc<dyn Transport>,
        who: Password,
        cookie: &'static str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { inner, who, cookie, clock, session: Mutex::default() }
    }

    /// The cookie of a session that holds, for what is not sent through a transport (websockets);
    /// `None` if the login is refused.
    pub async fn cookie(&self) -> Result<Option<HeaderValue>, TransportError> {
        match self.session(None).await {
            Ok(session) => Ok(Some(session.cookie.clone())),
            Err(LoginError::Refused(_)) => Ok(None),
            Err(LoginError::Transport(error)) => Err(error),
        }
    }

    /// A session that holds; another than `stale` if that number is given. Whoever comes while a
    /// login is under way waits for it and shares what comes of it.
    async fn session(&self, stale: Option<u64>) -> Result<Arc<Session>, LoginError> {
        let mut state = self.session.lock().await;
        if let Some(refused) = &state.refused
            && refused.since.elapsed() < REFUSED_FOR
        {
            return Err(LoginError::Refused(refused.clone()));
        }
        let held = state.session.clone().filter(|session| {
            Some(session.number) != stale && session.since.elapsed() < ENDS_AFTER
        });
        if let Some(session) = held {
            if session.since.elapsed() < RENEW_AFTER {
                return Ok(session);
            }
            match self.login(&session.ticket, None, state.count + 1).await {
                Ok(renewed) => return Ok(state.keep(renewed)),
                // It holds for a while yet; the next request tries again.
                Err(LoginError::Transport(error)) => {
                    debug!(error = %Chain(&error), "ticket not renewed");
                    return Ok(session);
                }
                Err(LoginError::Refused(_)) => warn!("ticket not renewed: logging in anew"),
            }
        }
        state.session = None;
        match self.login(&self.who.password, self.who.totp.as_ref(), state.count + 1).await {
            Ok(session) => Ok(state.keep(session)),
            Err(error) => {
                if let LoginError::Refused(refused) = &error {
                    state.refused = Some(refused.clone());
                }
                Err(error)
            }
        }
    }

    /// Ends the use of a session that the server no longer takes.
    async fn forget(&self, stale: u64) {
        let mut state = self.session.lock().await;
        state.session.take_if(|session| session.number == stale);
    }

    async fn login(
        &self,
        password: &SecretString,
        totp: Option<&TotpSecret>,
        number: u64,
    ) -> Result<Session, LoginError> {
        let first = self.ask(password.expose_secret(), None).await?;
        let challenge = first.need_second_factor.as_ref().is_some_and(is_truth)
            || first.ticket.as_ref().is_some_and(|t| t.expose_secret().contains(":!tfa!"));
        if !challenge {
            return self.opened(first, number);
        }
        let Some(totp) = totp else {
            return Err(LoginError::refused(
                "the user has a second factor, and no totp_secret is configured",
            ));
        };
        let Some(challenge) = first.ticket else {
            return Err(LoginError::refused(
                "the server asks for a second factor without a challenge",
            ));
        };
        let answer = format!("totp:{}", totp.code(self.clock.now()));
        let second = self.ask(&answer, Some(challenge.expose_secret())).await?;
        self.opened(second, number)
    }

    async fn ask(&self, password: &str, challenge: Option<&str>) -> Result<Login, LoginError> {
        let mut params = Params::new();
        params.push("username", &self.who.username);
        params.push("password", password);
        if let Some(challenge) = challenge {
            params.push("tfa-challenge", challenge);
        }
        let mut request = Request::new(Body::from(params.encode()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static("/api2/json/access/ticket");
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form);
        // Two logins instead of one do no harm.
        let retry = Retry::Idempotent;
        request.extensions_mut().insert(RequestMeta {
            node: None,
            protected: false,
            retry,
            deadline: None,
        });

        let response = self.inner.send(request).await.map_err(LoginError::Transport)?;
        let status = response.status();
        let reason = response.extensions().get::<ReasonPhrase>();
        let reason = reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        let body =
            response.into_body().collect(ANSWER_LIMIT).await.map_err(LoginError::Transport)?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&body).trim().to_owned();
            let plain = !text.is_empty() && !text.starts_with(['{', '<']);
            let reason = if plain { text } else { reason.unwrap_or_default() };
            return Err(LoginError::Refused(Refused { since: Instant::now(), status, reason }));
        }
        // The error would quote the answer, so it is left out.
        let answer = serde_json::from_slice::<Answer>(&body).ok().and_then(|answer| answer.data);
        answer.ok_or_else(|| {
            LoginError::refused("the login's answer has another shape than expected")
        })
    }

    fn opened(&self, login: Login, number: u64) -> Result<Session, LoginError> {
        let incomplete =
            || LoginError::refused("the login's answer lacks a ticket or a CSRF token");
        let (Some(ticket), Some(csrf)) = (login.ticket, login.csrf) else {
            return Err(incomplete());
        };
        let escaped = utf8_percent_encode(ticket.expose_secret(), NON_ALPHANUMERIC);
        let cookie = sensitive(&format!("{}={escaped}", self.cookie)).map_err(|_| incomplete())?;
        let csrf = sensitive(csrf.expose_secret()).map_err(|_| incomplete())?;
        Ok(Session { number, since: Instant::now(), ticket, cookie, csrf })
    }

    async fn send_with(
        &self,
        session: &Session,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let headers = request.headers_mut();
        headers.insert(header::COOKIE, session.cookie.clone());
        headers.remove(&CSRF);
        if !request.method().is_safe() {
            request.headers_mut().insert(CSRF, session.csrf.clone());
        }
        self.inner.send(request).await
    }
}

#[async_trait]
impl Transport for TicketAuth {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let session = match self.session(None).await {
            Ok(session) => session,
            Err(error) => return error.into_answer(),
        };
        let again = copy(&request);
        let response = self.send_with(&session, request).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let Some(again) = again else {
            // What streams cannot be sent again, but whoever comes next shall not meet the same.
            self.forget(session.number).await;
            return Ok(response);
        };
        // A 401 says that nothing ran. Once more with a fresh login, and no further: if that is
        // refused too, the credentials are wrong and each try costs seconds.
        match self.session(Some(session.number)).await {
            Ok(session) => self.send_with(&session, again).await,
            Err(LoginError::Refused(_)) => Ok(response),
            Err(LoginError::Transport(error)) => Err(error.with_sent(Sent::No)),
        }
    }
}

impl fmt::Debug for TicketAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketAuth").field("username", &self.who.username).finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn keep(&mut self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        self.count = session.number;
        self.refused = None;
        self.session = Some(Arc::clone(&session));
        session
    }
}

// === impl LoginError ===

impl LoginError {
    fn refused(reason: &str) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        Self::Refused(Refused { since: Instant::now(), status, reason: reason.to_owned() })
    }

    /// What the caller gets: the server's refusal as the answer to its own request, of which
    /// nothing has been sent.
    fn into_answer(self) -> Result<Response<Body>, TransportError> {
        match self {
            Self::Transport(error) if error.kind() == TransportErrorKind::TooLarge => Err(error),
            Self::Transport(error) => Err(error.with_sent(Sent::No)),
            Self::Refused(refused) => {
                let mut response = Response::new(Body::from(refused.reason));
                *response.status_mut() = refused.status;
                Ok(response)
            }
        }
    }
}

fn is_truth(value: &serde_json::Value) -> bool {
    !matches!(value, serde_json::Value::Null | serde_json::Value::Bool(false))
        && value.as_u64() != Some(0)
        && value.as_str() != Some("0")
}
