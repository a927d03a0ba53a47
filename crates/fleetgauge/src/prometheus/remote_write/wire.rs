//! How Protocol Buffers write numbers and lengths.

pub(super) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(super) fn put_head(into: &mut Vec<u8>, key: u8, len: usize) {
    into.push(key);
    put_varint(into, len as u64);
}

pub(super) fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// How long something of this length is with what tells its field and length.
pub(super) fn framed(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// The field that comes next, and what is in it: of fields with a length, whose numbers are below 16.
pub(super) fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (key, rest) = bytes.split_first()?;
    let digits = rest.iter().position(|byte| *byte < 0x80)?;
    let len = rest[..=digits].iter().rev();
    let len = len.fold(0, |len, byte| len << 7 | usize::from(byte & 0x7f));
    let (field, rest) = rest[digits + 1..].split_at_checked(len)?;
    *bytes = rest;
    Some((*key, field))
}
