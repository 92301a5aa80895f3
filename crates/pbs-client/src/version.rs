//! What the server is.

use api_core::{Request, path, reply};

reply! {
    /// The product's version: `version` is `4.2`, `release` the number behind it.
    pub struct Version {
        pub version: String,
        pub release: String,
        /// The build.
        pub repoid: String,
    }
}

reply! {
    /// A sign of life.
    pub struct Ping {
        pub pong: bool,
    }
}

/// `GET /version`. Any login.
pub fn get() -> Request<Version> {
    Request::get(path!["version"])
}

/// `GET /ping`. Open.
pub fn ping() -> Request<Ping> {
    Request::get(path!["ping"])
}

impl Version {
    /// Major and minor number; `(0, 0)` if the text is none.
    pub fn numbers(&self) -> (u32, u32) {
        let mut parts = self.version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// The major number; 0 if the text is none.
    pub fn major(&self) -> u32 {
        self.numbers().0
    }

    /// Whether it is `major.minor` or newer.
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        self.numbers() >= (major, minor)
    }
}
