//! What was asked on a socket and is not begun yet: first come, first served, one at a time on
//! each lane.

use std::collections::HashSet;
use std::collections::VecDeque;

use crate::http::data::upgrade::event::Create;
use crate::http::data::upgrade::event::Refusal;

/// The most lanes that one socket may name, which is OpenAI's limit.
const MOST_LANES: usize = 32;

/// The most requests that wait for their turn on one socket.
const MOST_WAITING: usize = 32;

/// Requests that wait for their turn, and the lanes that are taken.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Create>,
    bytes: usize,
    most_bytes: usize,
    busy: HashSet<Option<String>>,
    lanes: HashSet<String>,
}

impl Queue {
    /// Empty; what waits together may be as large as one message may.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            most_bytes,
            busy: HashSet::new(),
            lanes: HashSet::new(),
        }
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn push(&mut self, create: Create) -> Result<(), Refusal> {
        let is_new = create.lane.as_ref().is_some_and(|lane| !self.lanes.contains(lane));
        if is_new && self.lanes.len() >= MOST_LANES {
            let what = format!("this connection has named {MOST_LANES} streams: use one of them");
            let refusal = Refusal::new(400, "websocket_stream_limit_reached", what);
            return Err(refusal.at("stream_id"));
        }
        let is_large = !self.waiting.is_empty() && self.bytes + create.bytes > self.most_bytes;
        if self.waiting.len() >= MOST_WAITING || is_large {
            let many = self.waiting.len();
            let what =
                format!("{many} requests wait on this connection already: wait for an answer");
            return Err(Refusal::new(429, "websocket_queue_limit_reached", what));
        }
        self.lanes.extend(create.lane.clone());
        self.bytes += create.bytes;
        self.waiting.push_back(create);
        Ok(())
    }

    /// The first request whose lane is free, which it takes until [`Self::free`].
    pub fn next(&mut self) -> Option<Create> {
        let at = self.waiting.iter().position(|create| !self.busy.contains(&create.lane))?;
        let create = self.waiting.remove(at)?;
        self.bytes -= create.bytes;
        self.busy.insert(create.lane.clone());
        Some(create)
    }

    /// What was under way on a lane has ended.
    pub fn free(&mut self, lane: &Option<String>) {
        self.busy.remove(lane);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Create;
    use super::MOST_LANES;
    use super::MOST_WAITING;
    use super::Queue;

    fn create(lane: Option<&str>, bytes: usize) -> Create {
        Create { lane: lane.map(str::to_owned), bytes, ..Create::default() }
    }

    fn code(queue: &mut Queue, lane: Option<&str>, bytes: usize) -> Option<String> {
        let refused = queue.push(create(lane, bytes)).err()?;
        refused.error["code"].as_str().map(str::to_owned)
    }

    #[test]
    fn a_lane_waits_for_itself_alone() {
        let mut queue = Queue::new(100);
        for (lane, bytes) in [(None, 1), (None, 2), (Some("a"), 3), (Some("a"), 4)] {
            assert_eq!(code(&mut queue, lane, bytes), None);
        }
        let mut next = |free: Option<&Option<String>>| {
            free.into_iter().for_each(|lane| queue.free(lane));
            queue.next().map(|create| create.bytes)
        };
        assert_eq!([next(None), next(None), next(None)], [Some(1), Some(3), None]);
        assert_eq!([next(Some(&Some("a".into()))), next(Some(&None))], [Some(4), Some(2)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn requests_bytes_and_lanes_are_bounded() {
        let full = Some("websocket_queue_limit_reached".to_owned());
        let mut queue = Queue::new(100);
        assert_eq!(code(&mut queue, None, 1000), None);
        assert_eq!(code(&mut queue, None, 1), full);
        assert!(queue.next().is_some());
        (0..MOST_WAITING).for_each(|_| assert_eq!(code(&mut queue, None, 1), None));
        assert_eq!(code(&mut queue, None, 1), full);
        queue.clear();
        for lane in 0..MOST_LANES {
            assert_eq!(code(&mut queue, Some(&lane.to_string()), 1), None);
            queue.clear();
        }
        let limit = Some("websocket_stream_limit_reached".to_owned());
        assert_eq!(code(&mut queue, Some("one more"), 1), limit);
        assert_eq!(code(&mut queue, Some("0"), 1), None);
    }
}
