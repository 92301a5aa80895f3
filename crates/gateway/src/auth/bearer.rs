//! The bearer token of a request, from the only place where it may stand.

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::failure::{AuthFailure, Reason};

/// The longest token that is looked at, in bytes; access tokens with many claims have a few thousand.
const MAX_TOKEN: usize = 16 * 1024;
/// Names under which clients have been seen to put a token into the address.
const IN_ADDRESS: &[&str] = &["access_token", "token", "api_key", "apikey", "bearer"];

/// The token in the request's `Authorization` header.
pub(super) fn token(request: &Parts) -> Result<&str, AuthFailure> {
    let mut values = request.headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    if let Some(name) = in_address(request, first.is_some()) {
        let detail = format!(
            "a token in the address (`?{name}=`) ends up in logs and histories, and is not taken: \
             send it as `Authorization: Bearer …`, and revoke this one"
        );
        return Err(AuthFailure::new(Reason::BadRequest, detail));
    }
    let value = match (first, second) {
        (None, _) => {
            let detail =
                "send a token as `Authorization: Bearer …`; `proxmox-mcp token new` makes one";
            return Err(AuthFailure::new(Reason::Missing, detail));
        }
        (Some(_), Some(_)) => {
            let detail = "there are two `Authorization` headers: send one";
            return Err(AuthFailure::new(Reason::BadRequest, detail));
        }
        (Some(value), None) => value,
    };
    let invalid = |detail: &str| Err(AuthFailure::new(Reason::Invalid, detail));
    let Ok(value) = value.to_str() else {
        return invalid("the `Authorization` header holds characters that no token has");
    };
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return invalid("the `Authorization` header does not begin with `Bearer `");
    }
    let token = rest.trim_matches(' ');
    if token.is_empty() {
        return invalid("the `Authorization` header holds no token after `Bearer `");
    }
    if token.len() > MAX_TOKEN {
        return invalid("the token is longer than 16 KiB");
    }
    if token.contains([' ', '\t']) {
        return invalid("the `Authorization` header holds a space inside the token");
    }
    Ok(token)
}

/// The name of a parameter of the address that holds a token. `access_token` is one by RFC 6750; the
/// others are believed to be one only where nothing else came.
fn in_address(request: &Parts, has_header: bool) -> Option<&'static str> {
    let names = request.uri.query()?.split('&').map(|pair| pair.split('=').next().unwrap_or(pair));
    let known = if has_header { &IN_ADDRESS[..1] } else { IN_ADDRESS };
    names
        .into_iter()
        .find_map(|name| known.iter().find(|known| known.eq_ignore_ascii_case(name)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::fmt::Write as _;

    #[test]
    fn where_tokens_may_stand() {
        let mut table = String::new();
        for (uri, headers) in [
            ("/mcp", &["Bearer planted-secret"][..]),
            ("/mcp?x=1&token=shape", &["bearer   planted-secret  "]),
            ("/mcp", &[]),
            ("/mcp?access_token=planted-secret", &[]),
            ("/mcp?a=b&Access_Token=planted-secret", &["Bearer planted-secret"]),
            ("/mcp?api_key=planted-secret", &[]),
            ("/mcp", &["Basic cGxhbnRlZC1zZWNyZXQ="]),
            ("/mcp", &["Bearer"]),
            ("/mcp", &["Bearer planted-secret and more"]),
            ("/mcp", &["Bearer planted-secret\u{e9}"]),
            ("/mcp", &["Bearer planted-secret", "Bearer planted-secret"]),
        ] {
            let mut request = http::Request::builder().uri(uri);
            for header in headers {
                let value = http::HeaderValue::from_bytes(header.as_bytes()).unwrap();
                request = request.header("authorization", value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            match token(&parts) {
                Ok(found) => {
                    assert_eq!(found, "planted-secret");
                    writeln!(table, "taken").unwrap();
                }
                Err(failure) => {
                    assert!(!format!("{failure} {failure:?}").contains("planted"), "{failure:?}");
                    writeln!(table, "{} {}", failure.status().as_u16(), failure.detail()).unwrap();
                }
            }
        }
        expect![[r#"
            taken
            taken
            401 send a token as `Authorization: Bearer …`; `proxmox-mcp token new` makes one
            400 a token in the address (`?access_token=`) ends up in logs and histories, and is not taken: send it as `Authorization: Bearer …`, and revoke this one
            400 a token in the address (`?access_token=`) ends up in logs and histories, and is not taken: send it as `Authorization: Bearer …`, and revoke this one
            400 a token in the address (`?api_key=`) ends up in logs and histories, and is not taken: send it as `Authorization: Bearer …`, and revoke this one
            401 the `Authorization` header does not begin with `Bearer `
            401 the `Authorization` header holds no token after `Bearer `
            401 the `Authorization` header holds a space inside the token
            401 the `Authorization` header holds characters that no token has
            400 there are two `Authorization` headers: send one
        "#]].assert_eq(&table);
    }

    #[test]
    fn no_token_is_endless() {
        let value = format!("Bearer {}", "x".repeat(MAX_TOKEN + 1));
        let request = http::Request::builder().header("authorization", value);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(token(&parts).unwrap_err().detail(), "the token is longer than 16 KiB");
    }
}
