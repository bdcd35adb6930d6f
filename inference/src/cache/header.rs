//! What stands in front of the bytes: whose they are, how many, and the checksum of each section.

/// Names the kind of file and the version of all that this file and `entry.rs` say.
const MAGIC: [u8; 16] = *b"sluice packed 1\n";
/// Bytes with a checksum of their own: what is written, mapped and checked at once, a huge page.
pub(super) const SECTION_BYTES: usize = 2 << 20;

/// Everything but the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) key: blake3::Hash,
    /// A digest that goes with the bytes, for whoever kept them.
    pub(super) note: blake3::Hash,
    /// How many bytes there are.
    pub(super) length: usize,
    /// BLAKE3 of each section of them.
    pub(super) sections: Vec<blake3::Hash>,
}

impl Header {
    /// Where the bytes begin: on a huge page.
    pub(super) fn end(length: usize) -> usize {
        size_bytes(length).next_multiple_of(SECTION_BYTES)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.key.as_bytes());
        bytes.extend(self.note.as_bytes());
        bytes.extend((self.length as u64).to_le_bytes());
        bytes.extend(self.sections.iter().flat_map(|section| *section.as_bytes()));
        let checksum = blake3::hash(&bytes);
        bytes.extend(checksum.as_bytes());
        bytes
    }

    /// The header of a file of `length` bytes under this key, if this is one and whole.
    pub(super) fn parse(bytes: &[u8], key: blake3::Hash, length: usize) -> Option<Self> {
        let bytes = bytes.get(..size_bytes(length))?;
        let (bytes, checksum) = bytes.split_last_chunk::<32>()?;
        if blake3::hash(bytes) != *checksum {
            return None;
        }
        let (magic, rest) = bytes.split_first_chunk()?;
        let (found_key, rest) = rest.split_first_chunk::<32>()?;
        let (note, rest) = rest.split_first_chunk::<32>()?;
        let (found_length, rest) = rest.split_first_chunk()?;
        let sections = rest.as_chunks::<32>().0.iter().map(|section| blake3::Hash::from_bytes(*section)).collect();
        let is_ours = *magic == MAGIC && key == *found_key && u64::from_le_bytes(*found_length) == length as u64;
        is_ours.then_some(Self { key, note: blake3::Hash::from_bytes(*note), length, sections })
    }
}

fn size_bytes(length: usize) -> usize {
    MAGIC.len() + 32 + 32 + 8 + 32 * length.div_ceil(SECTION_BYTES) + 32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    #[test]
    fn a_header_is_read_as_written_and_any_flipped_bit_is_found() {
        let length = 5 << 20;
        let sections = (0..3).map(|section| blake3::hash(&[section])).collect();
        let header = Header { key: blake3::hash(b"key"), note: blake3::hash(b"note"), length, sections };
        let bytes = header.to_bytes();
        assert_eq!(Header::parse(&bytes, header.key, length).unwrap(), header);
        assert!(Header::end(length) >= bytes.len());
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&damaged, header.key, length), None, "bit {bit}");
        }
        assert_eq!(Header::parse(&bytes, blake3::hash(b"another"), length), None);
        assert_eq!(Header::parse(&bytes, header.key, length - 1), None);
        assert_eq!(Header::parse(&bytes[..bytes.len() - 1], header.key, length), None);
    }
}
