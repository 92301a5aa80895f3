//! What waits to be applied, read from the difference that a node shows between its two files of
//! interfaces. Pure.

/// One line that goes or comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The interface whose part of the file it stands in, if the difference shows that.
    pub(super) interface: Option<String>,
    /// Whether it comes.
    pub(super) is_new: bool,
    /// The line.
    pub(super) text: String,
}

/// Reads a unified difference.
pub(super) fn lines(diff: &str) -> Vec<Line> {
    let (mut found, mut interface) = (Vec::new(), None::<String>);
    for raw in diff.lines() {
        if raw.starts_with("---") || raw.starts_with("+++") {
            continue;
        }
        if raw.starts_with("@@") {
            interface = None;
            continue;
        }
        let Some(mark) = raw.chars().next() else { continue };
        let text = raw.get(mark.len_utf8()..).unwrap_or_default();
        let mut words = text.split_whitespace();
        if let (Some("iface" | "auto" | "allow-hotplug"), Some(name)) = (words.next(), words.next())
        {
            interface = Some(name.to_owned());
        }
        if !matches!(mark, '+' | '-') || text.trim().is_empty() {
            continue;
        }
        let text = text.trim().to_owned();
        found.push(Line { interface: interface.clone(), is_new: mark == '+', text });
    }
    found
}

/// The interfaces that change, each once; `None` where a change could not be placed.
pub(super) fn touched(lines: &[Line]) -> (Vec<String>, bool) {
    let mut names: Vec<String> = lines.iter().filter_map(|line| line.interface.clone()).collect();
    names.sort();
    names.dedup();
    (names, lines.iter().any(|line| line.interface.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_belong_to_their_interface() {
        let diff = "--- a\n+++ b\n@@ -1,9 +1,10 @@\n auto vmbr0\n iface vmbr0 inet static\n-\tmtu 1500\n+\tmtu 9000\n \n+auto vmbr1\n+iface vmbr1 inet manual\n@@ -40,3 +41,3 @@\n \tbridge-stp off\n-\tbridge-fd 0\n";
        let found = lines(diff);
        let shown: Vec<String> = found
            .iter()
            .map(|line| {
                let name = line.interface.as_deref().unwrap_or("?");
                format!("{name}{}{}", if line.is_new { '+' } else { '-' }, line.text)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "vmbr0-mtu 1500",
                "vmbr0+mtu 9000",
                "vmbr1+auto vmbr1",
                "vmbr1+iface vmbr1 inet manual",
                "?-bridge-fd 0"
            ]
        );
        assert_eq!(touched(&found), (vec!["vmbr0".to_owned(), "vmbr1".to_owned()], true));
        assert!(lines("").is_empty());
    }
}
