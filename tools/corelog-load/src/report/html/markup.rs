//! Markup that cannot be broken by what stands in it: text and attribute values are escaped as they go in, and elements
//! close themselves. What comes out is HTML, and well-formed XML too, so that tests can parse it strictly.

/// A piece of markup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Nothing.
    pub fn new() -> Html {
        Html::default()
    }

    /// Markup from this source code. Not for text from elsewhere, which the lifetime keeps out.
    pub fn constant(markup: &'static str) -> Html {
        Html(markup.to_owned())
    }

    /// Appends.
    pub fn push(&mut self, more: impl Into<Html>) {
        self.0.push_str(&more.into().0);
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The markup.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl From<&str> for Html {
    fn from(text: &str) -> Html {
        Html(escaped(text))
    }
}

impl From<&String> for Html {
    fn from(text: &String) -> Html {
        Html(escaped(text))
    }
}

impl From<String> for Html {
    fn from(text: String) -> Html {
        Html(escaped(&text))
    }
}

impl From<Vec<Html>> for Html {
    fn from(pieces: Vec<Html>) -> Html {
        Html(pieces.into_iter().map(Html::into_string).collect())
    }
}

impl<const N: usize> From<[Html; N]> for Html {
    fn from(pieces: [Html; N]) -> Html {
        pieces.to_vec().into()
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(pieces: I) -> Html {
        pieces.into_iter().collect::<Vec<_>>().into()
    }
}

/// An element with its attributes and what is in it.
pub fn element(name: &'static str, attributes: &[(&'static str, &str)], content: impl Into<Html>) -> Html {
    Html(format!("<{name}{}>{}</{name}>", attribute_list(attributes), content.into().0))
}

/// An element with nothing but a class.
pub fn classed(name: &'static str, class: &str, content: impl Into<Html>) -> Html {
    element(name, &[("class", class)], content)
}

/// An element with nothing but content.
pub fn plain(name: &'static str, content: impl Into<Html>) -> Html {
    element(name, &[], content)
}

/// An element that never has content: `meta`, or a shape of SVG.
pub fn empty(name: &'static str, attributes: &[(&'static str, &str)]) -> Html {
    Html(format!("<{name}{}/>", attribute_list(attributes)))
}

fn attribute_list(attributes: &[(&'static str, &str)]) -> String {
    attributes.iter().map(|(name, value)| format!(" {name}=\"{}\"", escaped(value))).collect()
}

/// Text as it stands in elements and quoted attributes. Characters that no document may hold, or that would change the
/// direction of what follows, are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            _ if character.is_control() => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_wherever_it_stands() {
        let hostile = "</td><script>alert('1')</script> \" onload=x & \u{0}\u{1b}[31m\u{ffff}\u{202e}é\n";
        let markup = element("p", &[("title", hostile)], hostile).into_string();
        let parsed = roxmltree::Document::parse(&markup).expect("well-formed");
        let kept = hostile.replace(['\u{0}', '\u{1b}', '\u{ffff}', '\u{202e}'], "\u{fffd}");
        assert_eq!(parsed.root_element().text(), Some(kept.as_str()));
        // Parsers make line ends in attributes spaces.
        assert_eq!(parsed.root_element().attribute("title"), Some(kept.replace('\n', " ").as_str()));
        assert_eq!(parsed.descendants().filter(|node| node.is_element()).count(), 1);
    }
}
