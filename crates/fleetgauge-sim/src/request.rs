//! What a user asks for. All that chance decides about a request is decided when it arrives.

use crate::dice::Dice;
use crate::kv::Prefix;
use crate::load::{Lengths, Shape};

/// How a request ends when nothing is in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Stop,
    Length,
    /// The client goes away; the answer is cut there.
    Abort,
}

/// A request as it arrives.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Since the fleet's start. *Unit*: nanoseconds, as all times here.
    pub(crate) arrived_ns: u64,
    pub(crate) prompt: u32,
    pub(crate) output: u32,
    pub(crate) max_tokens: u32,
    pub(crate) ending: Ending,
    /// The shared prefix that its prompt begins with, and the prefix' length in tokens, which is the same for
    /// all requests with that prefix.
    pub(crate) prefix: Option<(Prefix, u32)>,
    /// How long it waits for its place in the batch.
    pub(crate) patience_ns: u64,
    pub(crate) priority: u8,
    /// Index into `Tally::http_seconds`.
    pub(crate) handler: u8,
}

// === impl Request ===

impl Request {
    /// When its client goes away.
    pub(crate) fn deadline_ns(&self) -> u64 {
        self.arrived_ns.saturating_add(self.patience_ns)
    }

    /// A request of that shape.
    pub(crate) fn draw(dice: &mut Dice, shape: &Shape, arrived_ns: u64) -> Self {
        let mut length = |lengths: Lengths| {
            let tokens = dice.lognormal(lengths.median, lengths.sigma);
            (tokens as u32).clamp(1, lengths.max.max(1))
        };
        let (own, wanted) = (length(shape.prompt), length(shape.output));
        // Of two draws the lower: some prefixes are much more popular than others.
        let prefix = (shape.prefixes > 0 && dice.chance(shape.prefixed_ratio)).then(|| {
            let count = usize::from(shape.prefixes);
            (
                dice.below(count).min(dice.below(count)) as u16,
                shape.prefix_tokens,
            )
        });
        let (mut output, mut ending) = (wanted, Ending::Stop);
        if output >= shape.max_tokens {
            (output, ending) = (shape.max_tokens.max(1), Ending::Length);
        }
        if dice.chance(shape.abort_ratio) {
            (output, ending) = (1 + dice.below(output as usize) as u32, Ending::Abort);
        }
        Self {
            arrived_ns,
            prompt: own.saturating_add(prefix.map_or(0, |(_, tokens)| tokens)),
            output,
            max_tokens: shape.max_tokens,
            ending,
            prefix,
            patience_ns: u64::try_from(shape.patience.as_nanos()).unwrap_or(u64::MAX),
            priority: u8::from(dice.chance(0.2)),
            handler: u8::from(dice.chance(0.25)),
        }
    }
}
