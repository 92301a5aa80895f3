//! `[input.<name>]` of type `discord`.

use inputs::discord;

use crate::events::client::Around;
use crate::events::fields::Fields;

// === impl Fields ===

impl Fields<'_, '_> {
    /// Which channels are heard, as whom, and how Discord is reached.
    pub(super) fn chat(&mut self, around: &Around<'_>) -> discord::Config {
        let read = |text: &str| {
            let shown: String = text.chars().take(40).collect();
            let why = "is no id: copy it in Discord, with developer mode on; it has digits only";
            text.parse::<u64>().map_err(|_| format!("{shown:?} {why}"))
        };
        let token = self.needed_secret("token");
        let mut config = discord::Config::new(token, self.parsed("channels", read));
        config.authors = self.parsed("authors", read).into_iter().collect();
        config.mentions = self.flag("mentions");
        if let Some(api) = self.text("api") {
            config.api = api;
        }
        config.http = self.http();
        config.identity = self.identity(around);
        config
    }
}
