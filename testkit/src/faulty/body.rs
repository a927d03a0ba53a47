//! Bodies that are faulty by their size or by how they are sent.

use std::io::Write as _;
use std::sync::Arc;

use flate2::{Compress, Compression, Crc, FlushCompress};

/// A query answer around as much white space as one likes: JSON that every client could read.
pub(super) const PREFIX: &str = r#"{"status":"success","data":{"resultType":"vector","result":["#;
pub(super) const SUFFIX: &str = "]}}";
/// How much of the filling is sent, or compressed, at a time.
const BLOCK: usize = 1 << 20;

/// Bytes sent in order, some of them many times over; never more than one block in memory.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// What is sent, and how often.
    pub(super) parts: Vec<(Arc<[u8]>, usize)>,
}

// === impl Stream ===

impl Stream {
    /// An answer of at least `total` bytes.
    pub(super) fn oversized(total: usize) -> Self {
        let blocks = total.div_ceil(BLOCK);
        let parts = vec![
            (PREFIX.as_bytes().into(), 1),
            (vec![b' '; BLOCK].into(), blocks),
            (SUFFIX.as_bytes().into(), 1),
        ];
        Self { parts }
    }

    /// The same as a valid gzip file, about a thousandth in size.
    ///
    /// After a full flush a deflate block refers to nothing before it, so one block can be sent again
    /// and again; only the check sum needs the whole, and check sums can be combined.
    pub(super) fn gzip_bomb(total: usize) -> Self {
        let blocks = total.div_ceil(BLOCK);
        let filling = vec![b' '; BLOCK];
        let mut deflate = Compress::new(Compression::best(), false);
        let prefix = compress(&mut deflate, PREFIX.as_bytes(), FlushCompress::Full);
        let block = compress(&mut deflate, &filling, FlushCompress::Full);
        let suffix = compress(&mut deflate, SUFFIX.as_bytes(), FlushCompress::Finish);

        let (mut whole, one) = (crc(PREFIX.as_bytes()), crc(&filling));
        for _ in 0..blocks {
            whole.combine(&one);
        }
        whole.combine(&crc(SUFFIX.as_bytes()));
        let mut trailer = whole.sum().to_le_bytes().to_vec();
        trailer.extend(whole.amount().to_le_bytes());

        let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
        let parts = vec![
            (header.as_slice().into(), 1),
            (prefix.into(), 1),
            (block.into(), blocks),
            (suffix.into(), 1),
            (trailer.into(), 1),
        ];
        Self { parts }
    }

    /// How many bytes go over the wire.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|(bytes, times)| bytes.len() * times).sum()
    }
}

/// An ordinary gzip file.
pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("a Vec takes everything")
}

fn compress(deflate: &mut Compress, input: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() / 100 + 1024);
    deflate
        .compress_vec(input, &mut out, flush)
        .expect("deflating bytes in memory");
    out
}

fn crc(bytes: &[u8]) -> Crc {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_bomb_is_a_valid_gzip_file_of_a_valid_answer() {
        let bomb = Stream::gzip_bomb(3 * BLOCK);
        let wire: Vec<u8> = bomb
            .parts
            .iter()
            .flat_map(|(bytes, times)| bytes.repeat(*times))
            .collect();
        assert_eq!(wire.len(), bomb.len());
        assert!(wire.len() < 3 * BLOCK / 500, "{}", wire.len());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&wire[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text.len(), PREFIX.len() + 3 * BLOCK + SUFFIX.len());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["status"], "success");
    }
}
