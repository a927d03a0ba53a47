//! What an evaluation has to say beside its answer.

use std::fmt;

/// Warnings and infos, each text once, in the order in which they arose. The texts are Prometheus's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    warnings: Vec<String>,
    infos: Vec<String>,
}

/// More different texts than these would tell nobody more.
const MAX_TEXTS: usize = 50;

// === impl Annotations ===

impl Annotations {
    /// Something is probably wrong with the query or its data.
    pub(crate) fn warn(&mut self, text: impl fmt::Display) {
        push(&mut self.warnings, format!("PromQL warning: {text}"));
    }

    /// Something is worth a look, and may be right.
    pub(crate) fn info(&mut self, text: impl fmt::Display) {
        push(&mut self.infos, format!("PromQL info: {text}"));
    }

    /// The warnings and the infos.
    pub(crate) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        (self.warnings, self.infos)
    }
}

fn push(texts: &mut Vec<String>, text: String) {
    if texts.len() < MAX_TEXTS && !texts.contains(&text) {
        texts.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_comes_once_and_not_without_end() {
        let mut notes = Annotations::default();
        for i in 0..1000 {
            notes.info("same");
            notes.warn(i);
        }
        let (warnings, infos) = notes.into_parts();
        assert_eq!(infos, ["PromQL info: same"]);
        assert_eq!(warnings.len(), MAX_TEXTS);
        assert_eq!(warnings[1], "PromQL warning: 1");
    }
}
