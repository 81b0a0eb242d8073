//! Turns Google's byte offsets into characters and back, without keeping the text.

/// The text said so far, as far as offsets need it.
#[derive(Debug, Default)]
pub struct Widths {
    bytes: u64,
    /// For each character of several bytes: where it ends, and how many bytes more than one all of
    /// them so far have.
    wide: Vec<(u64, u64)>,
}

impl Widths {
    /// Takes the next piece.
    pub fn push(&mut self, text: &str) {
        if !text.is_ascii() {
            let mut end = self.bytes;
            let mut extra = self.extra();
            for width in text.chars().map(|letter| letter.len_utf8() as u64) {
                end += width;
                extra += width - 1;
                if width > 1 {
                    self.wide.push((end, extra));
                }
            }
        }
        self.bytes += text.len() as u64;
    }

    /// The character that begins at a byte.
    pub fn to_char(&self, byte: u64) -> u64 {
        let before = self.wide.partition_point(|(end, _)| *end <= byte);
        let extra = before.checked_sub(1).and_then(|at| self.wide.get(at));
        byte.saturating_sub(extra.map_or(0, |(_, extra)| *extra))
    }

    /// The byte that a character begins at.
    pub fn to_byte(&self, character: u64) -> u64 {
        let before = self.wide.partition_point(|(end, extra)| end - extra <= character);
        let extra = before.checked_sub(1).and_then(|at| self.wide.get(at));
        character + extra.map_or(0, |(_, extra)| *extra)
    }

    fn extra(&self) -> u64 {
        self.wide.last().map_or(0, |(_, extra)| *extra)
    }
}

#[cfg(test)]
mod tests {
    use super::Widths;

    #[test]
    fn offsets_fit_whatever_letters_and_pieces() {
        for pieces in [&["plain"][..], &["é", "a€", "", "𝄞b"], &["aé", "é€", "z"]] {
            let mut widths = Widths::default();
            pieces.iter().for_each(|piece| widths.push(piece));
            let text = pieces.concat();
            for (character, (byte, _)) in text.char_indices().enumerate() {
                assert_eq!(widths.to_char(byte as u64), character as u64, "{text}: byte {byte}");
                assert_eq!(widths.to_byte(character as u64), byte as u64, "{text}: {character}");
            }
            assert_eq!(widths.to_char(text.len() as u64), text.chars().count() as u64);
            assert_eq!(widths.to_byte(text.chars().count() as u64), text.len() as u64);
        }
    }
}
