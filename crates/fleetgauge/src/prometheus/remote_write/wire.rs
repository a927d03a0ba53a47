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
