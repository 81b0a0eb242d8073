//! Turns Google's byte offsets into characters and back, without keeping the text.

/// The text said so far, as far as offsets need it.
#[derive(Debug, Default)]
pub struct Widths {
    bytes: u64,
    /// Neighbours of one width, more than a byte: text without spaces is few of these.
    wide: Vec<Wide>,
}

/// Characters of one width that follow each other.
#[derive(Debug)]
struct Wide {
    from: u64,
    to: u64,
    width: u64,
    /// How many bytes more than one the characters before these have.
    extra_before: u64,
}

impl Wide {
    /// How many of its characters end at or before a byte.
    fn ended(&self, byte: u64) -> u64 {
        byte.min(self.to).saturating_sub(self.from) / self.width
    }

    /// How many bytes more than one all characters have that end at or before a byte.
    fn extra(&self, byte: u64) -> u64 {
        self.extra_before + self.ended(byte) * (self.width - 1)
    }
}

impl Widths {
    /// Takes the next piece.
    pub fn push(&mut self, text: &str) {
        if text.is_ascii() {
            self.bytes += text.len() as u64;
            return;
        }
        for width in text.chars().map(|letter| letter.len_utf8() as u64) {
            if width > 1 {
                self.push_wide(width);
            }
            self.bytes += width;
        }
    }

    fn push_wide(&mut self, width: u64) {
        let (from, to) = (self.bytes, self.bytes + width);
        match self.wide.last_mut() {
            Some(last) if last.to == from && last.width == width => last.to = to,
            last => {
                let extra_before = last.map_or(0, |last| last.extra(from));
                self.wide.push(Wide { from, to, width, extra_before });
            }
        }
    }

    /// The character that begins at a byte.
    pub fn to_char(&self, byte: u64) -> u64 {
        let before = self.wide.partition_point(|wide| wide.from < byte);
        let last = before.checked_sub(1).and_then(|at| self.wide.get(at));
        byte.saturating_sub(last.map_or(0, |wide| wide.extra(byte)))
    }

    /// The byte that a character begins at.
    pub fn to_byte(&self, character: u64) -> u64 {
        let before = self.wide.partition_point(|wide| wide.from - wide.extra_before < character);
        let Some(wide) = before.checked_sub(1).and_then(|at| self.wide.get(at)) else {
            return character;
        };
        let within = character - (wide.from - wide.extra_before);
        let wide_ones = within.min((wide.to - wide.from) / wide.width);
        // The character is a provider's word, which may be beyond any text.
        character.saturating_add(wide.extra_before + wide_ones * (wide.width - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::Widths;

    #[test]
    fn text_of_one_width_needs_no_memory() {
        let mut widths = Widths::default();
        (0..1000).for_each(|_| widths.push("日本語、"));
        assert_eq!(widths.wide.len(), 1);
        assert_eq!((widths.to_char(3000), widths.to_byte(1000)), (1000, 3000));
    }

    #[test]
    fn an_offset_beyond_any_text_stays_a_number() {
        let mut widths = Widths::default();
        widths.push("20°C");
        assert_eq!((widths.to_byte(u64::MAX), widths.to_byte(3)), (u64::MAX, 4));
        assert_eq!(widths.to_char(u64::MAX), u64::MAX - 1);
    }

    #[test]
    fn offsets_fit_whatever_letters_and_pieces() {
        for pieces in [
            &["plain"][..],
            &["é", "a€", "", "𝄞b"],
            &["aé", "é€", "z"],
            &["日本", "語、é𝄞𝄞", "b语"],
        ] {
            let mut widths = Widths::default();
            pieces.iter().for_each(|piece| widths.push(piece));
            let text = pieces.concat();
            for (character, (byte, _)) in text.char_indices().enumerate() {
                assert_eq!(widths.to_char(byte as u64), character as u64, "{text}: byte {byte}");
                assert_eq!(widths.to_byte(character as u64), byte as u64, "{text}: {character}");
            }
            assert_eq!(widths.to_char(text.len() as u64), text.chars().count() as u64);
            assert_eq!(widths.to_byte(text.chars().count() as u64), text.len() as u64);
            assert_eq!(widths.to_byte(text.chars().count() as u64 + 9), text.len() as u64 + 9);
        }
    }
}
