//! The sources of notices, and which of them may have lost some. Pure.

/// A source, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceId(pub(super) u32);

/// What is known of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: Box<str>,
    /// Where its latest gap ends, by its broker's clock in milliseconds; 0 without one.
    pub(super) gap_until: u64,
    /// When all was known of it for the last time; 0 before that.
    pub(super) reset_at: u64,
}

/// All sources that were ever named. They are few: each is a route that somebody wrote.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources(pub(super) Vec<Source>);

impl Sources {
    pub(super) fn id(&mut self, name: &str) -> SourceId {
        let known = self.0.iter().position(|source| &*source.name == name);
        let place = known.unwrap_or_else(|| {
            self.0.push(Source { name: name.into(), gap_until: 0, reset_at: 0 });
            self.0.len() - 1
        });
        SourceId(u32::try_from(place).unwrap_or(u32::MAX))
    }

    pub(super) fn named(&mut self, name: &str) -> Option<&mut Source> {
        let id = self.id(name);
        self.0.get_mut(id.0 as usize)
    }

    /// Until when events of a source may be missing; nothing once all is known.
    pub(super) fn gap(&self, id: SourceId) -> Option<u64> {
        self.0.get(id.0 as usize).and_then(Source::gap)
    }

    pub(super) fn have_gap(&self) -> bool {
        self.0.iter().any(|source| source.gap().is_some())
    }
}

impl Source {
    /// Where its gap ends, while it counts.
    pub(super) fn gap(&self) -> Option<u64> {
        (self.gap_until > self.reset_at).then_some(self.gap_until)
    }
}
