//! The keys of an issuer: fetched when they are first needed, again when they are old or lack one,
//! and never more often than they can have changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use stdx::Chain;
use stdx::http::Client;
use tokio::time::Instant;

use super::IssuerOptions;
use super::document::{self, DocumentError};

/// How long an issuer that could not be reached is not asked again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How many keys are tried where a token does not say which one it is signed with.
const MAX_TRIED: usize = 8;
/// How many keys of an issuer are kept.
const MAX_KEPT: usize = 64;

/// The keys of one issuer.
pub(super) struct Keys {
    client: Client,
    issuer: String,
    jwks_url: Option<String>,
    refresh: Duration,
    pause: Duration,
    state: Mutex<State>,
    /// Held while the keys are fetched, so that one request does it for all.
    fetching: tokio::sync::Mutex<()>,
}

/// No key to check with.
#[derive(Debug)]
pub(super) enum KeyError {
    /// The issuer has no such key.
    Unknown,
    /// The issuer cannot be asked.
    Unreachable {
        /// When another attempt has a chance.
        retry_after: Duration,
    },
}

#[derive(Clone, Default)]
struct State {
    set: Option<Arc<[Key]>>,
    fetched: Option<Instant>,
    failed: Option<Instant>,
}

struct Key {
    id: Option<String>,
    algorithm: Option<KeyAlgorithm>,
    decoding: DecodingKey,
}

/// What can be said without asking the issuer.
enum Look {
    Found(Vec<DecodingKey>),
    Give(KeyError),
    Ask,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

// === impl Keys ===

impl Keys {
    pub(super) fn new(client: Client, options: &IssuerOptions) -> Self {
        Self {
            client,
            issuer: options.issuer.clone(),
            jwks_url: options.jwks_url.clone(),
            refresh: options.jwks_refresh,
            pause: options.lookup_pause,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// The keys that a token with this header may be signed with.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, KeyError> {
        let before = self.state();
        match self.look(&before, id, algorithm) {
            Look::Found(keys) => return Ok(keys),
            Look::Give(error) => return Err(error),
            Look::Ask => {}
        }
        let _fetching = self.fetching.lock().await;
        let state = self.state();
        if state.fetched != before.fetched || state.failed != before.failed {
            // Somebody else has asked while we waited, and just now: its answer is ours.
            return self.settle(&state, id, algorithm);
        }
        match self.fetch().await {
            Ok(set) => {
                let now = Instant::now();
                let state = State { set: Some(set.into()), fetched: Some(now), failed: None };
                *self.lock() = state;
            }
            Err(error) => {
                tracing::warn!(issuer = %self.issuer, error = %Chain(&error), "the issuer's keys cannot be fetched");
                self.lock().failed = Some(Instant::now());
            }
        }
        self.settle(&self.state(), id, algorithm)
    }

    /// What the keys at hand say, and whether they may still say it.
    fn look(&self, state: &State, id: Option<&str>, algorithm: Algorithm) -> Look {
        let now = Instant::now();
        let failed_at = state.failed.filter(|failed| now - *failed < AFTER_FAILURE);
        let Some(fetched) = state.fetched else {
            return match failed_at {
                Some(failed) => Look::Give(unreachable(failed, now)),
                None => Look::Ask,
            };
        };
        let age = now - fetched;
        let keys = state.matching(id, algorithm);
        match failed_at {
            _ if age < self.refresh && !keys.is_empty() => Look::Found(keys),
            // A key that was not there a moment ago is not looked for again at once.
            _ if age < self.refresh && age < self.pause => Look::Give(KeyError::Unknown),
            Some(failed) if age < 2 * self.refresh && keys.is_empty() => {
                Look::Give(unreachable(failed, now))
            }
            Some(_) if age < 2 * self.refresh => Look::Found(keys),
            Some(failed) => Look::Give(unreachable(failed, now)),
            None => Look::Ask,
        }
    }

    /// The answer after the issuer has been asked.
    fn settle(
        &self,
        state: &State,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<DecodingKey>, KeyError> {
        let now = Instant::now();
        let keys = state.matching(id, algorithm);
        let is_usable = state.fetched.is_some_and(|fetched| now - fetched < 2 * self.refresh);
        match state.failed {
            _ if is_usable && !keys.is_empty() => Ok(keys),
            Some(failed) => Err(unreachable(failed, now)),
            None => Err(KeyError::Unknown),
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, DocumentError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => document::jwks_url(&self.client, &self.issuer).await?,
        };
        let bytes = document::fetch(&self.client, &url).await?;
        let set: KeySet = serde_json::from_slice(&bytes)
            .map_err(|source| DocumentError::Shape { url, what: "a set of keys", source })?;
        // One key of a new kind must not cost us the others.
        Ok(set.keys.into_iter().filter_map(usable).take(MAX_KEPT).collect())
    }

    fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn matching(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<DecodingKey> {
        let keys = self.set.iter().flat_map(|set| set.iter());
        let fitting = keys.filter(|key| {
            let is_named = id.is_none_or(|id| key.id.as_deref() == Some(id));
            let is_for_it = key.algorithm.is_none_or(|known| known == algorithm.into());
            is_named && is_for_it && key.decoding.family() == algorithm.family()
        });
        fitting.take(MAX_TRIED).map(|key| key.decoding.clone()).collect()
    }
}

fn unreachable(failed: Instant, now: Instant) -> KeyError {
    let retry_after = AFTER_FAILURE.saturating_sub(now - failed);
    KeyError::Unreachable { retry_after }
}

/// The key, if it is a public one that signatures can be checked with.
fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let is_for_signatures = match &jwk.common.public_key_use {
        None | Some(PublicKeyUse::Signature) => true,
        Some(_) => false,
    };
    let is_of_a_kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => true,
        AlgorithmParameters::EllipticCurve(key) => key.curve == EllipticCurve::P256,
        AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
        // A shared secret in a public document is no secret.
        _ => false,
    };
    if !is_for_signatures || !is_of_a_kind {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, algorithm: jwk.common.key_algorithm, decoding: key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_public_keys_for_signatures_are_kept() {
        let rsa = json!({ "kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB" });
        let with = |more: Value| {
            let mut key = rsa.clone();
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        for (key, kept) in [
            (rsa.clone(), true),
            (with(json!({ "use": "sig", "alg": "PS256" })), true),
            (with(json!({ "use": "enc" })), false),
            (with(json!({ "alg": "of-the-future" })), true),
            (json!({ "kty": "oct", "k": "c2VjcmV0" }), false),
            (json!({ "kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ" }), true),
            (json!({ "kty": "EC", "crv": "P-384", "x": "AQ", "y": "AQ" }), false),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQ" }), true),
            (json!({ "kty": "OKP", "crv": "X25519", "x": "AQ" }), false),
            (json!({ "kty": "AKP", "pub": "AQ" }), false),
            (json!("garbage"), false),
        ] {
            assert_eq!(usable(key.clone()).is_some(), kept, "{key}");
        }
    }

    #[test]
    fn a_key_serves_its_own_algorithm() {
        let keys: Vec<Key> = [
            json!({ "kty": "RSA", "kid": "one", "alg": "RS256", "n": "AQAB", "e": "AQAB" }),
            json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }),
            json!({ "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "AQ" }),
        ]
        .into_iter()
        .filter_map(usable)
        .collect();
        let state = State { set: Some(keys.into()), ..State::default() };
        let count = |id, algorithm| state.matching(id, algorithm).len();
        assert_eq!(count(None, Algorithm::RS256), 2);
        assert_eq!(count(None, Algorithm::PS256), 1);
        assert_eq!(count(Some("one"), Algorithm::RS256), 1);
        assert_eq!(count(Some("one"), Algorithm::PS256), 0);
        assert_eq!(count(Some("one"), Algorithm::EdDSA), 0);
        assert_eq!(count(Some("ed"), Algorithm::EdDSA), 1);
        assert_eq!(count(Some("two"), Algorithm::RS256), 0);
        assert_eq!(count(None, Algorithm::HS256), 0);
    }
}
