//! An error with everything that caused it, on one line.

use std::{error::Error as StdError, fmt};

/// Prints an error and its sources, joined by `: `.
///
/// Our own errors never repeat their source; some from elsewhere do, so a text that the one before
/// already ends with is left out.
#[derive(Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn StdError + 'a));

// === impl Chain ===

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !text.is_empty() && !last.ends_with(&text) {
                if !last.is_empty() {
                    f.write_str(": ")?;
                }
                f.write_str(&text)?;
                last = text;
            }
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn every_cause_once() {
        let error = Link(
            "open it",
            Some(Box::new(Link("read: denied", Some(Box::new(Link("denied", None)))))),
        );
        assert_eq!(Chain(&error).to_string(), "open it: read: denied");
        assert_eq!(Chain(&Link("alone", None)).to_string(), "alone");
    }
}
