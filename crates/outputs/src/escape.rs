//! Makes text of others mean nothing to the service that shows it.

use std::borrow::Cow;

/// How a channel writes text that means only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// As it is.
    None,
    /// Markdown as Discord reads it: marks, links, mentions.
    Markdown,
    /// Markdown as it was meant: the same, and a line ends where the text says so.
    CommonMark,
    /// Slack, which takes `&`, `<` and `>` for its own: links, mentions and orders stand in brackets.
    Slack,
    /// HTML.
    Html,
}

// === impl Escape ===

impl Escape {
    const ALL: [Self; 5] = [Self::None, Self::Markdown, Self::CommonMark, Self::Slack, Self::Html];

    /// The name by which the template engine carries it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Markdown => "markdown",
            Self::CommonMark => "commonmark",
            Self::Slack => "slack",
            Self::Html => "html",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|escape| escape.name() == name)
    }

    /// The text so that it means only itself.
    pub(crate) fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Markdown => markdown(text),
            Self::CommonMark => match markdown(text) {
                text if text.contains('\n') => Cow::Owned(text.replace('\n', "  \n")),
                text => text,
            },
            Self::Slack => replaced(text, |c| match c {
                '&' => Some("&amp;"),
                '<' => Some("&lt;"),
                '>' => Some("&gt;"),
                _ => None,
            }),
            Self::Html => replaced(text, |c| match c {
                '&' => Some("&amp;"),
                '<' => Some("&lt;"),
                '>' => Some("&gt;"),
                '"' => Some("&quot;"),
                '\'' => Some("&#39;"),
                _ => None,
            }),
        }
    }
}

fn markdown(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut at_start = true;
    for (at, c) in text.char_indices() {
        let means_something = match c {
            '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '<' | '>' | '@' => true,
            // A heading, or Discord's small print `-#`.
            '#' => at_start || text[..at].ends_with('-'),
            _ => false,
        };
        if means_something && out.is_empty() {
            out.push_str(&text[..at]);
        }
        if means_something {
            out.push('\\');
        }
        if !out.is_empty() {
            out.push(c);
        }
        at_start = if c == '\n' { true } else { at_start && c == ' ' };
    }
    if out.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

fn replaced(text: &str, name: impl Fn(char) -> Option<&'static str>) -> Cow<'_, str> {
    if text.chars().all(|c| name(c).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match name(c) {
            Some(name) => out.push_str(name),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_means_only_itself() {
        for (escape, given, written) in [
            (Escape::None, "<b> @everyone", "<b> @everyone"),
            (Escape::Markdown, "plain text - 104", "plain text - 104"),
            (Escape::Markdown, "@everyone <@&1>", r"\@everyone \<\@&1\>"),
            (Escape::Markdown, "a_b *c* `d` ||e||", r"a\_b \*c\* \`d\` \|\|e\|\|"),
            (Escape::Markdown, "[x](http://y) ![i](z)", r"\[x\](http://y) !\[i\](z)"),
            (Escape::Markdown, "# big\n  ## b #3\n-# small", "\\# big\n  \\## b #3\n-\\# small"),
            (Escape::CommonMark, "a*\nb\n\n- c", "a\\*  \nb  \n  \n- c"),
            (Escape::Slack, "<!channel> & *b*", "&lt;!channel&gt; &amp; *b*"),
            (Escape::Html, "<a href='x\">&", "&lt;a href=&#39;x&quot;&gt;&amp;"),
        ] {
            assert_eq!(escape.apply(given), written);
            assert_eq!(Escape::of(escape.name()), Some(escape));
        }
    }
}
