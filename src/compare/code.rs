//! Blocks of code in an answer, without what white space says.

use crate::chat::Answer;

/// The lines of each block between fences, none of them blank; `None` without a block.
///
/// Indentation counts as it means something in some languages: deeper than the block's first line
/// or not, and by how much. Everything else about white space does not.
pub fn blocks(answer: &Answer) -> Option<Vec<Vec<String>>> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, Vec<&str>)> = None;
    for line in answer.text().lines() {
        let fence = ["```", "~~~"].into_iter().find(|fence| line.trim_start().starts_with(fence));
        match (open.take(), fence) {
            (Some((by, lines)), Some(fence)) if by == fence => blocks.push(even(&lines)),
            (Some((by, mut lines)), _) => {
                lines.push(line);
                open = Some((by, lines));
            }
            (None, Some(fence)) => open = Some((fence, Vec::new())),
            (None, None) => {}
        }
    }
    blocks.retain(|block: &Vec<String>| !block.is_empty());
    (!blocks.is_empty()).then_some(blocks)
}

fn even(lines: &[&str]) -> Vec<String> {
    let full = || lines.iter().filter(|line| !line.trim().is_empty());
    let common = full().map(|line| indent(line)).min().unwrap_or(0);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    full().map(|line| format!("{}{}", " ".repeat(indent(line) - common), words(line))).collect()
}

/// In columns; a tab is four.
fn indent(line: &str) -> usize {
    let blank = line.chars().take_while(|c| c.is_whitespace());
    blank.map(|c| if c == '\t' { 4 } else { 1 }).sum()
}
