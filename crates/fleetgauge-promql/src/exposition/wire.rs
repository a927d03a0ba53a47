//! Protocol Buffers as bytes: messages, and the fields in them.
//!
//! *Source*: <https://protobuf.dev/programming-guides/encoding/>.

use super::fault::{Fault, Reason};

/// A message, and where in the page it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) start: usize,
}

/// What a field holds, as its bytes alone tell it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(Message<'a>),
    Fixed32,
}

/// A field, and where in the page it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
    pub(super) at: usize,
}

/// The fields of a message, one after the other. Nothing comes after one that is broken.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    message: Message<'a>,
    at: usize,
}

// === impl Message ===

impl<'a> Message<'a> {
    pub(super) fn fields(self) -> Fields<'a> {
        Fields { message: self, at: 0 }
    }

    /// It as a text.
    pub(super) fn text(self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes).map_err(|error| Reason::NotUtf8.at(self.start + error.valid_up_to()))
    }
}

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn message(self) -> Result<Message<'a>, Fault> {
        match self.value {
            Value::Bytes(message) => Ok(message),
            _ => Err(self.wrong()),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Fault> {
        self.message()?.text()
    }

    /// A number with a fraction. Each that is none is the ordinary one: the others mean something to who keeps samples.
    pub(super) fn double(self) -> Result<f64, Fault> {
        match self.value {
            Value::Fixed64(bits) => Ok(double(bits)),
            _ => Err(self.wrong()),
        }
    }

    pub(super) fn varint(self) -> Result<u64, Fault> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong()),
        }
    }

    /// Appends the numbers of a repeated field: one, or many in a row.
    pub(super) fn doubles(self, into: &mut Vec<f64>, limit: usize) -> Result<(), Fault> {
        let Value::Bytes(packed) = self.value else {
            return push(into, self.double()?, limit).map_err(|reason| reason.at(self.at));
        };
        let (doubles, rest) = packed.bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(Reason::BrokenField.at(self.at));
        }
        let mut doubles = doubles.iter().map(|bytes| double(u64::from_le_bytes(*bytes)));
        doubles
            .try_for_each(|double| push(into, double, limit))
            .map_err(|reason| reason.at(self.at))
    }

    /// As [`doubles`](Self::doubles), of whole numbers whose sign comes last.
    pub(super) fn signed(self, into: &mut Vec<i64>, limit: usize) -> Result<(), Fault> {
        let Value::Bytes(packed) = self.value else {
            return push(into, zigzag(self.varint()?), limit).map_err(|reason| reason.at(self.at));
        };
        let mut at = 0;
        while at < packed.bytes.len() {
            let (value, length) =
                varint(&packed.bytes[at..]).ok_or(Reason::BrokenField.at(packed.start + at))?;
            push(into, zigzag(value), limit).map_err(|reason| reason.at(self.at))?;
            at += length;
        }
        Ok(())
    }

    #[cold]
    fn wrong(self) -> Fault {
        Reason::BrokenField.at(self.at)
    }
}

// === impl Fields ===

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { message, at } = self;
        let rest = message.bytes.get(*at..).filter(|rest| !rest.is_empty())?;
        let begins = message.start + *at;
        match field(rest, begins) {
            Some((field, length)) => {
                *at += length;
                Some(Ok(field))
            }
            None => {
                *at = message.bytes.len();
                Some(Err(Reason::BrokenField.at(begins)))
            }
        }
    }
}

/// The field at the start of `bytes`, and how long it is. `None` if it is broken, or of a kind that is not used any more.
fn field(bytes: &[u8], start: usize) -> Option<(Field<'_>, usize)> {
    let (key, mut at) = varint(bytes)?;
    let value = match key & 7 {
        0 => {
            let (value, length) = varint(&bytes[at..])?;
            at += length;
            Value::Varint(value)
        }
        1 => {
            let (bits, _) = bytes[at..].split_first_chunk()?;
            at += 8;
            Value::Fixed64(u64::from_le_bytes(*bits))
        }
        2 => {
            let (length, prefix) = varint(&bytes[at..])?;
            at += prefix;
            let length = usize::try_from(length).ok()?;
            let inner = bytes[at..].get(..length)?;
            let message = Message {
                bytes: inner,
                start: start + at,
            };
            at += length;
            Value::Bytes(message)
        }
        5 => {
            bytes[at..].split_first_chunk::<4>()?;
            at += 4;
            Value::Fixed32
        }
        _ => return None,
    };
    let field = Field {
        number: key >> 3,
        value,
        at: start,
    };
    (field.number > 0).then_some((field, at))
}

/// The number at the start of `bytes`, and how long it is written.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(10).enumerate() {
        // Of the tenth byte there is room for one bit.
        if at == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, at + 1));
        }
    }
    None
}

/// The whole number whose sign is its lowest bit.
pub(super) fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

fn double(bits: u64) -> f64 {
    let value = f64::from_bits(bits);
    if value.is_nan() { f64::NAN } else { value }
}

fn push<T>(into: &mut Vec<T>, value: T, limit: usize) -> Result<(), Reason> {
    if into.len() >= limit {
        return Err(Reason::TooManyBuckets { limit });
    }
    into.push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_their_ends() {
        assert_eq!(varint(&[0]), Some((0, 1)));
        assert_eq!(varint(&[0xac, 2, 9]), Some((300, 2)));
        assert_eq!(varint(&[0xff; 10]), None);
        assert_eq!(
            varint(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
            Some((u64::MAX, 10))
        );
        assert_eq!(varint(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), None);
        assert_eq!(varint(&[0x80, 0x80]), None);
        assert_eq!(varint(&[]), None);
        assert_eq!([0, 1, 2, 3].map(zigzag), [0, -1, 1, -2]);
        assert_eq!([u64::MAX, u64::MAX - 1].map(zigzag), [i64::MIN, i64::MAX]);
    }

    #[test]
    fn nothing_comes_after_a_broken_field() {
        let fields = |bytes: &[u8]| -> Vec<_> {
            let fields = Message { bytes, start: 100 }.fields();
            fields.map(|f| f.map(|f| f.number).map_err(|f| f.at)).collect()
        };
        assert_eq!(fields(&[8, 1, 0x12, 1, b'a']), [Ok(1), Ok(2)]);
        assert_eq!(fields(&[8, 1, 0x12, 2, b'a']), [Ok(1), Err(102)]);
        assert_eq!(fields(&[8, 1, 9, 1, 2, 3]), [Ok(1), Err(102)]);
        // A field without a number, and the start of a group.
        assert_eq!(fields(&[0, 1, 8, 1]), [Err(100)]);
        assert_eq!(fields(&[0x0b, 8, 1]), [Err(100)]);
        assert_eq!(fields(&[0x15, 1, 2, 3, 4, 8, 1]), [Ok(2), Ok(1)]);
    }
}
