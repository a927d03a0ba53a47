//! The samples of one series within a block, as bytes: chosen by what they are, and every bit pattern comes back.
//!
//! A block is written once, when all of its samples are known, so a column needs no codes that tell what comes next: all
//! samples of a column have the same width, and a reader takes them by shifts alone. Most of what an inference server
//! exposes are whole numbers which stand still or grow by small steps: their differences, less the smallest one, take few
//! bits and often none. So do decimals of few digits. Whatever is neither is written by what differs from the sample before,
//! without the zeros that all of these have at their ends.
//!
//! ```text
//! kind      bits 0 to 3: digits after the point, or XOR; bit 4: the numbers themselves and no differences; bit 5: a mask follows
//! mask      a bit for each row, set where there is a sample
//! whole     the first number, if there are differences; the least of what is packed; its width; what is packed
//! XOR       the first sample; leading zeros; width; what is packed
//! ```
//!
//! Numbers beside the packed ones are zigzag, seven bits a byte.

/// "No sample in this row": a NaN that no exposition has, and that is read as an ordinary NaN where some binary form brings it.
pub(super) const ABSENT: u64 = 0x7ff0_0000_0000_0fff;

const XOR: u8 = 15;
const KIND: u8 = 15;
/// Packed are the numbers themselves.
const PLAIN: u8 = 1 << 4;
const MASKED: u8 = 1 << 5;
/// Digits after the point that are tried.
const DIGITS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// Up to here every whole number has a float of its own.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
/// How many rows a block has at most: what a reader of the newest few reads in vain is half of it.
pub(super) const MAX_ROWS: usize = 64;
/// So many bytes behind its columns a block has to have, so that what is packed can be read by words.
pub(super) const PADDING: usize = 8;

/// Room that is used again from column to column.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    numbers: Vec<i64>,
    packed: Vec<u64>,
}

// === writing ===

/// Appends the column of these samples, of which those that are [`ABSENT`] are none; nothing if all are.
pub(super) fn write(samples: &[u64], into: &mut Vec<u8>, scratch: &mut Scratch) {
    let mut room = [0; MAX_ROWS];
    let mut count = 0;
    for &sample in samples.iter().filter(|&&sample| sample != ABSENT) {
        room[count] = sample;
        count += 1;
    }
    let present = &room[..count];
    let Some(&first) = present.first() else { return };
    let begin = into.len();
    into.push(0);
    let mut kind = 0;
    if present.len() < samples.len() {
        kind |= MASKED;
        for rows in samples.chunks(8) {
            let bits = rows.iter().enumerate();
            into.push(bits.fold(0, |mask, (row, &sample)| mask | u8::from(sample != ABSENT) << row));
        }
    }
    let xors = Xors::of(present);
    let whole = digits(present).and_then(|digits| Whole::of(present, digits, scratch));
    match whole.filter(|whole| u32::from(whole.width) <= xors.width) {
        Some(whole) => {
            kind |= whole.digits;
            if whole.is_plain {
                kind |= PLAIN;
            } else {
                write_number(scratch.numbers[0], into);
            }
            write_number(whole.least, into);
            into.push(whole.width);
            pack(&scratch.packed, u32::from(whole.width), into);
        }
        None => {
            kind |= XOR;
            into.extend_from_slice(&first.to_le_bytes());
            into.push(xors.leading as u8);
            into.push(xors.width as u8);
            let end = 64 - xors.leading - xors.width;
            let packed = &mut scratch.packed;
            packed.clear();
            packed.extend(present.windows(2).map(|pair| (pair[0] ^ pair[1]) >> (end % 64)));
            pack(packed, xors.width, into);
        }
    }
    into[begin] = kind;
}

/// In which bits neighbours differ.
struct Xors {
    leading: u32,
    width: u32,
}

impl Xors {
    fn of(samples: &[u64]) -> Self {
        let all = samples.windows(2).fold(0, |all, pair| all | (pair[0] ^ pair[1]));
        match all {
            0 => Self { leading: 0, width: 0 },
            _ => Self {
                leading: all.leading_zeros(),
                width: 64 - all.leading_zeros() - all.trailing_zeros(),
            },
        }
    }
}

/// How whole numbers are packed; the numbers and what is packed are in the scratch.
struct Whole {
    digits: u8,
    is_plain: bool,
    least: i64,
    width: u8,
}

impl Whole {
    /// `None` if one is no decimal of so many digits.
    fn of(samples: &[u64], digits: u8, scratch: &mut Scratch) -> Option<Self> {
        let Scratch { numbers, packed, .. } = scratch;
        numbers.clear();
        for &sample in samples {
            numbers.push(number(sample, digits)?);
        }
        let differences = || numbers.windows(2).map(|pair| pair[1] - pair[0]);
        let (least_plain, width_plain) = spread(numbers.iter().copied());
        let (least, width) = spread(differences());
        packed.clear();
        // The first number is written beside differences.
        let is_plain = width_plain < width;
        if is_plain {
            packed.extend(numbers.iter().map(|&number| (number - least_plain) as u64));
        } else {
            packed.extend(differences().map(|difference| (difference - least) as u64));
        }
        Some(Self {
            digits,
            is_plain,
            least: if is_plain { least_plain } else { least },
            width: width.min(width_plain),
        })
    }
}

/// The least of the numbers, and how many bits all of them take less that.
fn spread(numbers: impl Iterator<Item = i64>) -> (i64, u8) {
    let bounds = numbers.fold(None, |bounds: Option<(i64, i64)>, number| {
        let (least, most) = bounds.unwrap_or((number, number));
        Some((least.min(number), most.max(number)))
    });
    let (least, most) = bounds.unwrap_or_default();
    let width = 64 - ((most - least) as u64).leading_zeros();
    (least, width as u8)
}

/// How many digits after the point they all seem to have, by the first that is not whole; `None` for more than are tried.
fn digits(samples: &[u64]) -> Option<u8> {
    let Some(&broken) = samples.iter().find(|&&sample| number(sample, 0).is_none()) else {
        return Some(0);
    };
    (1..DIGITS.len() as u8).find(|&digits| number(broken, digits).is_some())
}

/// The sample as a whole number of its last digit; `None` if it does not come back as it was, bit for bit.
fn number(sample: u64, digits: u8) -> Option<i64> {
    let scale = DIGITS[usize::from(digits)];
    let scaled = (f64::from_bits(sample) * scale).round();
    if scaled.is_nan() || scaled.abs() > MAX_WHOLE {
        return None;
    }
    let number = scaled as i64;
    (value(number, scale) == sample).then_some(number)
}

#[inline(always)]
fn value(number: i64, scale: f64) -> u64 {
    (number as f64 / scale).to_bits()
}

fn write_number(number: i64, into: &mut Vec<u8>) {
    let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
    while zigzag >= 128 {
        into.push(zigzag as u8 | 128);
        zigzag >>= 7;
    }
    into.push(zigzag as u8);
}

fn pack(numbers: &[u64], width: u32, into: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut word, mut used) = (0u64, 0);
    for &number in numbers {
        word |= number << used;
        used += width;
        if used >= 64 {
            into.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            word = if used > 0 { number >> (width - used) } else { 0 };
        }
    }
    into.extend_from_slice(&word.to_le_bytes()[..(used as usize).div_ceil(8)]);
}

// === reading ===

/// Gives each sample of a column with its row, in their order. `bytes` begin with the column, and go on at least for
/// [`PADDING`] behind it.
#[inline]
pub(super) fn read(bytes: &[u8], rows: usize, mut give: impl FnMut(usize, u64)) {
    let kind = bytes[0];
    let mut at = 1;
    if kind & MASKED == 0 {
        return samples(bytes, at, kind, rows, &mut give);
    }
    let mut mask = 0u64;
    for byte in 0..rows.div_ceil(8) {
        mask |= u64::from(bytes[at + byte]) << (8 * byte);
    }
    at += rows.div_ceil(8);
    samples(bytes, at, kind, mask.count_ones() as usize, |_, sample| {
        give(mask.trailing_zeros() as usize, sample);
        mask &= mask - 1;
    });
}

#[inline(always)]
fn samples(bytes: &[u8], mut at: usize, kind: u8, count: usize, mut give: impl FnMut(usize, u64)) {
    if kind & KIND == XOR {
        let mut sample = word(bytes, at);
        let (leading, width) = (u32::from(bytes[at + 8]), u32::from(bytes[at + 9]));
        let mut packed = Packed::new(bytes, at + 10, width);
        give(0, sample);
        let shift = (64 - leading - width) % 64;
        for i in 1..count {
            sample ^= packed.next() << shift;
            give(i, sample);
        }
        return;
    }
    let scale = DIGITS[usize::from(kind & KIND)];
    let mut number = match kind & PLAIN {
        0 => read_number(bytes, &mut at),
        _ => 0,
    };
    let least = read_number(bytes, &mut at);
    let mut packed = Packed::new(bytes, at + 1, u32::from(bytes[at]));
    if kind & PLAIN != 0 {
        for i in 0..count {
            give(i, value(least + packed.next() as i64, scale));
        }
        return;
    }
    let sample = value(number, scale);
    give(0, sample);
    if packed.mask == 0 && least == 0 {
        (1..count).for_each(|i| give(i, sample));
    } else if kind & KIND == 0 {
        // A division takes longer than all the rest.
        for i in 1..count {
            number += least + packed.next() as i64;
            give(i, (number as f64).to_bits());
        }
    } else {
        for i in 1..count {
            number += least + packed.next() as i64;
            give(i, value(number, scale));
        }
    }
}

fn read_number(bytes: &[u8], at: &mut usize) -> i64 {
    let (mut zigzag, mut shift) = (0u64, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        zigzag |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        }
        shift += 7;
    }
}

/// Numbers of so many bits, one behind the other.
struct Packed<'b> {
    bytes: &'b [u8],
    width: u32,
    mask: u64,
    bit: usize,
}

impl<'b> Packed<'b> {
    #[inline(always)]
    fn new(bytes: &'b [u8], at: usize, width: u32) -> Self {
        let (mask, bit) = (u64::MAX.checked_shr(64 - width).unwrap_or(0), at * 8);
        Self {
            bytes,
            width,
            mask,
            bit,
        }
    }

    #[inline(always)]
    fn next(&mut self) -> u64 {
        let (byte, offset) = (self.bit / 8, (self.bit % 8) as u32);
        self.bit += self.width as usize;
        let low = word(self.bytes, byte) >> offset;
        if offset + self.width <= 64 {
            return low & self.mask;
        }
        (low | u64::from(self.bytes[byte + 8]) << (64 - offset)) & self.mask
    }
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::STALE_MARKER;
    use proptest::prelude::*;

    fn written(samples: &[u64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(samples, &mut bytes, &mut Scratch::default());
        bytes
    }

    fn read_back(mut bytes: Vec<u8>, rows: usize) -> Vec<u64> {
        let mut samples = vec![ABSENT; rows];
        if !bytes.is_empty() {
            bytes.resize(bytes.len() + PADDING, 0xff);
            let mut next = 0;
            read(&bytes, rows, |row, sample| {
                assert!(row >= next, "rows in their order");
                next = row + 1;
                samples[row] = sample;
            });
        }
        samples
    }

    fn check(samples: &[u64]) {
        assert_eq!(read_back(written(samples), samples.len()), samples);
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn values_at_the_borders_come_back() {
        check(&bits(&[
            0.0,
            -0.0,
            0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1.0,
        ]));
        check(&[STALE_MARKER, 0, ABSENT, u64::MAX, 1, ABSENT]);
        check(&bits(&[
            MAX_WHOLE,
            -MAX_WHOLE,
            MAX_WHOLE - 1.0,
            MAX_WHOLE + 2.0,
            1e300,
            5e-324,
            f64::MIN,
        ]));
        check(&bits(&[MAX_WHOLE, -MAX_WHOLE, MAX_WHOLE, -MAX_WHOLE]));
        check(&bits(&[0.1, 0.2, 0.3, 0.1 + 0.2, 1e15, -0.000_001]));
        check(&bits(&[2.5]));
        check(&[ABSENT; 9]);
    }

    #[test]
    fn what_stands_still_or_grows_evenly_takes_no_bits() {
        assert_eq!(written(&[0; 64]).len(), 4);
        let even: Vec<_> = (0..64).map(|i| f64::from(1_000 + 3 * i).to_bits()).collect();
        assert_eq!(written(&even).len(), 5);
        // A step now and then takes one.
        let steps: Vec<_> = (0..64).map(|i| f64::from(i / 7).to_bits()).collect();
        assert_eq!(written(&steps).len(), 4 + 8);
        // Hundredths that go up and down within one.
        let ratios: Vec<_> = (0..64)
            .map(|i| (f64::from(i * 37 % 100) / 100.0).to_bits())
            .collect();
        assert_eq!(written(&ratios).len(), 4 + 56);
    }

    fn sample() -> impl Strategy<Value = u64> {
        prop_oneof![
            1 => any::<u64>(),
            1 => Just(ABSENT),
            1 => Just(STALE_MARKER),
            8 => (-50i64..50).prop_map(|value| (value as f64).to_bits()),
            2 => any::<i64>().prop_map(|value| (value as f64).to_bits()),
            4 => (0i64..100_000).prop_map(|value| (value as f64 / 1e3).to_bits()),
            2 => (0.0f64..1.0).prop_map(f64::to_bits),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(samples in prop::collection::vec(sample(), 1..=64)) {
            check(&samples);
        }

        #[test]
        fn so_are_samples_of_one_kind(
            (first, steps) in (-1_000_000i64..1_000_000, prop::collection::vec(-300i64..300, 0..64)),
            digits in 0usize..8,
            hole in 0usize..80,
        ) {
            let scale = 10f64.powi(digits as i32);
            let mut number = first;
            let mut samples = vec![(number as f64 / scale).to_bits()];
            for step in steps {
                number += step;
                samples.push((number as f64 / scale).to_bits());
            }
            if let Some(sample) = samples.get_mut(hole) {
                *sample = ABSENT;
            }
            check(&samples);
        }
    }
}
