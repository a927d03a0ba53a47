//! How one sample is written after another: delta-of-delta timestamps, and values by what differs.
//!
//! Timestamps and XOR-ed values are those of Gorilla (<https://www.vldb.org/pvldb/vol8/p1816-teller.pdf>,
//! sections 4.1.1 and 4.1.2), with other sizes: scrapes come at one interval give or take a few milliseconds. Whole
//! numbers have a code of their own beside it, and mostly the shorter one is taken: most of a page of an inference
//! server is buckets and counters, which grow by small whole steps, and the XOR of neighbouring whole numbers is longer
//! than their difference.
//!
//! What a sample is made of stands in a control code of four bits, apart from the payload bits that it announces. In
//! one stream, as in Gorilla, the place of a sample is known only when the one before is taken apart bit by bit; here
//! sizes are looked up by codes that are there already, and the processor reads several samples at once.
//!
//! ```text
//! control 2k + 0, k < 7   the interval of before, and a value of kind k
//!         2k + 1          7 bits: how the interval changed, in milliseconds; then the same
//!         14              3 bits of k, 2 of class, 12, 20, 32 or 64 bits: how it changed; then the same
//! kind    0               the value of before
//!         1 to 4          4, 8, 14 or 32 bits: the difference of whole numbers, zigzag
//!         5               XOR, in the window of bits of before
//!         6               6 bits size, 6 bits leading, bits: XOR, in a new window
//! ```
//!
//! Numbers are written lowest bit first. Every bit pattern of a float comes back as it was.

/// Bits of a control code.
pub(super) const CONTROL_BITS: u32 = 4;

/// A change of the interval that is no jump.
const CHANGE_BITS: u32 = 7;
/// The classes of jumps.
const JUMP_BITS: [u32; 4] = [12, 20, 32, 64];
/// The control code of a jump, and the bits that say its class and the kind of the value.
const JUMP: u32 = 14;
const JUMP_HEAD: u32 = 5;
/// By the kind of a value, for those that are no XOR.
const WHOLE_BITS: [u32; 5] = [0, 4, 8, 14, 32];
const XOR: u32 = 5;
const XOR_NEW: u32 = 6;
/// The bits that say the window of an XOR.
const WINDOW_HEAD: u32 = 12;
/// So much shorter an XOR has to be than the difference of whole numbers: a series whose samples are all of one kind
/// is read faster.
const XOR_ADVANTAGE: u32 = 6;
/// Up to here every whole number has a float of its own.
const MAX_WHOLE: u64 = 1 << 53;

/// What the next sample is written against, besides the last one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// The interval of before, in milliseconds.
    delta: i64,
    /// The window of bits in which values differed last: its leading zeros and its size; no window yet if the size is
    /// 0.
    leading: u8,
    size: u8,
}

/// At most 64 bits to write, lowest first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bits {
    pub(super) bits: u64,
    pub(super) len: u32,
}

/// One sample as it is written: its control code, and its payload part after part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code {
    pub(super) control: u32,
    pub(super) payload: [Bits; 4],
}

/// Reads one sample after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    context: Context,
    time: i64,
    value: u64,
    /// The value as a whole number, if it is one.
    whole: i64,
    /// Where the payload of the next sample begins.
    bit: u32,
}

/// The code of a sample after the one of `last`, and the context of the next.
pub(super) fn encode(context: Context, last: (i64, u64), sample: (i64, u64)) -> (Code, Context) {
    let delta = sample.0.wrapping_sub(last.0);
    let mut next = Context { delta, ..context };
    let (kind, [v0, v1]) = encode_value(&mut next, last.1, sample.1);
    let change = delta.wrapping_sub(context.delta);
    let (control, [t0, t1]) = match change {
        0 => (2 * kind, [Bits::default(); 2]),
        _ if fits(change, CHANGE_BITS) => (2 * kind + 1, [signed(change, CHANGE_BITS), Bits::default()]),
        _ => {
            let class = JUMP_BITS.iter().position(|&bits| fits(change, bits)).unwrap_or(3);
            let head = Bits {
                bits: (class as u64) << 3 | u64::from(kind),
                len: JUMP_HEAD,
            };
            (JUMP, [head, signed(change, JUMP_BITS[class])])
        }
    };
    let payload = [t0, t1, v0, v1];
    (Code { control, payload }, next)
}

// === impl Reader ===

impl Reader {
    /// At the first sample, which is not coded.
    pub(super) fn new((time, value): (i64, u64)) -> Self {
        Self {
            context: Context::default(),
            time,
            value,
            whole: f64::from_bits(value) as i64,
            bit: 0,
        }
    }

    pub(super) fn sample(&self) -> (i64, u64) {
        (self.time, self.value)
    }

    /// Moves on to the sample with this control code. `peek` gives 64 bits of the payload from a bit on.
    #[inline(always)]
    pub(super) fn step(&mut self, control: u32, peek: impl Fn(u32) -> u64) {
        if control == JUMP {
            *self = self.jump(peek);
            return;
        }
        let bits = peek(self.bit);
        let changes = control & 1;
        let change = extend(bits, CHANGE_BITS) & -i64::from(changes);
        self.advance(change);
        let used = changes * CHANGE_BITS;
        self.bit += used;
        self.read_value(control >> 1, bits >> used, peek);
    }

    /// By value, so that a loop over steps can keep its reader in registers.
    #[cold]
    #[inline(never)]
    fn jump(mut self, peek: impl Fn(u32) -> u64) -> Self {
        let head = low(peek(self.bit), JUMP_HEAD);
        let size = JUMP_BITS[(head >> 3) as usize];
        self.advance(extend(peek(self.bit + JUMP_HEAD), size));
        self.bit += JUMP_HEAD + size;
        self.read_value(head as u32 & 7, peek(self.bit), peek);
        self
    }

    #[inline(always)]
    fn advance(&mut self, change: i64) {
        self.context.delta = self.context.delta.wrapping_add(change);
        self.time = self.time.wrapping_add(self.context.delta);
    }

    /// `bits` begin with the value, and hold at least a difference.
    #[inline(always)]
    fn read_value(&mut self, kind: u32, bits: u64, peek: impl Fn(u32) -> u64) {
        let Some(&size) = WHOLE_BITS.get(kind as usize) else {
            return self.read_xor(kind, peek);
        };
        // Without a branch, since the kinds of differences follow each other at random.
        let zigzag = bits & !(u64::MAX << size);
        let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        self.whole = self.whole.wrapping_add(difference);
        let differs = u64::from(kind > 0).wrapping_neg();
        self.value = (self.value & !differs) | ((self.whole as f64).to_bits() & differs);
        self.bit += size;
    }

    #[inline(always)]
    fn read_xor(&mut self, kind: u32, peek: impl Fn(u32) -> u64) {
        if kind == XOR_NEW {
            let head = low(peek(self.bit), WINDOW_HEAD);
            self.context.leading = (head >> 6) as u8;
            self.context.size = (head & 63) as u8 + 1;
            self.bit += WINDOW_HEAD;
        }
        let (leading, size) = (u32::from(self.context.leading), u32::from(self.context.size));
        self.value ^= low(peek(self.bit), size) << (64 - leading - size);
        self.whole = f64::from_bits(self.value) as i64;
        self.bit += size;
    }
}

/// The kind of a value, and its bits.
fn encode_value(context: &mut Context, last: u64, value: u64) -> (u32, [Bits; 2]) {
    let xor = last ^ value;
    if xor == 0 {
        return (0, [Bits::default(); 2]);
    }
    let leading = xor.leading_zeros();
    let size = 64 - leading - xor.trailing_zeros();
    let window_end = u32::from(context.leading) + u32::from(context.size);
    let is_within = context.size > 0 && leading >= u32::from(context.leading) && leading + size <= window_end;
    let in_window = if is_within {
        u32::from(context.size)
    } else {
        u32::MAX
    };
    let shortest_xor = in_window.min(WINDOW_HEAD + size);

    if let Some(zigzag) = whole_difference(last, value)
        && let Some(kind) = (1..WHOLE_BITS.len()).find(|&kind| zigzag >> WHOLE_BITS[kind] == 0)
        && WHOLE_BITS[kind] <= shortest_xor + XOR_ADVANTAGE
    {
        let difference = Bits {
            bits: zigzag,
            len: WHOLE_BITS[kind],
        };
        return (kind as u32, [difference, Bits::default()]);
    }
    if in_window == shortest_xor {
        let bits = Bits {
            bits: xor >> (64 - window_end),
            len: in_window,
        };
        return (XOR, [bits, Bits::default()]);
    }
    context.leading = leading as u8;
    context.size = size as u8;
    let head = Bits {
        bits: u64::from(leading) << 6 | u64::from(size - 1),
        len: WINDOW_HEAD,
    };
    let bits = Bits {
        bits: xor >> (64 - leading - size),
        len: size,
    };
    (XOR_NEW, [head, bits])
}

/// The difference of two whole numbers, zigzag; `None` if one of them is not whole, or is −0.
fn whole_difference(last: u64, value: u64) -> Option<u64> {
    let difference = whole(value)? - whole(last)?;
    Some(((difference << 1) ^ (difference >> 63)) as u64)
}

fn whole(bits: u64) -> Option<i64> {
    let whole = f64::from_bits(bits) as i64;
    ((whole as f64).to_bits() == bits && whole.unsigned_abs() <= MAX_WHOLE).then_some(whole)
}

/// Whether a number has so few bits, one of them its sign.
fn fits(number: i64, bits: u32) -> bool {
    extend(number as u64, bits) == number
}

fn signed(number: i64, len: u32) -> Bits {
    Bits {
        bits: low(number as u64, len),
        len,
    }
}

/// The number of so many bits, 1 to 64, that `bits` begin with; the last of them is its sign.
#[inline(always)]
fn extend(bits: u64, size: u32) -> i64 {
    ((bits << (64 - size)) as i64) >> (64 - size)
}

/// The first `size` bits, 1 to 64.
#[inline(always)]
fn low(bits: u64, size: u32) -> u64 {
    bits & (u64::MAX >> (64 - size))
}
