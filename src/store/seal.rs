//! The envelope of every large record: version, checksum, compression.
//!
//! `[1][blake3 of the rest, 16 bytes][length u32 le][zstd of: head length u32 le, head JSON, payload]`
//! or, where there is a key, `[2]` and the same from the length on, as [`Keys::lock`] has it.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::cipher::Keys;

/// The envelope's versions; readers refuse others, which reads as "not stored".
const PLAIN: u8 = 1;
const LOCKED: u8 = 2;

/// zstd's fastest regular level: more than halves JSON at some 400 MB/s.
const LEVEL: i32 = 1;

/// The largest payload a record may unpack to, bytes; guards against a damaged length.
const MAX_UNPACKED: usize = 128 << 20;

/// Packs records; one is kept, because zstd's tables cost more to set up than a record to pack.
pub struct Sealer {
    zstd: zstd::bulk::Compressor<'static>,
    keys: Keys,
}

impl Sealer {
    /// Sets up zstd.
    ///
    /// # Errors
    /// There is no memory for its tables.
    pub fn new(keys: Keys) -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(LEVEL)?, keys })
    }

    /// Packs a small value: as JSON for whoever looks, unless there is a key.
    pub fn seal_small<T: Serialize>(&mut self, value: &T) -> Option<Vec<u8>> {
        match self.keys.write() {
            true => self.seal(value, &[]),
            false => serde_json::to_vec(value).ok(),
        }
    }

    /// Packs a head and its payload.
    pub fn seal<H: Serialize>(&mut self, head: &H, payload: &[&[u8]]) -> Option<Vec<u8>> {
        let head = serde_json::to_vec(head).ok()?;
        let size = payload.iter().map(|part| part.len()).sum::<usize>();
        let mut plain = Vec::with_capacity(4 + head.len() + size);
        plain.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
        plain.extend_from_slice(&head);
        payload.iter().for_each(|part| plain.extend_from_slice(part));
        let packed = self.zstd.compress(&plain).ok()?;
        let length = u32::try_from(plain.len()).ok()?.to_le_bytes();
        if self.keys.write() {
            return self.keys.lock(&[LOCKED], [&length[..], &packed].concat());
        }
        let mut record = Vec::with_capacity(packed.len() + 21);
        record.push(PLAIN);
        record.extend_from_slice(&checksum(&length, &packed));
        record.extend_from_slice(&length);
        record.extend_from_slice(&packed);
        Some(record)
    }
}

/// Unpacks what [`Sealer::seal_small`] packed, with a key or without.
pub fn unseal_small<T: DeserializeOwned>(record: &[u8], keys: &Keys) -> Option<T> {
    match record.first() {
        Some(&LOCKED) => unseal(record, keys).map(|(value, _)| value),
        _ => serde_json::from_slice(record).ok(),
    }
}

/// Unpacks what [`Sealer::seal`] packed; `None` for another version, a strange key or any damage.
pub fn unseal<H: DeserializeOwned>(record: &[u8], keys: &Keys) -> Option<(H, Bytes)> {
    match *record.first()? {
        PLAIN => {
            let (sum, rest) = record.get(1..)?.split_at_checked(16)?;
            let (length, packed) = rest.split_first_chunk::<4>()?;
            (checksum(length, packed) == sum).then(|| unpack(length, packed))?
        }
        LOCKED => {
            let plain = keys.unlock(&[LOCKED], record)?;
            let (length, packed) = plain.split_first_chunk::<4>()?;
            unpack(length, packed)
        }
        _ => None,
    }
}

fn unpack<H: DeserializeOwned>(length: &[u8; 4], packed: &[u8]) -> Option<(H, Bytes)> {
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
    use secrecy::SecretString;

    use super::Sealer;
    use super::unseal;
    use super::unseal_small;
    use crate::store::cipher::Keys;

    fn keys(words: &[&str]) -> Keys {
        Keys::new(&words.iter().map(|words| SecretString::from(*words)).collect::<Vec<_>>())
    }

    #[test]
    fn no_flipped_bit_or_missing_end_is_ever_read_as_a_record() {
        for keys in [Keys::default(), keys(&["one"])] {
            let mut sealer = Sealer::new(keys.clone()).unwrap();
            let record = sealer.seal(&"head", &[b"pay", b"load"]).unwrap();
            let (head, payload) = unseal::<String>(&record, &keys).unwrap();
            assert_eq!((head.as_str(), &payload[..]), ("head", &b"payload"[..]));
            for at in 0..record.len() {
                assert!(unseal::<String>(&record[..at], &keys).is_none(), "cut at {at}");
                for bit in 0..8 {
                    let mut damaged = record.clone();
                    damaged[at] ^= 1 << bit;
                    let read = unseal::<String>(&damaged, &keys);
                    assert!(read.is_none(), "bit {bit} of byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_record_is_read_with_any_of_the_keys_and_with_no_other() {
        let (old, new) = (keys(&["one"]), keys(&["two", "one"]));
        let locked = Sealer::new(old.clone()).unwrap().seal(&"head", &[b"secret"]).unwrap();
        let rotated = Sealer::new(new.clone()).unwrap().seal(&"head", &[b"secret"]).unwrap();
        let plain = Sealer::new(Keys::default()).unwrap().seal(&"head", &[b"secret"]).unwrap();
        let reads = |record: &[u8], keys: &Keys| unseal::<String>(record, keys).is_some();
        assert!(reads(&locked, &old) && reads(&locked, &new) && reads(&rotated, &new));
        assert!(!reads(&rotated, &old) && !reads(&locked, &Keys::default()));
        assert!(reads(&plain, &new) && reads(&plain, &Keys::default()));
        // The same again is another record, because its key is another one.
        let again = Sealer::new(old.clone()).unwrap().seal(&"head", &[b"secret"]).unwrap();
        assert_ne!(locked, again);
    }

    #[test]
    fn small_values_are_json_until_there_is_a_key() {
        for (keys, is_json) in [(Keys::default(), true), (keys(&["one"]), false)] {
            let value = Sealer::new(keys.clone()).unwrap().seal_small(&"what").unwrap();
            assert_eq!(value == b"\"what\"", is_json);
            assert_eq!(unseal_small::<String>(&value, &keys).unwrap(), "what");
            assert_eq!(unseal_small::<String>(b"\"before\"", &keys).unwrap(), "before");
        }
    }
}
