//! How much of its memory the process spends on what it could also do without.

/// Memory for recent answers, bytes; the rest stays on disk.
const ANSWERS: u64 = 32 << 20;

/// Memory for requests that were read and answered from here, bytes.
const READINGS: u64 = 8 << 20;

/// Memory for records that wait for the disk, bytes.
const WAITING: u64 = 64 << 20;

/// What each of them may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Recent answers.
    pub answers: u64,
    /// Requests that were read and answered from here.
    pub readings: u64,
    /// Records that wait for the disk; what is more is dropped and counted.
    pub waiting: u64,
}

impl Default for Memory {
    /// Of a process that nobody limits.
    fn default() -> Self {
        Self { answers: ANSWERS, readings: READINGS, waiting: WAITING }
    }
}

impl Memory {
    /// Of a process that is ended when it takes more than `limit` bytes.
    ///
    /// Together they get less than half of it: the rest is for requests and answers under way, for
    /// what is known of stored answers, and for the disk's own pages. 256 MiB are enough for all.
    pub fn within(limit: u64) -> Self {
        let most = Self::default();
        Self {
            answers: most.answers.min(limit / 8),
            readings: most.readings.min(limit / 32),
            waiting: most.waiting.min(limit / 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Memory;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_a_pod_gets_by_default_is_enough_for_all_and_less_is_shared() {
        for (limit, answers, readings, waiting) in
            [(1024, 32, 8, 64), (256, 32, 8, 64), (128, 16, 4, 32), (32, 4, 1, 8)]
        {
            let (answers, readings, waiting) = (answers * MIB, readings * MIB, waiting * MIB);
            let wanted = Memory { answers, readings, waiting };
            assert_eq!(Memory::within(limit * MIB), wanted, "{limit} MiB");
        }
        assert_eq!(Memory::within(u64::MAX), Memory::default());
    }

    proptest! {
        #[test]
        fn no_limit_is_spent_by_half_and_more_of_it_never_gives_less(limit: u64, more: u64) {
            let Memory { answers, readings, waiting } = Memory::within(limit);
            prop_assert!(answers + readings + waiting <= limit / 2);
            let larger = Memory::within(limit.saturating_add(more));
            prop_assert!(larger.answers >= answers && larger.waiting >= waiting);
            prop_assert!(larger.readings >= readings);
        }
    }
}
