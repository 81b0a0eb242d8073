//! Takes the chunk of usage out of a chat stream whose application did not ask for it.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The longest event looked into, bytes; a chunk of usage is far shorter.
const MAX_LOOKED_INTO: usize = 16 << 10;

/// Passes whole events on, byte for byte, but for those that hold nothing but usage.
#[derive(Debug, Default)]
pub struct WithoutUsage {
    /// What has come of an event that is not over.
    held: Vec<u8>,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Vec<IgnoredAny>,
    usage: Option<IgnoredAny>,
}

impl WithoutUsage {
    /// A whole stream at once.
    pub fn all(stream: &[u8]) -> Bytes {
        let mut filter = Self::default();
        let pieces = [filter.push(stream), filter.finish()];
        Bytes::from(pieces.into_iter().flatten().collect::<Vec<_>>().concat())
    }

    /// Takes the next piece; gives what can go on.
    pub fn push(&mut self, piece: &[u8]) -> Option<Bytes> {
        let from = self.held.len().saturating_sub(3);
        self.held.extend_from_slice(piece);
        let mut out = Vec::new();
        let (mut begin, mut at) = (0, from);
        while let Some(end) = self.held.get(at..).and_then(blank_line).map(|end| at + end) {
            let event = &self.held[begin..end];
            if !is_usage_alone(event) {
                out.extend_from_slice(event);
            }
            (begin, at) = (end, end);
        }
        self.held.drain(..begin);
        if self.held.len() > MAX_LOOKED_INTO {
            out.append(&mut self.held);
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        (!held.is_empty() && !is_usage_alone(&held)).then(|| Bytes::from(held))
    }
}

/// Where the first blank line ends, which ends an event.
fn blank_line(bytes: &[u8]) -> Option<usize> {
    (1..bytes.len()).find_map(|at| match &bytes[..=at] {
        [.., b'\r', b'\n', b'\r', b'\n'] | [.., b'\n', b'\n'] => Some(at + 1),
        _ => None,
    })
}

fn is_usage_alone(event: &[u8]) -> bool {
    let data = event.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
    data.filter(|data| data.len() <= MAX_LOOKED_INTO)
        .and_then(|data| serde_json::from_slice::<Chunk>(data).ok())
        .is_some_and(|Chunk { choices, usage }| choices.is_empty() && usage.is_some())
}

#[cfg(test)]
mod tests {
    use super::WithoutUsage;

    #[test]
    fn only_the_chunk_of_usage_alone_is_taken_out_however_it_is_cut() {
        let keep = [
            "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: {\"choices\":[],\"prompt_filter_results\":[],\"usage\":null}\r\n\r\n",
            ": comment\n\n",
            "data: [DONE]\n\n",
        ];
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";
        let stream = [keep[0], keep[1], usage, keep[2], keep[3]].concat();
        for size in 1..=stream.len() {
            let (mut filter, mut out) = (WithoutUsage::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                out.extend(filter.push(piece).into_iter().flatten());
            }
            out.extend(filter.finish().into_iter().flatten());
            assert_eq!(String::from_utf8(out).unwrap(), keep.concat(), "in pieces of {size}");
        }
    }
}
