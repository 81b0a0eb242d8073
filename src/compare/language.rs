//! Which language a text is in: by its script, and for Latin letters by its commonest words.

/// Characters that are looked at; the first of them tell as much as all.
const ENOUGH: usize = 4_000;

/// Letters below which nothing is said.
const LEAST: usize = 3;

/// The commonest short words of languages in Latin letters.
const WORDS: &[(&str, &str)] = &[
    ("da", "og det er ikke jeg til en på som de med af for har kan du der vi skal hvad hvordan"),
    (
        "de",
        "der die das und ist nicht ich ein eine zu mit den von für auf wie was sie es im dem bitte",
    ),
    (
        "en",
        "the of and to is in that it for you what how with are this be on as do my can please i a an \
         not or if from have does where when your me get need",
    ),
    ("es", "el la de que y los en un una es por para con no se las del como qué cómo puedo mi"),
    ("fi", "ja on ei se että en mitä miten hän oli mutta ovat kun voi ole tämä minä"),
    (
        "fr",
        "le la les et de des est un une que qui dans pour pas vous je du en ce comment avec mon puis",
    ),
    ("id", "yang dan di ini itu untuk dengan tidak dari apa saya adalah ke bagaimana pada"),
    ("it", "il di che e la un una per non sono è con come del della gli le mi si cosa posso"),
    ("nl", "de het een en van is niet ik dat te met voor op zijn hoe wat je in er aan"),
    ("no", "og det er ikke jeg til en på som med av for har kan du hva hvordan dere også"),
    ("pl", "nie to się jest na do co jak i w z że czy dla po od mam może proszę"),
    ("pt", "o que de e do da em um uma para não com os é no se por mais como você meu"),
    ("ro", "și de la în nu este un o pe cu ce să mai care pentru cum sunt din"),
    ("sv", "och det att är inte jag en på som för med av har kan du vad hur till den"),
    ("tr", "ve bir bu için ne mi da de nasıl çok ile olarak var değil ben daha"),
    ("vi", "là và của có không tôi cho một các với được này người những trong bạn làm thế nào"),
];

/// Scripts that only one language, or nearly only one, is written in.
const SCRIPTS: &[(&str, &[(char, char)])] = &[
    ("ja", &[('\u{3040}', '\u{30ff}')]),
    ("ko", &[('\u{ac00}', '\u{d7af}'), ('\u{1100}', '\u{11ff}')]),
    ("zh", &[('\u{4e00}', '\u{9fff}'), ('\u{3400}', '\u{4dbf}')]),
    ("ru", &[('\u{400}', '\u{52f}')]),
    ("el", &[('\u{370}', '\u{3ff}')]),
    ("ar", &[('\u{600}', '\u{6ff}'), ('\u{750}', '\u{77f}')]),
    ("he", &[('\u{590}', '\u{5ff}')]),
    ("hi", &[('\u{900}', '\u{97f}')]),
    ("bn", &[('\u{980}', '\u{9ff}')]),
    ("ta", &[('\u{b80}', '\u{bff}')]),
    ("th", &[('\u{e00}', '\u{e7f}')]),
    ("hy", &[('\u{530}', '\u{58f}')]),
    ("ka", &[('\u{10a0}', '\u{10ff}')]),
];

/// The language's code (ISO 639-1), if it can be told; code in fences does not count.
pub fn of(text: &str) -> Option<&'static str> {
    let prose = without_code(text);
    let letters: Vec<char> = prose.chars().filter(|c| c.is_alphabetic()).take(ENOUGH).collect();
    if letters.len() < LEAST {
        return None;
    }
    let count = |ranges: &[(char, char)]| {
        let is_in = |c: &&char| ranges.iter().any(|(from, to)| (from..=to).contains(c));
        letters.iter().filter(is_in).count()
    };
    let scripts = SCRIPTS.iter().map(|(name, ranges)| (*name, count(ranges)));
    let (script, most) = scripts.max_by_key(|(_, count)| *count)?;
    if most * 3 >= letters.len() {
        return Some(told_apart(script, &letters));
    }
    by_words(&prose)
}

/// The code, or `other`.
pub fn or_other(text: &str) -> &'static str {
    of(text).unwrap_or("other")
}

/// Languages that share most of a script.
fn told_apart(script: &'static str, letters: &[char]) -> &'static str {
    let any = |marks: &str| letters.iter().any(|c| marks.contains(*c));
    match script {
        // Japanese is written with Chinese characters too, Chinese never with kana.
        "zh" if letters.iter().any(|c| ('\u{3040}'..='\u{30ff}').contains(c)) => "ja",
        "ru" if any("іїєґІЇЄҐ") => "uk",
        "ar" if any("پچژگ") => "fa",
        script => script,
    }
}

/// The language with the most of its common words there, if it has more than any other.
fn by_words(prose: &str) -> Option<&'static str> {
    let lower = prose.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphabetic() && c != '\'').filter(|w| !w.is_empty());
    let words: Vec<&str> = words.take(ENOUGH / 8).collect();
    let hits = |common: &str| {
        let common: Vec<&str> = common.split(' ').collect();
        words.iter().filter(|word| common.contains(word)).count()
    };
    let mut found: Vec<(usize, &str)> =
        WORDS.iter().map(|(name, common)| (hits(common), *name)).collect();
    found.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
    match found.as_slice() {
        [(best, name), (second, _), ..] if *best > *second => Some(name),
        _ => None,
    }
}

fn without_code(text: &str) -> String {
    // Every second part stands between fences.
    text.split("```").step_by(2).collect::<Vec<_>>().join(" ")
}
