//! Label selectors as Kubernetes writes them: `a=b,c!=d,e in (f, g),h notin (i),j,!k,l>1`.
//!
//! What Kubernetes takes is taken, and means the same. Names and values that labels of Kubernetes cannot have, such as
//! `meta-llama/Llama-3`, are taken as well, since labels of metrics can.
//!
//! *Source*: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>, and
//! `k8s.io/apimachinery/pkg/labels`.

use std::fmt;
use std::str::FromStr;

use fleetgauge_core::printable::{Excerpt, Quoted};

/// What labels have to be like. Without requirements, all are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// What one label has to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    label: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    /// Or the label is not there.
    NotIn(Vec<String>),
    Exists,
    IsAbsent,
    Above(i64),
    Below(i64),
}

/// What is no [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} at byte {at} of the label selector is not {expected}, as in `a=b,c!=d,e in (f,g),h notin (i),j,!k`",
    Found(.found)
)]
#[non_exhaustive]
pub struct SelectorError {
    /// Where it is. *Unit*: bytes.
    pub at: usize,
    /// What is there; empty at the end.
    pub found: String,
    /// What could have been there.
    pub expected: &'static str,
}

struct Found<'a>(&'a str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token<'a> {
    at: usize,
    /// Empty at the end.
    text: &'a str,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

// === impl Selector ===

impl Selector {
    /// Whether it is said of no label what it has to be like.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels are like this, of which `value` tells the value by the name.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0
            .iter()
            .all(|requirement| requirement.test.passes(value(&requirement.label)))
    }

    /// What a selector of Kubernetes' own objects may not have, as a sentence: the API server refuses names and values that no label
    /// there can have.
    ///
    /// *Source*: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
    pub fn problem_of_objects(&self) -> Option<String> {
        let is_value = |value: &String| value.is_empty() || is_label_name(value) && !value.contains('/');
        self.0.iter().find_map(|Requirement { label, test }| {
            if !is_label_name(label) {
                return Some(format!("no label in Kubernetes can be named {}", Quoted(label)));
            }
            let (Test::In(values) | Test::NotIn(values)) = test else {
                return None;
            };
            let value = values.iter().find(|value| !is_value(value))?;
            Some(format!(
                "no label in Kubernetes can have the value {}: up to 63 of a-z A-Z 0-9 - _ . with a letter or digit at both ends",
                Quoted(value)
            ))
        })
    }

    /// Whether labels may be like this, of which only some are known: those of which `value` tells a value.
    pub(super) fn may_match<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            value(&requirement.label).is_none_or(|value| requirement.test.passes(Some(value)))
        })
    }
}

/// Whether a label of Kubernetes may have this name.
fn is_label_name(text: &str) -> bool {
    let is_plain = |text: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        text.len() <= 63
            && ends(text.chars().next())
            && ends(text.chars().last())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let is_domain = |text: &str| {
        text.len() <= 253
            && text.split('.').all(|part| {
                is_plain(part)
                    && part
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            })
    };
    match text.split_once('/') {
        Some((prefix, name)) => is_domain(prefix) && is_plain(name),
        None => is_plain(text),
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { text, at: 0 };
        let mut requirements = Vec::new();
        if parser.peek().text.is_empty() {
            return Ok(Self(requirements));
        }
        loop {
            requirements.push(parser.requirement()?);
            let next = parser.next();
            match next.text {
                "" => return Ok(Self(requirements)),
                "," => {}
                _ => return Err(next.is_not("a comma or the end")),
            }
        }
    }
}

/// As it is read again.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { label, test }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match test {
                Test::In(values) if values.len() == 1 => write!(f, "{comma}{label}={}", values[0])?,
                Test::NotIn(values) if values.len() == 1 => write!(f, "{comma}{label}!={}", values[0])?,
                Test::In(values) => write!(f, "{comma}{label} in ({})", values.join(","))?,
                Test::NotIn(values) => write!(f, "{comma}{label} notin ({})", values.join(","))?,
                Test::Exists => write!(f, "{comma}{label}")?,
                Test::IsAbsent => write!(f, "{comma}!{label}")?,
                Test::Above(bound) => write!(f, "{comma}{label}>{bound}")?,
                Test::Below(bound) => write!(f, "{comma}{label}<{bound}")?,
            }
        }
        Ok(())
    }
}

// === impl Test ===

impl Test {
    fn passes(&self, value: Option<&str>) -> bool {
        let is_one_of =
            |values: &Vec<String>| value.is_some_and(|value| values.iter().any(|one| one == value));
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(values) => is_one_of(values),
            Self::NotIn(values) => !is_one_of(values),
            Self::Exists => value.is_some(),
            Self::IsAbsent => value.is_none(),
            Self::Above(bound) => number().is_some_and(|number| number > *bound),
            Self::Below(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

// === impl Parser ===

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let mut label = self.next();
        let is_absent = label.text == "!";
        if is_absent {
            label = self.next();
        }
        if !label.is_word() {
            return Err(label.is_not("the name of a label"));
        }
        let test = match is_absent {
            true => Test::IsAbsent,
            false => self.test()?,
        };
        let label = label.text.to_owned();
        Ok(Requirement { label, test })
    }

    /// What is after the name of a label.
    fn test(&mut self) -> Result<Test, SelectorError> {
        if matches!(self.peek().text, "" | ",") {
            return Ok(Test::Exists);
        }
        let operator = self.next();
        Ok(match operator.text {
            "=" | "==" => Test::In(vec![self.value()?.text.to_owned()]),
            "!=" => Test::NotIn(vec![self.value()?.text.to_owned()]),
            ">" => Test::Above(self.number()?),
            "<" => Test::Below(self.number()?),
            "in" => Test::In(self.values()?),
            "notin" => Test::NotIn(self.values()?),
            _ => return Err(operator.is_not("one of =, ==, !=, in, notin, > and <")),
        })
    }

    /// One value, which may be empty.
    fn value(&mut self) -> Result<Token<'a>, SelectorError> {
        let next = self.peek();
        match next.text {
            "" | "," => Ok(Token { text: "", ..next }),
            _ if next.is_word() => Ok(self.next()),
            _ => Err(next.is_not("a value")),
        }
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        value.text.parse().map_err(|_| value.is_not("a whole number"))
    }

    /// Values in parentheses, any of which may be empty.
    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        let open = self.next();
        if open.text != "(" {
            return Err(open.is_not("an opening parenthesis"));
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                next if next.is_word() => self.next().text,
                _ => "",
            };
            if !values.iter().any(|known| known == value) {
                values.push(value.to_owned());
            }
            let next = self.next();
            match next.text {
                "," => {}
                ")" => return Ok(values),
                _ => return Err(next.is_not("a comma or a closing parenthesis")),
            }
        }
    }

    fn peek(&self) -> Token<'a> {
        let rest = self.text[self.at..].trim_start_matches(is_space);
        let at = self.text.len() - rest.len();
        let long = rest.get(..2).filter(|text| matches!(*text, "==" | "!="));
        let end = match rest.find(|c| is_space(c) || is_special(c)) {
            Some(0) => long.map_or(1, str::len),
            Some(end) => end,
            None => rest.len(),
        };
        Token {
            at,
            text: &rest[..end],
        }
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at = token.at + token.text.len();
        token
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>')
}

// === impl Token ===

impl Token<'_> {
    fn is_word(&self) -> bool {
        self.text.chars().next().is_some_and(|c| !is_special(c))
    }

    fn is_not(&self, expected: &'static str) -> SelectorError {
        SelectorError {
            at: self.at,
            found: self.text.to_owned(),
            expected,
        }
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("the end"),
            text => write!(f, "{}", Excerpt(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABELS: [(&str, &str); 4] = [
        ("model", "llama"),
        ("pool", ""),
        ("rank", "3"),
        ("path", "meta-llama/Llama-3"),
    ];

    fn value(name: &str) -> Option<&'static str> {
        LABELS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    #[test]
    fn selectors_select_as_those_of_kubernetes() {
        for (text, expected) in [
            ("", true),
            (" ", true),
            ("model=llama", true),
            ("model==llama", true),
            ("model = llama , rank=3", true),
            ("model=llama,rank=4", false),
            ("model=qwen", false),
            ("model!=qwen", true),
            ("model!=llama", false),
            ("absent=", false),
            ("absent!=x", true),
            ("pool=", true),
            ("pool!=", false),
            ("model in (qwen, llama)", true),
            ("model in (qwen)", false),
            ("model notin (qwen)", true),
            ("model notin (qwen,llama)", false),
            ("absent notin (x)", true),
            ("absent in (x)", false),
            ("pool in ()", true),
            ("pool in (x,)", true),
            ("pool in (x,,y)", true),
            ("model in (,)", false),
            ("model", true),
            ("absent", false),
            ("!absent", true),
            ("! absent", true),
            ("!model", false),
            ("rank>2", true),
            ("rank>3", false),
            ("rank<4", true),
            ("rank<-4", false),
            ("model>2", false),
            ("absent<9", false),
            ("path=meta-llama/Llama-3", true),
            // Words of the language are labels and values where these are expected.
            ("in notin (in)", true),
            ("!in,model in(llama)", true),
        ] {
            let selector: Selector = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.matches(value), expected, "{text}");
            let printed: Selector = selector.to_string().parse().unwrap();
            assert_eq!(printed, selector, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_selector_is_said() {
        for (text, expected) in [
            (
                ",",
                "\",\" at byte 0 of the label selector is not the name of a label",
            ),
            (
                "a=b,",
                "the end at byte 4 of the label selector is not the name of a label",
            ),
            (
                "a=b c",
                "\"c\" at byte 4 of the label selector is not a comma or the end",
            ),
            ("a=b=c", "\"=\" at byte 3"),
            (
                "a ! b",
                "\"!\" at byte 2 of the label selector is not one of =, ==, !=, in, notin, > and <",
            ),
            ("a is b", "\"is\" at byte 2"),
            ("a in b", "not an opening parenthesis"),
            (
                "a in (b",
                "the end at byte 7 of the label selector is not a comma or a closing parenthesis",
            ),
            ("a in (b c)", "\"c\" at byte 8"),
            (
                "a>b",
                "\"b\" at byte 2 of the label selector is not a whole number",
            ),
            (
                "a>",
                "the end at byte 2 of the label selector is not a whole number",
            ),
            ("!a=b", "\"=\" at byte 2"),
            ("!", "the end at byte 1"),
            ("a=(b)", "\"(\" at byte 2 of the label selector is not a value"),
        ] {
            let error = text.parse::<Selector>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_not_known_may_be_as_it_has_to_be() {
        for (text, expected) in [
            ("absent=x", true),
            ("absent in (x),model=llama", true),
            ("absent,model=qwen", false),
            ("!model", false),
            ("!absent", true),
        ] {
            assert_eq!(
                text.parse::<Selector>().unwrap().may_match(value),
                expected,
                "{text}"
            );
        }
    }

    fn word() -> impl Strategy<Value = String> {
        "(in|notin|[a-z0-9/._-]{1,6})"
    }

    fn requirement() -> impl Strategy<Value = (String, Test)> {
        let values = || prop::collection::btree_set("([a-z0-9/._-]{0,3}|in)", 1..4);
        let list = |values: std::collections::BTreeSet<String>| values.into_iter().collect::<Vec<_>>();
        let test = prop_oneof![
            values().prop_map(move |values| Test::In(list(values))),
            values().prop_map(move |values| Test::NotIn(list(values))),
            Just(Test::Exists),
            Just(Test::IsAbsent),
            any::<i64>().prop_map(Test::Above),
            any::<i64>().prop_map(Test::Below),
        ];
        (word(), test)
    }

    proptest! {
        #[test]
        fn a_selector_is_read_as_it_was_printed(requirements in prop::collection::vec(requirement(), 0..5)) {
            let requirements = requirements.into_iter().map(|(label, test)| Requirement { label, test });
            let selector = Selector(requirements.collect());
            let printed = selector.to_string();
            prop_assert_eq!(printed.parse::<Selector>(), Ok(selector), "{}", printed);
        }

        /// Whatever is read is printed so that it is read as the same, and a mistake is in the text.
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c=!(),<> \tinot~\u{e9}0-2]{0,24}") {
            match text.parse::<Selector>() {
                Ok(selector) => {
                    let printed = selector.to_string();
                    prop_assert_eq!(printed.parse::<Selector>(), Ok(selector), "{}", printed);
                }
                Err(error) => prop_assert!(text[error.at..].starts_with(&error.found), "{:?}", error),
            }
        }
    }

    #[test]
    fn selectors_of_objects_have_names_and_values_that_labels_can_have() {
        let check = |text: &str| text.parse::<Selector>().unwrap().problem_of_objects();
        for text in [
            "",
            "app=vllm",
            "llm-d.ai/managed=true,!canary",
            "a in (b,,c.d_e-f),n>1",
            "a=",
        ] {
            assert_eq!(check(text), None, "{text}");
        }
        for (text, expected) in [
            ("model=meta-llama/Llama-3", "the value \"meta-llama/Llama-3\""),
            ("a=-b", "the value \"-b\""),
            ("a notin (b,c:d)", "the value \"c:d\""),
            ("a/b/c=d", "named \"a/b/c\""),
            ("LLM/b", "named \"LLM/b\""),
            ("a$", "named \"a$\""),
            (&format!("a={}", "b".repeat(64)), "the value"),
        ] {
            let told = check(text).unwrap_or_default();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
