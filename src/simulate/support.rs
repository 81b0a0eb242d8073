//! What a support desk knows: topics with facts, from which personas write and persona judges mark.

/// A subject customers ask about.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Short name.
    pub name: &'static str,
    /// Words that betray that a message is about it, in small letters.
    words: Vec<&'static str>,
    /// Ways customers ask.
    pub questions: Vec<&'static str>,
    /// What a complete answer says.
    pub facts: Vec<Fact>,
}

/// One statement of an answer. The two details fit the same sentence.
#[derive(Clone, Debug)]
pub struct Fact {
    ahead: &'static str,
    /// The detail that makes it true.
    pub right: &'static str,
    /// A believable mistake.
    pub wrong: &'static str,
    behind: &'static str,
}

impl Fact {
    /// The sentence, true or mistaken.
    pub fn sentence(&self, correct: bool) -> String {
        let detail = if correct { self.right } else { self.wrong };
        format!("{}{detail}{}", self.ahead, self.behind)
    }
}

/// All topics.
pub struct Support {
    topics: Vec<Topic>,
}

impl Default for Support {
    fn default() -> Self {
        Self { topics: parse(super::topics::TABLE) }
    }
}

impl Support {
    /// All topics, in the order of the table.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Everything customers ask, for demo traffic.
    pub fn questions(&self) -> impl Iterator<Item = &'static str> {
        self.topics.iter().flat_map(|topic| topic.questions.iter().copied())
    }

    /// The topic a message is about: the one with the most of its words in it.
    pub fn topic_of(&self, message: &str) -> Option<&Topic> {
        let message = message.to_lowercase();
        let score =
            |topic: &Topic| topic.words.iter().filter(|word| message.contains(*word)).count();
        let scored = self.topics.iter().map(|topic| (score(topic), topic));
        let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        (best.0 > 0).then_some(best.1)
    }
}

impl Topic {
    /// How much of the topic a text gets right: 1 for each true fact, -1 for each mistake.
    pub fn marks(&self, text: &str) -> f64 {
        let says = |detail: &str| text.contains(detail);
        let mark = |fact: &Fact| f64::from(says(fact.right)) - f64::from(says(fact.wrong));
        self.facts.iter().map(mark).sum()
    }
}

/// Reads the table: `= name: words`, `? question`, `- fact with {right|wrong}`. A test, not the
/// program, checks that the table is whole: lines of no known kind are passed over.
fn parse(table: &'static str) -> Vec<Topic> {
    let mut topics: Vec<Topic> = Vec::new();
    for line in table.lines() {
        if let Some((name, words)) = line.strip_prefix("= ").and_then(|l| l.split_once(": ")) {
            let words = words.split(", ").collect();
            topics.push(Topic { name, words, questions: Vec::new(), facts: Vec::new() });
        } else if let Some(topic) = topics.last_mut() {
            if let Some(question) = line.strip_prefix("? ") {
                topic.questions.push(question);
            } else if let Some(fact) = line.strip_prefix("- ").and_then(parse_fact) {
                topic.facts.push(fact);
            }
        }
    }
    topics
}

fn parse_fact(line: &'static str) -> Option<Fact> {
    let (ahead, rest) = line.split_once('{')?;
    let (details, behind) = rest.split_once('}')?;
    let (right, wrong) = details.split_once('|')?;
    Some(Fact { ahead, right, wrong, behind })
}

#[cfg(test)]
mod tests {
    use super::Support;
    use crate::simulate::topics::TABLE;

    #[test]
    fn the_table_is_whole() {
        let support = Support::default();
        assert!((25..=40).contains(&support.topics().len()));
        for topic in support.topics() {
            assert!((3..=5).contains(&topic.facts.len()), "{}", topic.name);
            assert!(topic.questions.len() >= 2, "{}", topic.name);
        }
        let facts: usize = support.topics().iter().map(|topic| topic.facts.len()).sum();
        let lines = support.topics().len() + support.questions().count() + facts;
        assert_eq!(lines, TABLE.lines().filter(|line| !line.is_empty()).count());
    }

    #[test]
    fn every_question_leads_to_its_own_topic() {
        let support = Support::default();
        for topic in support.topics() {
            for question in &topic.questions {
                let found = support.topic_of(question).map(|found| found.name);
                assert_eq!(found, Some(topic.name), "{question}");
            }
        }
        assert!(support.topic_of("What is the capital of France?").is_none());
    }

    #[test]
    fn marks_tell_true_facts_from_mistakes() {
        for topic in Support::default().topics() {
            let answer = |correct| {
                let say = |fact: &super::Fact| fact.sentence(correct);
                topic.facts.iter().map(say).collect::<Vec<_>>().join(" ")
            };
            let all = topic.facts.len() as f64;
            assert_eq!(topic.marks(&answer(true)), all, "{}", topic.name);
            assert_eq!(topic.marks(&answer(false)), -all, "{}", topic.name);
            assert_eq!(topic.marks("We will look into it."), 0.0);
        }
    }
}
