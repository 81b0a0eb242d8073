//! The anthropic dialect against what was recorded.

use understudy::chat::DialectName;

use crate::recordings;

#[test]
fn every_recorded_answer_is_read_as_people_read_it() {
    recordings::answers_are_read("messages", DialectName::Anthropic, &[]);
}
