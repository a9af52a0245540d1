//! `"{vendor} {x}"`: text with places for what was matched.

/// A parsed template.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Place { name: String, filter: Option<Filter> },
}

#[derive(Clone, Copy, Debug)]
enum Filter {
    Upper,
    Lower,
    /// `_` and `+` become spaces.
    Spaces,
    /// `_` and `-` become dots: versions in host names and file names.
    Dots,
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            let Some((inside, tail)) = after.split_once('}') else {
                return Err("`{` is never closed".to_owned());
            };
            let (name, filter) = match inside.split_once('|') {
                None => (inside, None),
                Some((name, "upper")) => (name, Some(Filter::Upper)),
                Some((name, "lower")) => (name, Some(Filter::Lower)),
                Some((name, "spaces")) => (name, Some(Filter::Spaces)),
                Some((name, "dots")) => (name, Some(Filter::Dots)),
                Some((_, other)) => {
                    return Err(format!("`{other}` is none of upper, lower, spaces, dots"));
                }
            };
            if name.is_empty() {
                return Err("`{}` names nothing".to_owned());
            }
            parts.push(Part::Place { name: name.to_owned(), filter });
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// `{name}`.
    pub(super) fn place(name: &str) -> Self {
        Self(vec![Part::Place { name: name.to_owned(), filter: None }])
    }

    /// Names of its places.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Place { name, .. } => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The text, or `None` where the template is only places and none of them has a value.
    pub(super) fn fill<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut text = String::new();
        let (mut places, mut filled) = (0usize, 0usize);
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Place { name, filter } => {
                    places += 1;
                    let Some(value) = value_of(name) else {
                        continue;
                    };
                    filled += 1;
                    match filter {
                        None => text.push_str(value),
                        Some(Filter::Upper) => text.push_str(&value.to_uppercase()),
                        Some(Filter::Lower) => text.push_str(&value.to_lowercase()),
                        Some(Filter::Spaces) => text.push_str(&value.replace(['_', '+'], " ")),
                        Some(Filter::Dots) => text.push_str(&value.replace(['_', '-'], ".")),
                    }
                }
            }
        }
        (places == 0 || filled > 0).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_places() {
        let fill = |t: &str| {
            let template = Template::parse(t).unwrap();
            template.fill(|name| (name == "x").then_some("Ab_c"))
        };
        assert_eq!(fill("plain").as_deref(), Some("plain"));
        assert_eq!(fill("a {x}!").as_deref(), Some("a Ab_c!"));
        assert_eq!(fill("{x|upper} {x|lower}").as_deref(), Some("AB_C ab_c"));
        assert_eq!(fill("{x|spaces}{x|dots}").as_deref(), Some("Ab cAb.c"));
        assert_eq!(fill("v{y}"), None);
        for wrong in ["{", "{x", "{}", "{x|loud}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
