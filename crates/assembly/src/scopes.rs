//! Scopes held against what there is: the catalogue's toolsets and the clusters of the settings.

use anyhow::bail;
use guard::Scope;
use settings::{ConfigError, Loaded};

/// What is wrong with a scope, and what could stand there instead.
struct Unknown {
    reason: String,
    hint: String,
}

/// Refuses a scope that names what there is not: it would allow less than was meant.
pub fn check(loaded: &Loaded, scope: &Scope) -> anyhow::Result<()> {
    match unknown(loaded, scope) {
        Some(Unknown { reason, hint }) => bail!("--scope {scope}: {reason}; {hint}"),
        None => Ok(()),
    }
}

/// The errors of the settings' own scopes, those of OAuth issuers.
pub fn errors(loaded: &Loaded) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for (name, issuer) in &loaded.settings.oauth {
        for (scope, allowed) in &issuer.scopes {
            if let Some(Unknown { reason, hint }) = unknown(loaded, allowed) {
                let mut error = loaded.error_at(&format!("oauth.{name}"), reason, hint);
                error.key = format!("oauth.{name}.scopes.{scope:?}");
                errors.push(error);
            }
        }
    }
    errors
}

fn unknown(loaded: &Loaded, scope: &Scope) -> Option<Unknown> {
    if let Err(mcp_tools::AppError::UnknownToolset { given, known }) =
        mcp_tools::chosen(&scope.toolsets)
    {
        let reason = format!("no toolset is called {given:?}");
        return Some(Unknown { reason, hint: format!("choose from {known}") });
    }
    let (pve, pbs) = (&loaded.settings.pve, &loaded.settings.pbs);
    let is_known = |key: &str| pve.contains_key(key) || pbs.contains_key(key);
    let stranger = scope.clusters.iter().find(|key| !is_known(key))?;
    let keys: Vec<&str> = pve.keys().chain(pbs.keys()).map(estate::ClusterKey::as_str).collect();
    let hint = if keys.is_empty() {
        "the settings have none yet".to_owned()
    } else {
        format!("choose from {}", keys.join(", "))
    };
    Some(Unknown { reason: format!("no cluster or server is called {stranger:?}"), hint })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use settings::Sources;

    use super::*;

    #[test]
    fn scopes_name_what_there_is() {
        let mut sources = Sources::default();
        let text = r#"
[oauth.idp]
issuer = "https://idp.example.lan"
audience = "https://mcp.example.lan/mcp"
[oauth.idp.scopes]
good = "read,toolset:default"
"a.tools" = "read,toolset:defualt"
clusters = "read,cluster:home"
"#;
        sources.texts.push(("mine".to_owned(), text.to_owned()));
        let loaded = settings::load(&sources).unwrap();
        let errors: Vec<String> = errors(&loaded).iter().map(ToString::to_string).collect();
        let refused = check(&loaded, &"operate,cluster:home".parse().unwrap()).unwrap_err();
        let known: Vec<&str> = errors[0].split("choose from").collect();
        assert!(known[1].contains("default") && known[1].contains("all"), "{known:?}");
        expect![[r#"
            mine:2: oauth.idp.scopes."a.tools": no toolset is called "defualt";
            mine:2: oauth.idp.scopes."clusters": no cluster or server is called "home"; the settings have none yet
            --scope operate,cluster:home: no cluster or server is called "home"; the settings have none yet"#]].assert_eq(&format!("{}\n{}\n{refused}", known[0].trim_end(), errors[1]));
    }
}
