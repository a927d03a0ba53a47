//! What is to be sent next: of the windows, and of a request that was refused as a whole.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_promql::window::{Cursor, Window};

use super::message::Message;
use super::protobuf_message::ProtobufMessage;

/// How long a request is at most before it is compressed, but for the last series in it.
const MAX_BYTES: usize = 4 << 20;

/// How many parts of a request are tried at most to find what is refused in it; and after one of which nothing was taken: a
/// server that refuses everything is not asked about each series.
const MAX_PARTS: u32 = 256;
const FEW_PARTS: u32 = 16;

/// How much later than its time a sample comes at most, or nearly so: a page is dated when its scrape begins.
const LATE_MS: i64 = 10_000;

/// The windows, how far they were read, and what was read of them and is neither taken nor refused.
#[derive(Debug)]
pub(super) struct Queue {
    windows: Vec<Window>,
    readers: Vec<Reader>,
    /// The one that is being read.
    at: usize,
    /// Of readers that are no more.
    lost: u64,
    /// Samples for which the message that is sent has no form.
    left_out: u64,
    request: Option<Request>,
    max_parts: u32,
    /// When passes began, and when they had ended, the last one last.
    passes: VecDeque<(Timestamp, Instant)>,
    began: Timestamp,
    /// Since when samples are sent again in the next pass.
    again_from: Option<Timestamp>,
}

#[derive(Debug)]
struct Reader {
    cursor: Cursor,
    /// Whether its window is to be left.
    ends: bool,
}

/// A request, and which parts of it are to be sent, the first one last.
#[derive(Debug)]
struct Request {
    message: Message,
    parts: Vec<(Range<usize>, bool)>,
    tries_left: u32,
    has_taken: bool,
}

/// What is sent at once.
pub(super) struct Part {
    pub(super) body: Bytes,
    pub(super) samples: u64,
    /// How many of them are sent as histograms.
    pub(super) histograms: u64,
    /// Samples beside them for which the message has no form.
    pub(super) left_out: u64,
    /// Whether a try of before may have been taken.
    pub(super) may_be_taken: bool,
}

/// What is not sent again.
pub(super) struct Refused {
    pub(super) samples: u64,
    /// The first one of its series.
    pub(super) series: String,
}

// === impl Request ===

impl Request {
    fn new(message: Message, tries_left: u32) -> Self {
        Self {
            parts: vec![(0..message.series(), false)],
            message,
            tries_left,
            has_taken: false,
        }
    }
}

// === impl Queue ===

impl Queue {
    pub(super) fn new(windows: Vec<Window>) -> Self {
        Self {
            windows,
            readers: Vec::new(),
            at: 0,
            lost: 0,
            left_out: 0,
            request: None,
            max_parts: MAX_PARTS,
            passes: VecDeque::new(),
            began: Timestamp::from_millis(i64::MIN),
            again_from: None,
        }
    }

    pub(super) fn set_windows(&mut self, windows: Vec<Window>) {
        self.windows = windows;
    }

    /// How many samples are read and neither taken nor refused.
    pub(super) fn pending(&self) -> u64 {
        let request = self.request.as_ref();
        request.map_or(0, |request| {
            let parts = request.parts.iter();
            let all = |part: &Range<usize>| request.message.samples(part.clone(), ProtobufMessage::V2);
            parts.map(|(part, _)| all(part)).sum::<u64>() + request.message.later()
        })
    }

    /// How many samples were not sent, since the message that is sent has no form for them.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Begins a pass over all windows.
    pub(super) fn begin(&mut self, now: Timestamp) {
        (self.at, self.began) = (0, now);
        for reader in &mut self.readers {
            reader.ends = !self
                .windows
                .iter()
                .any(|window| window.is_same(reader.cursor.window()));
        }
        for window in &self.windows {
            let is_known = |reader: &Reader| reader.cursor.window().is_same(window);
            if !self.readers.iter().any(is_known) {
                self.readers.push(Reader {
                    cursor: Cursor::new(window.clone()),
                    ends: false,
                });
            }
        }
        // What ends comes before what goes on: a new window may have the same series, later.
        self.readers.sort_by_key(|reader| !reader.ends);
        let again_from = self.again_from.take();
        for Reader { cursor, ends } in &mut self.readers {
            match (ends, again_from) {
                (true, _) => cursor.end(),
                (false, Some(from)) => cursor.begin_again(from),
                (false, None) => cursor.begin(),
            }
        }
    }

    /// Has what was taken within `time` sent again in the next pass.
    pub(super) fn send_again(&mut self, time: Duration) {
        if time.is_zero() {
            return;
        }
        // All that a pass has sent is from before it began.
        let is_safe = |(_, ended): &&(Timestamp, Instant)| ended.elapsed() > time;
        let safe = self.passes.iter().rev().find(is_safe);
        let from = safe.map_or(i64::MIN, |(began, _)| began.as_millis().saturating_sub(LATE_MS));
        let known = self.again_from.map_or(i64::MAX, Timestamp::as_millis);
        self.again_from = Some(Timestamp::from_millis(from.min(known)));
    }

    /// What is to be sent next, until it is told what became of it; none at the end of the pass.
    pub(super) fn next(&mut self, external: &[(String, String)], message: ProtobufMessage) -> Option<Part> {
        loop {
            if let Some(request) = &mut self.request {
                if let Some((series, may_be_taken)) = request.parts.last() {
                    let samples = request.message.samples(series.clone(), message);
                    if samples > 0 {
                        return Some(Part {
                            body: request.message.compressed(series.clone(), message),
                            samples,
                            histograms: request.message.histograms(series.clone(), message),
                            left_out: request.message.left_out(series.clone(), message),
                            may_be_taken: *may_be_taken,
                        });
                    }
                    self.left_out += request.message.left_out(series.clone(), message);
                    request.parts.pop();
                    continue;
                }
                self.max_parts = if request.has_taken { MAX_PARTS } else { FEW_PARTS };
                let rest = self.request.take().and_then(|request| request.message.rest());
                if let Some(rest) = rest {
                    self.request = Some(Request::new(rest, self.max_parts));
                    continue;
                }
            }
            let reader = self.readers.get_mut(self.at)?;
            let mut message = Message::default();
            let goes_on = reader.cursor.read(|labels, samples| {
                message.push(external, labels, samples);
                message.len() < MAX_BYTES
            });
            self.at += usize::from(!goes_on);
            if message.series() > 0 {
                self.request = Some(Request::new(message, self.max_parts));
            }
        }
    }

    /// Says that the part was taken, or some of it, and the rest will not be.
    pub(super) fn taken(&mut self, part: &Part) {
        self.left_out += part.left_out;
        if let Some(request) = &mut self.request {
            request.parts.pop();
            request.has_taken = true;
        }
    }

    /// Says whether the part may have been taken.
    pub(super) fn may_be_taken(&mut self, may_be_taken: bool) {
        let part = self.request.as_mut().and_then(|request| request.parts.last_mut());
        if let Some((_, known)) = part {
            *known = may_be_taken;
        }
    }

    /// Says that the part was refused. `None` if its halves are sent next.
    pub(super) fn refused(&mut self, part: &Part) -> Option<Refused> {
        let request = self.request.as_mut()?;
        let (series, _) = request.parts.pop()?;
        if series.len() > 1 && request.tries_left > 0 {
            request.tries_left -= 1;
            let middle = series.start + series.len() / 2;
            request.parts.push((middle..series.end, part.may_be_taken));
            request.parts.push((series.start..middle, part.may_be_taken));
            return None;
        }
        self.left_out += part.left_out;
        Some(Refused {
            samples: part.samples,
            series: request.message.name(series.start),
        })
    }

    /// Gives back what nobody needs while the server takes nothing.
    pub(super) fn let_go(&mut self) {
        let now = Clock::system().wall();
        for Reader { cursor, ends } in &mut self.readers {
            if *ends {
                // Nobody else lets go of what is out of its retention.
                cursor.window().expire(now);
            }
            cursor.forget();
        }
    }

    /// Ends the pass. Gives how many samples were lost in all.
    pub(super) fn end(&mut self, keep: Duration) -> u64 {
        self.passes.push_back((self.began, Instant::now()));
        // One of before is enough.
        while self
            .passes
            .get(1)
            .is_some_and(|(_, ended)| ended.elapsed() > keep)
        {
            self.passes.pop_front();
        }
        let lost = &mut self.lost;
        self.readers.retain(|reader| {
            *lost += if reader.ends { reader.cursor.lost() } else { 0 };
            !reader.ends
        });
        let lost = self.readers.iter().map(|reader| reader.cursor.lost());
        self.lost + lost.sum::<u64>()
    }
}
