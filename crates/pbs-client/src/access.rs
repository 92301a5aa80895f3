//! Who may do what: permissions, users, tokens, roles, access control lists, realms, tickets.

use std::collections::BTreeMap;

use api_core::{Request, de::Done, params, path, reply};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

/// Privileges by path: `permissions["/datastore/main"]["Datastore.Audit"]` is whether it reaches
/// further down.
pub type Permissions = BTreeMap<String, BTreeMap<String, bool>>;

reply! {
    /// A user.
    pub struct User {
        /// `name@realm`.
        pub id: String = "userid",
        pub enabled: Option<bool> = "enable",
        pub expires: Option<Timestamp> = "expire",
        pub email: Option<String>,
        pub first_name: Option<String> = "firstname",
        pub last_name: Option<String> = "lastname",
        pub comment: Option<String>,
        /// Only with `include_tokens`.
        pub tokens: Vec<Token>,
        pub totp_locked: Option<bool> = "totp-locked",
        pub tfa_locked_until: Option<Timestamp> = "tfa-locked-until",
    }
}

reply! {
    /// An API token.
    pub struct Token {
        /// `user@realm!name`.
        pub id: String = "tokenid",
        /// The part after `!`; only in lists.
        pub name: Option<String> = "token-name",
        pub enabled: Option<bool> = "enable",
        pub expires: Option<Timestamp> = "expire",
        pub comment: Option<String>,
    }
}

reply! {
    /// A token that was just made. The secret is shown this once.
    pub struct NewToken {
        /// `user@realm!name`.
        pub id: String = "tokenid",
        pub secret: SecretString = "value",
    }
}

reply! {
    /// A token's new secret, shown this once.
    pub struct NewSecret {
        pub secret: SecretString,
    }
}

reply! {
    /// A set of privileges. All come with the product.
    pub struct Role {
        pub id: String = "roleid",
        pub privileges: Vec<String> = "privs",
        pub comment: Option<String>,
    }
}

reply! {
    /// A line of the access control list.
    pub struct AclEntry {
        pub path: String,
        pub role: String = "roleid",
        /// `user` (tokens included) or `group`.
        pub kind: String = "ugid_type",
        pub id: String = "ugid",
        pub propagate: bool,
    }
}

reply! {
    /// A place where users log in.
    pub struct Realm {
        pub realm: String,
        pub kind: String = "type",
        pub comment: Option<String>,
        pub default: bool,
    }
}

reply! {
    /// A session.
    pub struct Ticket {
        pub username: String,
        /// Two hours of session, or a second factor's challenge (`PBS:!tfa!…`).
        pub ticket: Option<SecretString>,
        pub csrf_token: Option<SecretString> = "CSRFPreventionToken",
        /// Instead of the ticket where that went into a cookie.
        pub info: Option<SecretString> = "ticket-info",
    }
}

reply! {
    /// The second factors of a user.
    pub struct UserFactors {
        pub user: String = "userid",
        pub entries: Vec<Factor>,
        pub totp_locked: Option<bool> = "totp-locked",
        pub locked_until: Option<Timestamp> = "tfa-locked-until",
    }
}

reply! {
    /// A second factor.
    pub struct Factor {
        pub id: String,
        /// `totp`, `webauthn`, `recovery`, `u2f` or `yubico`.
        pub kind: String = "type",
        /// On without.
        pub enabled: Option<bool> = "enable",
        pub created: Option<Timestamp>,
        pub description: Option<String>,
    }
}

params! {
    /// A login.
    pub struct TicketParams {
        /// `name@realm`.
        pub username: String,
        /// The password, a ticket that still holds, or `totp:123456` as answer to a challenge.
        pub password: Option<SecretString>,
        pub tfa_challenge: Option<SecretString> = "tfa-challenge",
    }
}

params! {
    /// A user to make or to change.
    pub struct UserParams {
        pub comment: Option<String>,
        pub email: Option<String>,
        pub enabled: Option<bool> = "enable",
        pub expires: Option<Timestamp> = "expire",
        pub first_name: Option<String> = "firstname",
        pub last_name: Option<String> = "lastname",
    }
}

params! {
    /// A token to make or to change.
    pub struct TokenParams {
        pub comment: Option<String>,
        pub enabled: Option<bool> = "enable",
        pub expires: Option<Timestamp> = "expire",
    }
}

params! {
    /// A role for a user, group or token on a path.
    pub struct AclParams {
        pub path: String,
        pub role: String,
        /// A user, or `user@realm!name`.
        pub auth_id: Option<String> = "auth-id",
        pub group: Option<String>,
        pub propagate: Option<bool>,
        /// Take the role away instead.
        pub delete: Option<bool>,
    }
}

/// `POST /access/ticket`. Open.
pub fn ticket(options: TicketParams) -> Request<Ticket> {
    Request::post(path!["access", "ticket"]).params(options.into())
}

/// `GET /access/permissions`: one's own, or another's with `Sys.Audit` on `/access`. `auth_id` is a
/// user or a token.
pub fn permissions(auth_id: Option<&str>, path: Option<&str>) -> Request<Permissions> {
    Request::get(path!["access", "permissions"]).opt("auth-id", auth_id).opt("path", path)
}

/// `GET /access/users`. Any login sees itself; others need `Sys.Audit` on `/access/users`.
pub fn users(include_tokens: bool) -> Request<Vec<User>> {
    Request::get(path!["access", "users"]).flag("include_tokens", include_tokens.then_some(true))
}

/// `GET /access/users/{userid}`. One's own, or `Sys.Audit` on `/access/users`.
pub fn user(id: &str) -> Request<User> {
    Request::get(path!["access", "users", id])
}

/// `GET /access/users/{userid}/token`. One's own, or `Sys.Audit` on `/access/users`.
pub fn tokens(user: &str) -> Request<Vec<Token>> {
    Request::get(path!["access", "users", user, "token"])
}

/// `GET /access/users/{userid}/token/{token-name}`. One's own, or `Sys.Audit` on `/access/users`.
pub fn token(user: &str, name: &str) -> Request<Token> {
    Request::get(path!["access", "users", user, "token", name])
}

/// `GET /access/roles`. Any login.
pub fn roles() -> Request<Vec<Role>> {
    Request::get(path!["access", "roles"])
}

/// `GET /access/acl`. Any login sees its tokens' lines; all need `Sys.Audit` on `/access/acl`.
pub fn acl(path: Option<&str>, exact: bool) -> Request<Vec<AclEntry>> {
    Request::get(path!["access", "acl"]).opt("path", path).flag("exact", exact.then_some(true))
}

/// `GET /access/tfa`: who has which second factors. Any login sees its own; others' need
/// `Permissions.Modify` on `/access/users`.
pub fn factors() -> Request<Vec<UserFactors>> {
    Request::get(path!["access", "tfa"])
}

/// `GET /access/domains`. Open.
pub fn realms() -> Request<Vec<Realm>> {
    Request::get(path!["access", "domains"])
}

/// `POST /access/users`. Needs `Permissions.Modify` on `/access/users`.
pub fn create_user(
    id: &str,
    password: Option<&SecretString>,
    options: UserParams,
) -> Request<Done> {
    Request::post(path!["access", "users"])
        .param("userid", id)
        .opt("password", password.map(ExposeSecret::expose_secret))
        .params(options.into())
}

/// `PUT /access/users/{userid}`. One's own, or `Permissions.Modify` on `/access/users`.
pub fn update_user(id: &str, options: UserParams) -> Request<Done> {
    Request::put(path!["access", "users", id]).params(options.into()).idempotent()
}

/// `DELETE /access/users/{userid}`: with its tokens. Needs `Permissions.Modify` on `/access/users`.
pub fn delete_user(id: &str) -> Request<Done> {
    Request::delete(path!["access", "users", id])
}

/// `POST /access/users/{userid}/token/{token-name}`. One's own, or `Permissions.Modify` on
/// `/access/users`.
pub fn create_token(user: &str, name: &str, options: TokenParams) -> Request<NewToken> {
    Request::post(path!["access", "users", user, "token", name]).params(options.into())
}

/// `PUT /access/users/{userid}/token/{token-name}`. One's own, or `Permissions.Modify` on
/// `/access/users`.
pub fn update_token(user: &str, name: &str, options: TokenParams) -> Request<Done> {
    Request::put(path!["access", "users", user, "token", name]).params(options.into()).idempotent()
}

/// `PUT /access/users/{userid}/token/{token-name}` with `regenerate` (since 3.3): a new secret; the
/// old one ends. One's own, or `Permissions.Modify` on `/access/users`.
pub fn regenerate_token(user: &str, name: &str) -> Request<NewSecret> {
    Request::put(path!["access", "users", user, "token", name]).param("regenerate", 1)
}

/// `DELETE /access/users/{userid}/token/{token-name}`. One's own, or `Permissions.Modify` on
/// `/access/users`.
pub fn delete_token(user: &str, name: &str) -> Request<Done> {
    Request::delete(path!["access", "users", user, "token", name])
}

/// `PUT /access/acl`: adds or takes away. Needs `Permissions.Modify` on `/access/acl`, or to give
/// one's own token.
pub fn update_acl(options: AclParams) -> Request<Done> {
    Request::put(path!["access", "acl"]).params(options.into()).idempotent()
}
