//! The envelope of every large record: version, checksum, compression.
//!
//! `[version u8][blake3 of the rest, 16 bytes][zstd of: head length u32 le, head JSON, payload]`

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The envelope's version; readers refuse others, which reads as "not stored".
const VERSION: u8 = 1;

/// zstd's fastest regular level: more than halves JSON at some 400 MB/s.
const LEVEL: i32 = 1;

/// The largest payload a record may unpack to, bytes; guards against a damaged length.
const MAX_UNPACKED: usize = 128 << 20;

/// Packs records; one is kept, because zstd's tables cost more to set up than a record to pack.
pub struct Sealer(zstd::bulk::Compressor<'static>);

impl Sealer {
    /// Sets up zstd.
    ///
    /// # Errors
    /// There is no memory for its tables.
    pub fn new() -> std::io::Result<Self> {
        zstd::bulk::Compressor::new(LEVEL).map(Self)
    }

    /// Packs a head and its payload.
    pub fn seal<H: Serialize>(&mut self, head: &H, payload: &[&[u8]]) -> Option<Vec<u8>> {
        let head = serde_json::to_vec(head).ok()?;
        let size = payload.iter().map(|part| part.len()).sum::<usize>();
        let mut plain = Vec::with_capacity(4 + head.len() + size);
        plain.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
        plain.extend_from_slice(&head);
        payload.iter().for_each(|part| plain.extend_from_slice(part));
        let packed = self.0.compress(&plain).ok()?;
        let length = u32::try_from(plain.len()).ok()?.to_le_bytes();
        let mut record = Vec::with_capacity(packed.len() + 21);
        record.push(VERSION);
        record.extend_from_slice(&checksum(&length, &packed));
        record.extend_from_slice(&length);
        record.extend_from_slice(&packed);
        Some(record)
    }
}

/// Unpacks what [`Sealer::seal`] packed; `None` for another version or any damage.
pub fn unseal<H: DeserializeOwned>(record: &[u8]) -> Option<(H, Bytes)> {
    let (version, rest) = record.split_first()?;
    let (sum, rest) = rest.split_at_checked(16)?;
    let (length, packed) = rest.split_first_chunk::<4>()?;
    if *version != VERSION || checksum(length, packed) != sum {
        return None;
    }
    let size = u32::from_le_bytes(*length) as usize;
    let plain = zstd::bulk::decompress(packed, size.min(MAX_UNPACKED)).ok()?;
    let (length, rest) = plain.split_first_chunk::<4>()?;
    let (head, _) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let parsed = serde_json::from_slice(head).ok()?;
    let payload_at = 4 + head.len();
    Some((parsed, Bytes::from(plain).slice(payload_at..)))
}

fn checksum(length: &[u8], packed: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(length);
    hasher.update(packed);
    let mut sum = [0; 16];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::Sealer;
    use super::unseal;

    #[test]
    fn no_flipped_bit_or_missing_end_is_ever_read_as_a_record() {
        let record = Sealer::new().unwrap().seal(&"head", &[b"pay", b"load"]).unwrap();
        let (head, payload) = unseal::<String>(&record).unwrap();
        assert_eq!((head.as_str(), &payload[..]), ("head", &b"payload"[..]));
        for at in 0..record.len() {
            assert!(unseal::<String>(&record[..at]).is_none(), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = record.clone();
                damaged[at] ^= 1 << bit;
                assert!(unseal::<String>(&damaged).is_none(), "bit {bit} of byte {at}");
            }
        }
    }
}
