//! Text that reads like a model's answer, drawn from a bank of sentences.

use fastrand::Rng;

use super::chance;

const OPENINGS: [&str; 10] = [
    "The short answer on {topic} is that it depends on what you are aiming for.",
    "There are a few sensible ways to look at {topic}.",
    "Happy to help with {topic}.",
    "It is worth separating two sides of {topic} here.",
    "In most cases {topic} comes down to a handful of choices.",
    "Here is how I would approach {topic}.",
    "Let us take {topic} one step at a time.",
    "People often make {topic} harder than it needs to be.",
    "Before going into detail, a word about what {topic} means in practice.",
    "This is a good moment to think about {topic}.",
];

const SENTENCES: [&str; 34] = [
    "Start with the part that is cheapest to change later.",
    "A small trial on a quiet day will teach you more than a long meeting.",
    "Write down what you expect before you look at the result.",
    "If two options look equally good, take the one you can undo.",
    "The numbers matter less than the direction they move in.",
    "Most of the effort around {topic} goes into the first ten percent.",
    "Keep a note of what you tried, since memory is kind to bad ideas.",
    "Ask someone who has to live with the outcome.",
    "It helps to name one person who decides.",
    "You can ignore the rare cases until the common ones work.",
    "Check the limits early: time, money, and patience.",
    "A simple list is usually enough to keep {topic} under control.",
    "When in doubt, measure twice and stop guessing.",
    "The second attempt is almost always shorter than the first.",
    "Do not mix {topic} with unrelated changes on the same day.",
    "A clear name saves more time than a clever shortcut.",
    "Some of this is taste, and that is fine.",
    "Look at what happens on the worst day, not on the average one.",
    "There is no shame in copying what already works next door.",
    "The risk is smaller than it feels, provided that you go in steps.",
    "Once the basics hold, the remaining details of {topic} fall into place.",
    "Try explaining it to a newcomer and see where you hesitate.",
    "Leave some slack, because something will take longer than planned.",
    "What looks like a detail today often becomes the main question tomorrow.",
    "A reminder in the calendar beats good intentions.",
    "Both sides gain when the terms are plain.",
    "If it breaks, you want to notice within minutes rather than weeks.",
    "Remove one thing for each thing you add.",
    "Costs tend to grow quietly, so look at them once a month.",
    "The older approach still has its place when little is at stake.",
    "You will know that {topic} is settled when nobody brings it up anymore.",
    "Beware of advice that never mentions a downside.",
    "It is better to be roughly right on Monday than exactly right in June.",
    "For a first version, two of these points are plenty.",
];

const CLOSINGS: [&str; 8] = [
    "If you tell me more about your situation, I can be more specific.",
    "That should be enough to get going.",
    "Come back to it in a week and adjust.",
    "In short: begin small, watch closely, and keep what works.",
    "Let me know which part you would like to look at first.",
    "With that in place, {topic} should hold few surprises.",
    "None of this is urgent, but earlier is easier.",
    "I hope this helps.",
];

/// Words too common to name what a message is about.
const COMMON: [&str; 28] = [
    "about",
    "after",
    "again",
    "answer",
    "because",
    "before",
    "between",
    "briefly",
    "could",
    "describe",
    "explain",
    "first",
    "other",
    "please",
    "question",
    "should",
    "something",
    "tell",
    "their",
    "there",
    "these",
    "thing",
    "think",
    "through",
    "using",
    "where",
    "which",
    "would",
];

/// A made-up answer about the message, of 2 to 16 sentences.
pub(super) fn answer(message: &str, rng: &mut Rng) -> String {
    let topic = topic(message);
    let mut sentences: Vec<&str> = SENTENCES.to_vec();
    rng.shuffle(&mut sentences);
    // The square makes short answers more common than long ones.
    let middle = (rng.f64().powi(2) * 14.0) as usize;
    let opening = chance::pick(rng, &OPENINGS).copied();
    let closing = chance::pick(rng, &CLOSINGS).copied();
    let body = sentences.into_iter().take(middle);
    let mut text = String::new();
    for (at, sentence) in opening.into_iter().chain(body).chain(closing).enumerate() {
        let paragraph = at > 0 && at % 5 == 0;
        text.push_str(if paragraph {
            "\n\n"
        } else if at > 0 {
            " "
        } else {
            ""
        });
        text.push_str(&sentence.replace("{topic}", &topic));
    }
    text
}

/// The longest uncommon word of the message, in small letters.
fn topic(message: &str) -> String {
    let mut best = String::new();
    for word in message.split(|c: char| !c.is_alphanumeric()).take(400) {
        let length = word.chars().count();
        if (4..=20).contains(&length) && length > best.chars().count() {
            let word = word.to_lowercase();
            if !COMMON.contains(&word.as_str()) {
                best = word;
            }
        }
    }
    if best.is_empty() { "this".to_owned() } else { best }
}

#[cfg(test)]
mod tests {
    use super::answer;
    use crate::simulate::reply::count_tokens;

    #[test]
    fn answers_name_the_topic_and_vary_in_length() {
        let made: Vec<String> = (0..200)
            .map(|seed| {
                answer("Please explain photosynthesis", &mut fastrand::Rng::with_seed(seed))
            })
            .collect();
        let named = made.iter().filter(|text| text.contains("photosynthesis")).count();
        assert!(named > 180, "{named} of 200 name it");
        assert!(made.iter().all(|text| !text.contains('{')));
        let lengths: Vec<usize> = made.iter().map(|text| count_tokens(text)).collect();
        let (least, most) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
        assert!(*least < 50 && *most > 180, "{least} to {most} tokens");
    }
}
