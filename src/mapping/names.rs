//! RocketMQ topic names: what is one, and which a route may produce.

use std::fmt;

use super::{fault::Fault, shape::Shape};

/// The longest topic name that RocketMQ takes, in bytes.
const MAX_BYTES: usize = 127;

/// Why a text is no RocketMQ topic name, if it is none.
pub fn objection(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a RocketMQ topic may not be empty".to_owned());
    }
    if name.len() > MAX_BYTES {
        return Some(format!("a RocketMQ topic of {} bytes is over {MAX_BYTES}", name.len()));
    }
    let bad = name.chars().find(|c| !is_allowed(*c))?;
    Some(format!("a RocketMQ topic may not hold `{}`", bad.escape_debug()))
}

/// The characters of a name: `^[%|a-zA-Z0-9_-]+$`.
pub(super) fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '%' | '|' | '_' | '-')
}

/// A set of names: one, or all that start alike (`plant_*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    start: String,
    open: bool,
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.start, if self.open { "*" } else { "" })
    }
}

impl Names {
    /// Reads a name, or the start of names and a `*`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let (start, open) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        if let Some((at, c)) = start.char_indices().find(|(_, c)| !is_allowed(*c)) {
            let fault =
                Fault::new(at..at + c.len_utf8(), format!("a RocketMQ topic may not hold `{}`", c.escape_debug()));
            return Err(fault.hint("write a topic's name, or how names start and a `*`, such as `plant_*`"));
        }
        match objection(start) {
            Some(_) if open && start.is_empty() => {}
            Some(objection) => return Err(Fault::new(0..text.len(), objection)),
            None => {}
        }
        Ok(Self { start: start.to_owned(), open })
    }

    /// All names that a template may produce.
    pub(super) fn of(shape: &Shape) -> Self {
        Self { start: shape.prefix().to_owned(), open: shape.exact().is_none() }
    }

    /// The name, where there is only one.
    pub fn only(&self) -> Option<&str> {
        (!self.open).then_some(&self.start)
    }

    /// Whether a name is one of them.
    pub fn hold(&self, name: &str) -> bool {
        if self.open { name.starts_with(&self.start) } else { name == self.start }
    }

    /// The names that are in both sets.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let within = |inner: &Self, outer: &Self| {
            if outer.open { inner.start.starts_with(&outer.start) } else { !inner.open && inner == outer }
        };
        if within(self, other) { Some(self.clone()) } else { within(other, self).then(|| other.clone()) }
    }

    /// The name, where it is only one.
    pub fn single(&self) -> Option<&str> {
        (!self.open).then_some(self.start.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_rocketmq_takes() {
        let long = "x".repeat(127);
        for (name, fine) in
            [("plant", true), ("%RETRY%a|b_-9", true), (&long, true), ("", false), ("a/b", false), ("a.b", false)]
        {
            assert_eq!(objection(name).is_none(), fine, "{name}");
        }
        assert!(objection(&[&long, "x"].concat()).is_some());
    }

    #[test]
    fn a_star_takes_all_names_that_start_alike() {
        let names = |text| Names::parse(text).unwrap();
        assert!(names("plant_*").hold("plant_a") && !names("plant_*").hold("plant"));
        assert!(names("*").hold("x") && names("a").hold("a") && !names("a").hold("ab"));
        for (a, b, overlap) in
            [("a*", "ab*", true), ("a*", "b*", false), ("ab", "a*", true), ("a", "b", false), ("a", "a", true)]
        {
            assert_eq!(names(a).intersection(&names(b)).is_some(), overlap, "{a} {b}");
            assert_eq!(names(a).intersection(&names(b)), names(b).intersection(&names(a)), "{a} {b}");
        }
        for bad in ["", "a/*", "a*b", "#"] {
            assert!(Names::parse(bad).is_err(), "{bad}");
        }
    }
}
