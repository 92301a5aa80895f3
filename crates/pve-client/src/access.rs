//! Who may do what: permissions, users, tokens, roles, access control lists, realms, tickets.

use std::collections::BTreeMap;

use api_core::{
    Request,
    de::{CommaList, Done},
    params, path, reply,
};
use jiff::Timestamp;
use secrecy::SecretString;

mod write;

pub use write::*;

/// Privileges by path: `permissions["/vms/100"]["VM.Audit"]` is whether it reaches further down.
pub type Permissions = BTreeMap<String, BTreeMap<String, Propagate>>;

/// Whether a privilege holds below its path, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagate(pub bool);

impl<'de> serde::Deserialize<'de> for Propagate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let flag = <bool as api_core::de::Lenient>::read(deserializer)?;
        Ok(Self(flag.unwrap_or(false)))
    }
}

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
        pub groups: Vec<String>,
        pub realm_kind: Option<String> = "realm-type",
        /// Only with `full`.
        pub tokens: Vec<Token>,
        pub keys: Option<SecretString>,
        pub totp_locked: Option<bool> = "totp-locked",
        pub tfa_locked_until: Option<Timestamp> = "tfa-locked-until",
    }
}

reply! {
    /// One user.
    pub struct UserDetail {
        pub enabled: Option<bool> = "enable",
        pub expires: Option<Timestamp> = "expire",
        pub email: Option<String>,
        pub first_name: Option<String> = "firstname",
        pub last_name: Option<String> = "lastname",
        pub comment: Option<String>,
        pub groups: Vec<String>,
        /// By the token's name.
        pub tokens: BTreeMap<String, TokenInfo>,
        pub keys: Option<SecretString>,
    }
}

reply! {
    /// An API token in a list.
    pub struct Token {
        /// The part after `!`.
        pub name: String = "tokenid",
        pub comment: Option<String>,
        pub expires: Option<Timestamp> = "expire",
        /// Whether it has permissions of its own instead of the user's.
        pub separate: bool = "privsep",
    }
}

reply! {
    /// One API token.
    pub struct TokenInfo {
        pub comment: Option<String>,
        pub expires: Option<Timestamp> = "expire",
        /// Whether it has permissions of its own instead of the user's.
        pub separate: bool = "privsep",
    }
}

reply! {
    /// A token that was just made. The secret is shown this once.
    pub struct NewToken {
        /// `user@realm!name`.
        pub id: String = "full-tokenid",
        pub secret: SecretString = "value",
        pub info: Option<TokenInfo>,
    }
}

reply! {
    /// A group of users.
    pub struct Group {
        pub id: String = "groupid",
        pub comment: Option<String>,
        pub users: Vec<String>,
    }
}

reply! {
    /// One group.
    pub struct GroupDetail {
        pub comment: Option<String>,
        pub members: Vec<String>,
    }
}

reply! {
    /// A set of privileges.
    pub struct Role {
        pub id: String = "roleid",
        pub privileges: Vec<String> = "privs",
        /// Whether it came with the product.
        pub special: bool,
    }
}

reply! {
    /// A line of the access control list.
    pub struct AclEntry {
        pub path: String,
        pub role: String = "roleid",
        /// `user`, `group` or `token`.
        pub kind: String = "type",
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
        pub tfa: Option<String>,
        pub default: bool,
    }
}

reply! {
    /// A session.
    pub struct Ticket {
        pub username: String,
        /// Two hours of session; or a challenge if `needs_tfa`.
        pub ticket: Option<SecretString>,
        pub csrf_token: Option<SecretString> = "CSRFPreventionToken",
        pub cluster_name: Option<String> = "clustername",
        pub needs_tfa: bool = "NeedTFA",
        pub capabilities: serde_json::Value = "cap",
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

/// `POST /access/ticket`. Open; tokens are refused.
pub fn ticket(options: TicketParams) -> Request<Ticket> {
    Request::post(path!["access", "ticket"]).params(options.into()).protected()
}

/// `GET /access/permissions`: one's own, or another's with `Sys.Audit` on `/access`. `auth_id` is a
/// user or a token.
pub fn permissions(auth_id: Option<&str>, path: Option<&str>) -> Request<Permissions> {
    Request::get(path!["access", "permissions"]).opt("userid", auth_id).opt("path", path)
}

/// `GET /access/users`: `full` with groups and tokens. Any login sees itself; others need
/// `User.Modify` or `Sys.Audit` on `/access/groups` or a group of theirs.
pub fn users(full: bool) -> Request<Vec<User>> {
    Request::get(path!["access", "users"]).flag("full", full.then_some(true)).protected()
}

/// `GET /access/users/{userid}`. Needs `User.Modify` or `Sys.Audit` on a group of the user or
/// `/access/groups`.
pub fn user(id: &str) -> Request<UserDetail> {
    Request::get(path!["access", "users", id])
}

/// `GET /access/users/{userid}/token`. One's own, or `User.Modify` as for [`user`].
pub fn tokens(user: &str) -> Request<Vec<Token>> {
    Request::get(path!["access", "users", user, "token"])
}

/// `GET /access/users/{userid}/token/{tokenid}`. One's own, or `User.Modify` as for [`user`].
pub fn token(user: &str, name: &str) -> Request<TokenInfo> {
    Request::get(path!["access", "users", user, "token", name])
}

/// `GET /access/groups`. Any login; shows groups on which it has `User.Modify`, `Sys.Audit` or
/// `Group.Allocate`.
pub fn groups() -> Request<Vec<Group>> {
    Request::get(path!["access", "groups"])
}

/// `GET /access/groups/{groupid}`. Needs `Sys.Audit` or `Group.Allocate` on `/access/groups`.
pub fn group(id: &str) -> Request<GroupDetail> {
    Request::get(path!["access", "groups", id])
}

/// `GET /access/roles`. Any login.
pub fn roles() -> Request<Vec<Role>> {
    Request::get(path!["access", "roles"])
}

/// `GET /access/roles/{roleid}`: the privileges that the role has. Any login.
pub fn role(id: &str) -> Request<BTreeMap<String, Propagate>> {
    Request::get(path!["access", "roles", id])
}

/// `GET /access/acl`. Any login; shows the paths on which it has `Permissions.Modify`, or
/// everything with `Sys.Audit` on `/access`.
pub fn acl() -> Request<Vec<AclEntry>> {
    Request::get(path!["access", "acl"])
}

/// `GET /access/tfa`: who has which second factors. Any login sees its own; others' need `Sys.Audit`
/// or `User.Modify` on a group of theirs or `/access/groups`.
pub fn factors() -> Request<Vec<UserFactors>> {
    Request::get(path!["access", "tfa"]).protected()
}

/// `GET /access/domains`. Open.
pub fn realms() -> Request<Vec<Realm>> {
    Request::get(path!["access", "domains"])
}
