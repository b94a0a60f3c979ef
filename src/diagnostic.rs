//! What is wrong with a file that a person wrote, shown where it is wrong.
//!
//! Readers collect [`Fault`]s and go on, so that a person sees all of them at once, each with its line and a hint.
//! It must never read a file, print, or depend on colour to be understood.

use std::{cell::RefCell, fmt, ops::Range, sync::Arc};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet, renderer::DecorStyle};

/// A text that faults point into. Secrets in it are already hidden, byte for byte.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    path: String,
    text: String,
}

impl Source {
    /// A text and the name it is shown under, a path as a rule.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { path: path.into(), text: text.into() })
    }

    /// The name it is shown under.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// A stretch of a source, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    source: Arc<Source>,
    span: Range<usize>,
}

impl At {
    /// A stretch of a source; one that ends beyond the text is cut.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let end = span.end.min(source.text.len());
        Self { source: source.clone(), span: span.start.min(end)..end }
    }

    /// The whole source, for faults that have no place in it.
    pub fn whole(source: &Arc<Source>) -> Self {
        Self { source: source.clone(), span: 0..0 }
    }

    /// A part of a quoted value: `part` counts from the first byte of its content. The whole value when it has
    /// escapes, since content and text differ then.
    #[must_use]
    pub fn within(&self, content: &str, part: Range<usize>) -> Self {
        let raw = self.source.text.get(self.span.clone()).unwrap_or_default();
        let inner = raw.get(1..raw.len().saturating_sub(1));
        match (inner == Some(content), raw == content) {
            (true, _) => Self::new(&self.source, self.span.start + 1 + part.start..self.span.start + 1 + part.end),
            (false, true) => Self::new(&self.source, self.span.start + part.start..self.span.start + part.end),
            (false, false) => self.clone(),
        }
    }

    /// The source's path.
    pub fn path(&self) -> &str {
        self.source.path()
    }

    /// The line where it starts, from 1.
    pub fn line(&self) -> usize {
        1 + self.before().matches('\n').count()
    }

    /// The column where it starts, in characters from 1.
    pub fn column(&self) -> usize {
        let before = self.before();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        1 + before[line_start..].chars().count()
    }

    fn before(&self) -> &str {
        self.source.text.get(..self.span.start).unwrap_or_default()
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path(), self.line(), self.column())
    }
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used; a person should look at this.
    Warning,
}

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    severity: Severity,
    at: At,
    message: String,
    label: String,
    hint: Option<String>,
    other: Option<(At, String)>,
}

impl Fault {
    /// An error at a place. The message says what is wrong and stands alone; the label is shown at the place itself.
    pub fn error(at: At, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Error, at, message: message.into(), label: label.into(), hint: None, other: None }
    }

    /// A warning at a place.
    pub fn warning(at: At, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message, label) }
    }

    /// Adds the next step.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Adds the next step, if there is one to say.
    #[must_use]
    pub fn maybe_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// Shows a second place, such as the first of two equal names.
    #[must_use]
    pub fn other(self, at: At, label: impl Into<String>) -> Self {
        Self { other: Some((at, label.into())), ..self }
    }

    /// Where it is.
    pub fn at(&self) -> &At {
        &self.at
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the file cannot be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn group(&self) -> Group<'_> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str());
        let primary = AnnotationKind::Primary.span(self.at.span.clone()).label(self.label.as_str());
        let group = if self.at.source.text.is_empty() {
            title.element(Origin::path(self.at.path()))
        } else {
            match &self.other {
                Some((at, label)) if at.source == self.at.source => {
                    let second = AnnotationKind::Context.span(at.span.clone()).label(label.as_str());
                    title.element(snippet(&self.at, [primary, second]))
                }
                Some((at, label)) => {
                    let second = AnnotationKind::Context.span(at.span.clone()).label(label.as_str());
                    title.element(snippet(&self.at, [primary])).element(snippet(at, [second]))
                }
                None => title.element(snippet(&self.at, [primary])),
            }
        };
        match &self.hint {
            Some(hint) => group.element(Level::HELP.with_name("hint").message(hint.as_str())),
            None => group,
        }
    }
}

fn snippet<'a, const N: usize>(at: &'a At, marks: [Annotation<'a>; N]) -> Snippet<'a, Annotation<'a>> {
    Snippet::source(at.source.text.as_str()).path(at.path()).annotations(marks)
}

/// Collects faults while files are read.
#[derive(Debug, Default)]
pub struct Faults {
    faults: RefCell<Vec<Fault>>,
    broken: RefCell<Vec<Arc<Source>>>,
}

impl Faults {
    /// Notes a fault.
    pub fn add(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// Notes that a source could not be parsed whole, so that what seems missing may only be unread.
    pub fn mark_broken(&self, source: &Arc<Source>) {
        self.broken.borrow_mut().push(source.clone());
    }

    /// Whether the source of a place could not be parsed whole.
    pub fn is_broken(&self, at: &At) -> bool {
        self.broken.borrow().contains(&at.source)
    }

    /// Whether an error was noted.
    pub fn has_errors(&self) -> bool {
        self.faults.borrow().iter().any(Fault::is_error)
    }

    /// All faults, sorted by place.
    pub fn into_report(self) -> Report {
        let mut faults = self.faults.into_inner();
        faults.sort_by(|a, b| {
            let key = |fault: &Fault| (fault.at.source.path.clone(), fault.at.span.start);
            key(a).cmp(&key(b))
        });
        faults.dedup();
        Report { faults }
    }
}

/// Everything that is wrong, in the order of the files.
#[derive(Debug, Default)]
pub struct Report {
    faults: Vec<Fault>,
}

impl Report {
    /// The faults.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether a file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.faults.iter().any(Fault::is_error)
    }

    /// All faults as text for a person, with a count at the end; empty when there are none.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for fault in &self.faults {
            text += &renderer.render(&[fault.group()]);
            text += "\n\n";
        }
        text + &self.count()
    }

    fn count(&self) -> String {
        let errors = self.faults.iter().filter(|fault| fault.is_error()).count();
        let warnings = self.faults.len() - errors;
        let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        match (errors, warnings) {
            (0, 0) => String::new(),
            (0, _) => format!("warning: {}\n", plural(warnings, "warning")),
            (_, 0) => format!("error: {}\n", plural(errors, "error")),
            (_, _) => format!("error: {}, {}\n", plural(errors, "error"), plural(warnings, "warning")),
        }
    }
}

/// `did you mean ...?`, when a known word is near enough to what was written.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(written, known).map(|word| format!("did you mean `{word}`?"))
}

/// The known word that is nearest to what was written, if it can be a slip of the pen.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let likeness = |word: &str| {
        let word = word.to_lowercase();
        // In a short word, one slip changes too much of it for a measure of likeness.
        let one_slip = word.len() > 2 && strsim::osa_distance(&written, &word) == 1;
        strsim::jaro_winkler(&written, &word).max(if one_slip { 0.9 } else { 0.0 })
    };
    known
        .into_iter()
        .map(|word| (likeness(word), word))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(source: &Arc<Source>, part: &str) -> At {
        let start = source.text.find(part).expect("part is in the text");
        At::new(source, start..start + part.len())
    }

    #[test]
    fn faults_are_shown_in_the_order_of_the_files_with_line_hint_and_count() {
        let first = Source::new("a.toml", "one = 1\ntwo = 2\n");
        let second = Source::new("b.toml", "name = \"x\"\n");
        let faults = Faults::default();
        faults.add(
            Fault::error(at(&second, "\"x\""), "name `x` is used twice", "used again here")
                .other(at(&first, "two"), "first used here"),
        );
        faults.add(Fault::warning(at(&first, "two"), "`two` is old", "old").hint("use `three`"));
        faults.add(Fault::error(at(&first, "1"), "1 is too small", "at least 2"));
        faults.add(Fault::error(At::whole(&Source::new("c.toml", "")), "cannot read the file", ""));
        insta::assert_snapshot!(faults.into_report().render(false));
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let source = Source::new("x", "ab\nüüz\n");
        let place = at(&source, "z");
        assert_eq!((place.line(), place.column()), (2, 3));
    }

    #[test]
    fn a_part_of_a_value_is_found_unless_it_has_escapes() {
        let source = Source::new("x", r#"a = "{b}" c = "\u0041{b}""#);
        assert_eq!(at(&source, "\"{b}\"").within("{b}", 0..3).span, 5..8);
        let escaped = at(&source, r#""\u0041{b}""#);
        assert_eq!(escaped.within("A{b}", 1..4), escaped);
    }

    #[test]
    fn only_slips_of_the_pen_get_a_suggestion() {
        assert_eq!(nearest("form", ["from", "to"]), Some("from"));
        assert_eq!(nearest("pasword", ["user", "password"]), Some("password"));
        assert_eq!(nearest("ulr", ["url", "version"]), Some("url"));
        assert_eq!(nearest("zebra", ["from", "to"]), None);
    }
}
