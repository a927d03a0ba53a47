//! How one sample is written after another: delta-of-delta timestamps, and values by what differs.
//!
//! Timestamps and XOR-ed values are those of Gorilla (<https://www.vldb.org/pvldb/vol8/p1816-teller.pdf>,
//! sections 4.1.1 and 4.1.2), with other bucket sizes: scrapes come at one interval give or take a few
//! milliseconds. Whole numbers have a code of their own beside it, and the shorter one is taken: most of a
//! page of an inference server is buckets and counters, which grow by small whole steps, and the XOR of
//! neighbouring whole numbers is longer than their difference.
//!
//! ```text
//! time   0                          the interval of before
//!        10 +6, 110 +9, 1110 +15, 11110 +24, 11111 +64 bits: how the interval changed, milliseconds
//! value  0                          the value of before
//!        10  + bits                 XOR, in the window of bits of before
//!        110 + 6 leading + 6 size + bits   XOR, in a new window
//!        111 + 2 class + 4, 8, 14 or 32 bits: the difference of whole numbers, zigzag
//! ```
//!
//! Every bit pattern of a float comes back as it was.

/// Sizes of the classes of a changed interval, by the number of leading ones; the last is a plain 64 bits.
const TIME_BITS: [u32; 6] = [0, 6, 9, 15, 24, 64];
/// Sizes of the classes of a difference of whole numbers.
const WHOLE_BITS: [u32; 4] = [4, 8, 14, 32];
/// Up to here every whole number has a float of its own.
const MAX_WHOLE: u64 = 1 << 53;

/// What the next sample is written against.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// The interval of before, in milliseconds.
    pub(super) delta: i64,
    /// The window of bits in which values differed last: its leading zeros and its size; no window yet if
    /// the size is 0.
    pub(super) leading: u8,
    pub(super) size: u8,
}

/// At most 64 bits to write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Code {
    pub(super) bits: u64,
    pub(super) len: u32,
}

/// One sample as it is written, part after part.
pub(super) type Codes = [Code; 4];

/// The codes of a sample after the one of `last`, and the context of the next.
pub(super) fn encode(context: Context, last: (i64, u64), sample: (i64, u64)) -> (Codes, Context) {
    let delta = sample.0.wrapping_sub(last.0);
    let [t0, t1] = encode_change(delta.wrapping_sub(context.delta));
    let mut next = Context { delta, ..context };
    let [v0, v1] = encode_value(&mut next, last.1, sample.1);
    ([t0, t1, v0, v1], next)
}

/// The sample that is written at `bit` after the one of `last`, and the position after it.
#[inline]
pub(super) fn decode(
    context: &mut Context,
    last: (i64, u64),
    mut bit: u32,
    peek: impl Fn(u32) -> u64,
) -> ((i64, u64), u32) {
    // Mostly the 64 bits that follow hold all of the sample, and are read once.
    let bits = peek(bit);
    let class = bits.leading_ones().min(5);
    let head = (class + 1).min(5);
    let size = TIME_BITS[class as usize];
    let change = match class {
        0 => 0,
        // An arithmetic shift brings the sign along.
        1..5 => ((bits << head) as i64) >> (64 - size),
        _ => peek(bit + head) as i64,
    };
    context.delta = context.delta.wrapping_add(change);
    let time = last.0.wrapping_add(context.delta);

    let used = head + size;
    bit += used;
    // As many bits as any head of a value has are there, if the time was not written at length.
    let bits = if class < 5 { bits << used } else { peek(bit) };
    let left = if class < 5 { 64 - used } else { 64 };
    let payload = |skip: u32, size: u32| {
        let bits = if skip + size <= left {
            bits << skip
        } else {
            peek(bit + skip)
        };
        bits >> (64 - size)
    };
    let (value, used) = match bits.leading_ones() {
        0 => (last.1, 1),
        1 => {
            let (leading, size) = (u32::from(context.leading), u32::from(context.size));
            (last.1 ^ (payload(2, size) << (64 - leading - size)), 2 + size)
        }
        2 => {
            let (leading, size) = (top(bits << 3, 6) as u32, top(bits << 9, 6) as u32 + 1);
            context.leading = leading as u8;
            context.size = size as u8;
            (last.1 ^ (payload(15, size) << (64 - leading - size)), 15 + size)
        }
        _ => {
            let size = WHOLE_BITS[top(bits << 3, 2) as usize];
            let zigzag = payload(5, size);
            let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            let whole = f64::from_bits(last.1) as i64;
            ((whole.wrapping_add(difference) as f64).to_bits(), 5 + size)
        }
    };
    ((time, value), bit + used)
}

fn encode_change(change: i64) -> [Code; 2] {
    if change == 0 {
        return [Code { bits: 0, len: 1 }, Code::default()];
    }
    for class in 1..5u32 {
        let size = TIME_BITS[class as usize];
        if (change << (64 - size)) >> (64 - size) == change {
            let ones = (1u64 << (class + 1)) - 2;
            let bits = (ones << size) | (change as u64 & ((1 << size) - 1));
            return [
                Code {
                    bits,
                    len: class + 1 + size,
                },
                Code::default(),
            ];
        }
    }
    [
        Code {
            bits: 0b11111,
            len: 5,
        },
        Code {
            bits: change as u64,
            len: 64,
        },
    ]
}

fn encode_value(context: &mut Context, last: u64, value: u64) -> [Code; 2] {
    let xor = last ^ value;
    if xor == 0 {
        return [Code { bits: 0, len: 1 }, Code::default()];
    }
    let leading = xor.leading_zeros();
    let size = 64 - leading - xor.trailing_zeros();
    let window_end = u32::from(context.leading) + u32::from(context.size);
    let fits = context.size > 0 && leading >= u32::from(context.leading) && leading + size <= window_end;
    let in_window = if fits {
        2 + u32::from(context.size)
    } else {
        u32::MAX
    };
    let shortest_xor = in_window.min(15 + size);

    if let Some(zigzag) = whole_difference(last, value)
        && let Some(class) = WHOLE_BITS.iter().position(|&bits| zigzag >> bits == 0)
        && 5 + WHOLE_BITS[class] < shortest_xor
    {
        let size = WHOLE_BITS[class];
        let head = 0b11100 | class as u64;
        return [
            Code {
                bits: (head << size) | zigzag,
                len: 5 + size,
            },
            Code::default(),
        ];
    }
    if in_window == shortest_xor {
        return [
            Code { bits: 0b10, len: 2 },
            Code {
                bits: xor >> (64 - window_end),
                len: u32::from(context.size),
            },
        ];
    }
    context.leading = leading as u8;
    context.size = size as u8;
    [
        Code {
            bits: (0b110 << 12) | (u64::from(leading) << 6) | u64::from(size - 1),
            len: 15,
        },
        Code {
            bits: xor >> (64 - leading - size),
            len: size,
        },
    ]
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

/// The first `size` bits, 1 to 64.
fn top(bits: u64, size: u32) -> u64 {
    bits >> (64 - size)
}
