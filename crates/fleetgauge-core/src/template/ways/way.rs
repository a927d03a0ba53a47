//! One way through a template, and the queries that it renders to.

use crate::template::error::{Offset, position};

/// Of how many operands each is tried as a name and as a number, apart from the others.
const MAX_OPERANDS: usize = 4;

/// One way through a template.
#[derive(Clone, Debug, Default)]
pub struct Way {
    pub(super) segments: Vec<Segment>,
    /// How many operands may be a name or a number.
    pub(super) operands: usize,
}

/// A query that a template renders to on one of its ways, with stand-ins for the values.
#[derive(Clone, Debug)]
pub struct Example<'t> {
    text: String,
    segments: &'t [Segment],
    /// Where each segment begins in `text`.
    starts: Vec<usize>,
}

/// A piece of the query of a way.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) text: Box<str>,
    pub(super) at: Offset,
    /// Text of the template, not what stands for a placeholder.
    pub(super) is_source: bool,
    /// Which of the way's operands it is.
    pub(super) operand: Option<usize>,
}

// === impl Way ===

impl Way {
    /// What the way renders to. There are several where a parameter of kind text is an operand, which may be a
    /// metric name or a number: the way is a query if one of them is.
    pub fn examples(&self) -> impl Iterator<Item = Example<'_>> {
        let apart = self.operands.min(MAX_OPERANDS);
        (0..1_usize << apart).map(|numbers| self.example(numbers))
    }

    /// The operands whose bits are set in `numbers` are numbers; what is beyond shares the last bit.
    fn example(&self, numbers: usize) -> Example<'_> {
        let mut text = String::new();
        let mut starts = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            starts.push(text.len());
            let is_number = segment
                .operand
                .is_some_and(|operand| numbers >> operand.min(MAX_OPERANDS - 1) & 1 == 1);
            text.push_str(if is_number { "1" } else { &segment.text });
        }
        Example {
            text,
            segments: &self.segments,
            starts,
        }
    }
}

// === impl Example ===

impl Example<'_> {
    /// The query.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the byte `offset` of the query comes from in the template's `source`: line and column, both from 1, the
    /// column in characters. Within what stands for a value it is the placeholder.
    #[must_use]
    pub fn position(&self, source: &str, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let at = self.starts.partition_point(|start| *start <= offset);
        let at = at.checked_sub(1).map_or(0, |i| {
            let segment = &self.segments[i];
            let within = if segment.is_source {
                offset - self.starts[i]
            } else {
                0
            };
            segment.at + within
        });
        position(source, at)
    }
}
