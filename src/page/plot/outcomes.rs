//! Pairs won, tied and lost, as one bar.

use crate::page::plot::svg;
use crate::page::plot::title;
use crate::report::CandidateView;
use crate::report::words;

const SIZE: (u32, u32) = (880, 30);

/// The bar, and its key in words.
pub fn outcomes(name: &str, view: &CandidateView) -> String {
    let all = view.wins + view.ties + view.losses;
    if all == 0 {
        return String::new();
    }
    let parts =
        [("wins", "won", view.wins), ("ties", "tied", view.ties), ("losses", "lost", view.losses)];
    let (mut from, mut body, mut key) = (0, String::new(), String::new());
    let place = |count: u64| (count as f64 / all as f64 * 8800.0).round() / 10.0;
    for (class, word, count) in parts {
        let (start, end) = (place(from), place(from + count));
        let counted = words::grouped(count);
        body.push_str(&format!(
            "<rect class=\"{class}\" x=\"{start}\" y=\"4\" width=\"{:.1}\" height=\"22\">{}</rect>\n",
            (end - start).max(0.0),
            title(&format!("{counted} {word}"))
        ));
        key.push_str(&format!("<li class=\"{class}-key\"><span class=\"plain\">{counted} {word}"));
        if class == "ties" && view.equal > 0 {
            let equal = words::grouped(view.equal);
            key.push_str(&format!(" ({equal} found equal without a judge)"));
        }
        key.push_str("</span></li>\n");
        from += count;
    }
    let label = format!("{name}: {} won, {} tied, {} lost", view.wins, view.ties, view.losses);
    format!("{}<ul class=\"key\">\n{key}</ul>\n", svg("", SIZE, &label, &body))
}
