//! The characters of an expression one after the other, what is written of them, and the group in which they stand.

/// Reads an expression, and writes it if there is where to.
pub(super) struct Reader<'p, 'o> {
    pub(super) rest: &'p str,
    pub(super) out: Option<&'o mut String>,
    /// The innermost open group; first the whole expression.
    pub(super) group: Group,
    /// Those around it.
    pub(super) outer: Vec<Group>,
    pub(super) names: Vec<&'p str>,
    /// Nowhere in the rest of the expression stands a `:]`, so no class in it is named.
    pub(super) no_named_class: bool,
}

/// What stands before: an atom, with how often its inside repeats, or what cannot be repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Before {
    Nothing,
    Atom(u32),
    Repetition,
}

/// What was read of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// How often its atoms are repeated at most.
    pub(super) repeats: u32,
    /// Whether one of the alternatives before this one fits an empty text.
    pub(super) any_is_empty: bool,
    /// Whether this alternative does, up to its last atom; and whether that does.
    pub(super) before_is_empty: bool,
    pub(super) last_is_empty: bool,
}

// === impl Group ===

impl Group {
    pub(super) const NEW: Self = Self {
        repeats: 1,
        any_is_empty: false,
        before_is_empty: true,
        last_is_empty: true,
    };

    pub(super) fn fits_empty(&self) -> bool {
        self.any_is_empty || self.before_is_empty && self.last_is_empty
    }
}

// === impl Reader ===

impl<'p, 'o> Reader<'p, 'o> {
    pub(super) fn new(pattern: &'p str, out: Option<&'o mut String>) -> Self {
        Self {
            rest: pattern,
            out,
            group: Group::NEW,
            outer: Vec::new(),
            names: Vec::new(),
            no_named_class: false,
        }
    }

    /// What was read can be repeated; `inside` is how often its own inside repeats.
    pub(super) fn atom(&mut self, inside: u32, fits_empty: bool) -> Before {
        self.group.before_is_empty &= self.group.last_is_empty;
        self.group.last_is_empty = fits_empty;
        Before::Atom(inside)
    }

    pub(super) fn push(&mut self, c: char) {
        if let Some(out) = &mut self.out {
            out.push(c);
        }
    }

    pub(super) fn push_str(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            out.push_str(text);
        }
    }

    /// A character that stands for itself, inside of a class as well as outside.
    pub(super) fn literal(&mut self, c: char) {
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            self.push('\\');
        }
        self.push(c);
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    pub(super) fn next_if(&mut self, c: char) -> Option<char> {
        self.rest = self.rest.strip_prefix(c)?;
        Some(c)
    }

    /// What stands up to `end`, which is taken too.
    pub(super) fn up_to(&mut self, end: char) -> Option<&'p str> {
        let (inside, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(inside)
    }
}
