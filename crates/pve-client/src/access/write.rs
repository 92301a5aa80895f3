//! Changes of users, tokens, roles and access control lists.

use super::{CommaList, Done, NewToken, Request, SecretString, Timestamp, params, path};

params! {
    /// A user to make or to change.
    pub struct UserParams {
        pub comment: Option<String>,
        pub email: Option<String>,
        pub enabled: Option<bool> = "enable",
        pub expires: Option<Timestamp> = "expire",
        pub first_name: Option<String> = "firstname",
        pub last_name: Option<String> = "lastname",
        pub groups: CommaList,
    }
}

params! {
    /// A token to make or to change.
    pub struct TokenParams {
        pub comment: Option<String>,
        pub expires: Option<Timestamp> = "expire",
        /// Whether it has permissions of its own instead of the user's; yes without.
        pub separate: Option<bool> = "privsep",
    }
}

params! {
    /// Roles for users, groups or tokens on a path.
    pub struct AclParams {
        pub path: String,
        pub roles: CommaList,
        pub users: CommaList,
        pub groups: CommaList,
        /// `user@realm!name`.
        pub tokens: CommaList,
        pub propagate: Option<bool>,
        /// Take the roles away instead.
        pub delete: Option<bool>,
    }
}

/// `POST /access/users`. Needs `Realm.AllocateUser` on the realm, and `User.Modify` on a group of
/// the user or `/access/groups`.
pub fn create_user(
    id: &str,
    password: Option<&SecretString>,
    options: UserParams,
) -> Request<Done> {
    use secrecy::ExposeSecret;

    Request::post(path!["access", "users"])
        .param("userid", id)
        .opt("password", password.map(ExposeSecret::expose_secret))
        .params(options.into())
        .protected()
}

/// `PUT /access/users/{userid}`. Needs `User.Modify` on a group of the user or `/access/groups`.
pub fn update_user(id: &str, options: UserParams) -> Request<Done> {
    Request::put(path!["access", "users", id]).params(options.into()).protected().idempotent()
}

/// `DELETE /access/users/{userid}`: with its tokens. Needs `Realm.AllocateUser` on the realm, and
/// `User.Modify` on a group of the user or `/access/groups`.
pub fn delete_user(id: &str) -> Request<Done> {
    Request::delete(path!["access", "users", id]).protected()
}

/// `POST /access/users/{userid}/token/{tokenid}`: the name has at least two characters. One's own,
/// or `User.Modify` on a group of the user or `/access/groups`.
pub fn create_token(user: &str, name: &str, options: TokenParams) -> Request<NewToken> {
    Request::post(path!["access", "users", user, "token", name]).params(options.into()).protected()
}

/// `PUT /access/users/{userid}/token/{tokenid}`. One's own, or `User.Modify` as for
/// [`create_token`].
pub fn update_token(user: &str, name: &str, options: TokenParams) -> Request<Done> {
    Request::put(path!["access", "users", user, "token", name])
        .params(options.into())
        .protected()
        .idempotent()
}

/// `PUT /access/users/{userid}/token/{tokenid}` with `regenerate` (since 9.1): a new secret; the old
/// one ends. One's own, or `User.Modify` as for [`create_token`].
pub fn regenerate_token(user: &str, name: &str) -> Request<NewToken> {
    Request::put(path!["access", "users", user, "token", name]).param("regenerate", 1).protected()
}

/// `DELETE /access/users/{userid}/token/{tokenid}`. One's own, or `User.Modify` as for
/// [`create_token`].
pub fn delete_token(user: &str, name: &str) -> Request<Done> {
    Request::delete(path!["access", "users", user, "token", name]).protected()
}

/// `POST /access/roles`. Needs `Sys.Modify` on `/access`.
pub fn create_role(id: &str, privileges: &[&str]) -> Request<Done> {
    Request::post(path!["access", "roles"])
        .param("roleid", id)
        .param("privs", privileges.join(","))
        .protected()
}

/// `PUT /access/roles/{roleid}`: `append` adds to the privileges instead of replacing them. Needs
/// `Sys.Modify` on `/access`.
pub fn update_role(id: &str, privileges: &[&str], append: bool) -> Request<Done> {
    Request::put(path!["access", "roles", id])
        .param("privs", privileges.join(","))
        .flag("append", append.then_some(true))
        .protected()
        .idempotent()
}

/// `DELETE /access/roles/{roleid}`. Needs `Sys.Modify` on `/access`.
pub fn delete_role(id: &str) -> Request<Done> {
    Request::delete(path!["access", "roles", id]).protected()
}

/// `PUT /access/acl`: adds or takes away. Needs `Permissions.Modify` on the path; who has less can
/// give only roles that they have themselves.
pub fn update_acl(options: AclParams) -> Request<Done> {
    Request::put(path!["access", "acl"]).params(options.into()).protected().idempotent()
}
