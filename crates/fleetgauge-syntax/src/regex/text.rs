//! Where in a regular expression a text has come to, character by character.
//!
//! A value may stand between atoms of a regex, not inside of a character class, an escape, a group's head or a
//! repetition: there its characters would mean something else.

/// The state between two characters of a regular expression that comes in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "what is not said of a state is its name")]
pub enum RegexText {
    #[default]
    Plain,
    Escape,
    /// After `\p`, before the name.
    EscapeName,
    /// After `\x`, before the code.
    EscapeHead,
    /// After `\x4`.
    EscapeHex,
    /// In `\p{…}` or `\x{…}`.
    EscapeBraces,
    /// After an octal escape, which a further digit would lengthen.
    Octal,
    /// In `\Q…\E`, and after a backslash in it.
    Literal,
    LiteralEscape,
    GroupOpen,
    /// After `(?`.
    GroupHead,
    /// After `{`, as long as it may become a repetition.
    Repeat,
    ClassOpen,
    ClassFirst,
    Class,
    ClassEscape,
    ClassBracket,
    /// In `[:…:]`, and after its second colon.
    ClassName,
    ClassNameEnd,
}

// === impl RegexText ===

impl RegexText {
    /// Steps over one character.
    pub fn read(&mut self, c: char) {
        *self = match (*self, c) {
            (Self::Plain | Self::GroupOpen | Self::Octal | Self::Repeat, _) => self.read_plain(c),
            (Self::Escape, 'Q') => Self::Literal,
            (Self::Escape, 'p' | 'P') => Self::EscapeName,
            (Self::Escape, 'x') => Self::EscapeHead,
            (Self::Escape, '0'..='7') => Self::Octal,
            (Self::Escape, _) => Self::Plain,
            (Self::EscapeName | Self::EscapeHead, '{') => Self::EscapeBraces,
            (Self::EscapeHead, c) if c.is_ascii_hexdigit() => Self::EscapeHex,
            (Self::EscapeName | Self::EscapeHead | Self::EscapeHex, _) => Self::Plain,
            (Self::EscapeBraces, '}') => Self::Plain,
            (Self::EscapeBraces, _) => Self::EscapeBraces,
            (Self::Literal | Self::LiteralEscape, '\\') => Self::LiteralEscape,
            (Self::LiteralEscape, 'E') => Self::Plain,
            (Self::Literal | Self::LiteralEscape, _) => Self::Literal,
            (Self::GroupHead, ':' | ')' | '>') => Self::Plain,
            (Self::GroupHead, _) => Self::GroupHead,
            (Self::ClassOpen, '^') => Self::ClassFirst,
            (Self::ClassOpen | Self::ClassFirst, ']') => Self::Class,
            (Self::ClassBracket, ':') => Self::ClassName,
            (Self::ClassOpen | Self::ClassFirst | Self::Class | Self::ClassBracket, c) => match c {
                ']' => Self::Plain,
                '\\' => Self::ClassEscape,
                '[' => Self::ClassBracket,
                _ => Self::Class,
            },
            (Self::ClassEscape, _) => Self::Class,
            (Self::ClassName | Self::ClassNameEnd, ':') => Self::ClassNameEnd,
            (Self::ClassNameEnd, ']') => Self::Class,
            (Self::ClassName | Self::ClassNameEnd, _) => Self::ClassName,
        };
    }

    fn read_plain(self, c: char) -> Self {
        match (self, c) {
            (Self::GroupOpen, '?') => Self::GroupHead,
            (Self::Octal, '0'..='7') => Self::Octal,
            (Self::Repeat, '0'..='9' | ',') => Self::Repeat,
            (_, '\\') => Self::Escape,
            (_, '[') => Self::ClassOpen,
            (_, '(') => Self::GroupOpen,
            (_, '{') => Self::Repeat,
            _ => Self::Plain,
        }
    }

    /// Why a value cannot stand here.
    pub fn refuses_value(self) -> Option<&'static str> {
        match self {
            Self::Plain | Self::GroupOpen => None,
            Self::Octal => Some("directly after an octal escape of a regex"),
            Self::Repeat => {
                Some("after a `{` of a regex, which could become a repetition; a literal one is `\\\\{`")
            }
            Self::Literal | Self::LiteralEscape => Some("between \\Q and \\E of a regex"),
            _ => Some(self.unfinished().unwrap_or("here")),
        }
    }

    /// What the regex would be in the middle of if it ended here.
    pub fn unfinished(&self) -> Option<&'static str> {
        match self {
            Self::Plain | Self::Octal | Self::Repeat | Self::Literal => None,
            Self::Escape
            | Self::EscapeName
            | Self::EscapeHead
            | Self::EscapeHex
            | Self::EscapeBraces
            | Self::LiteralEscape => Some("inside of an escape of a regex"),
            Self::GroupOpen | Self::GroupHead => Some("inside of the head of a group of a regex"),
            Self::ClassOpen
            | Self::ClassFirst
            | Self::Class
            | Self::ClassEscape
            | Self::ClassBracket
            | Self::ClassName
            | Self::ClassNameEnd => Some("inside of a character class of a regex"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_between_atoms_only() {
        for (before, allowed) in [
            ("", true),
            ("a|", true),
            ("(", true),
            ("(?:", true),
            ("(?i)", true),
            ("(?P<n>", true),
            ("[a]", true),
            ("[]a]", true),
            ("[^]]", true),
            ("[[:alpha:]]", true),
            (r"[\]]", true),
            (r"\.", true),
            (r"\x41", true),
            (r"\pL", true),
            (r"\p{Lu}", true),
            ("a{2}", true),
            (r"\Qa\E", true),
            ("a{x", true),
            (r"\\", true),
            ("(?", false),
            ("(?i", false),
            ("[", false),
            ("[a", false),
            ("[]", false),
            ("[^]", false),
            ("[[:a:]", false),
            (r"\", false),
            (r"\p", false),
            (r"\pC[", false),
            (r"\x", false),
            (r"\x4", false),
            (r"\x{4", false),
            (r"\0", false),
            ("a{", false),
            ("a{1,", false),
            (r"\Q", false),
            (r"\Qa\\", false),
            (r"[\]", false),
            (r"\Q\", false),
        ] {
            let mut text = RegexText::default();
            before.chars().for_each(|c| text.read(c));
            assert_eq!(text.refuses_value().is_none(), allowed, "{before}");
        }
    }
}
