//! Examples: every one loads, and the commands that the README shows do run.

use std::{
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{Finding, files, lines, settle, text_of, top};

const README: &str = "README.md";
const BINARY: &str = env!("CARGO_BIN_EXE_understudy");
/// No command shown as an example takes longer.
const LIMIT: Duration = Duration::from_secs(20);
/// Commands that need no key, no network and no recorded exchange.
const SAFE: [&str; 9] = [
    "check",
    "explain",
    "cache ls",
    "cache stats",
    "experiment ls",
    "experiment plan",
    "providers",
    "--help",
    "--version",
];

/// A fenced block: its language, the line of its first line of text, and its text.
#[derive(Debug, PartialEq)]
struct Block<'a> {
    language: &'a str,
    line: usize,
    text: String,
}

#[test]
fn every_example_loads() {
    let readme = text_of(README);
    let room = room(&readme);
    let mut examples: Vec<(String, usize, PathBuf)> = Vec::new();
    for file in files().iter().filter(|f| is_experiment(&f.path)) {
        examples.push((file.path.clone(), 1, top().join(&file.path)));
    }
    for block in blocks(&readme).iter().filter(|b| b.language == "yaml") {
        let path = room.path().join(format!("readme-{}.yaml", block.line));
        fs::write(&path, &block.text).expect("an example is written");
        examples.push((README.to_owned(), block.line, path));
    }
    assert!(examples.iter().any(|(p, ..)| is_experiment(p)), "experiments/ holds no example");
    assert!(examples.iter().any(|(p, ..)| p == README), "the README shows no configuration");
    let mut found = Vec::new();
    for (path, line, example) in examples {
        let shown = format!("understudy check '{}'", example.display());
        if let Err(why) = run(&shown, room.path()) {
            let say =
                format!("the example does not load (a block of another kind is `yml`): {why}");
            found.push(Finding::new(&path, line, say));
        }
    }
    settle(&found);
}

#[test]
fn the_commands_that_the_readme_shows_run() {
    let readme = text_of(README);
    let room = room(&readme);
    let shown: Vec<(usize, String)> =
        blocks(&readme).iter().filter(|b| b.language == "console").flat_map(commands).collect();
    assert!(!shown.is_empty(), "the README shows no command in a `console` block");
    let mut found = Vec::new();
    for (line, command) in shown {
        // What needs keys or a running sidecar must at least be a command that exists.
        let tried = if is_safe(&command) { command.clone() } else { asking_for_help(&command) };
        if let Err(why) = run(&tried, room.path()) {
            found.push(Finding::new(README, line, format!("`{tried}` fails: {why}")));
        }
    }
    settle(&found);
}

#[test]
fn the_readme_names_only_commands_that_help_lists() {
    let room = TempDir::new().expect("a temporary directory");
    let help = run("understudy --help", room.path()).expect("help is printed");
    let version = run("understudy --version", room.path()).expect("the version is printed");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    let readme = text_of(README);
    assert!(!subcommands(&readme).is_empty(), "the README names no subcommand");
    settle(&unlisted(&readme, &help));
}

fn is_experiment(path: &str) -> bool {
    path.starts_with("experiments/") && (path.ends_with(".yaml") || path.ends_with(".yml"))
}

/// A directory as a reader of the README would have it: the experiments, and the README's first
/// configuration and first request as `understudy.yaml` and `request.json`.
fn room(readme: &str) -> TempDir {
    let room = TempDir::new().expect("a temporary directory");
    fs::create_dir(room.path().join("experiments")).expect("a folder for the experiments");
    for file in files().iter().filter(|f| is_experiment(&f.path)) {
        fs::write(room.path().join(&file.path), &file.text).expect("an experiment is copied");
    }
    let all = blocks(readme);
    let is_config = |b: &&Block<'_>| b.language == "yaml" && !b.text.contains("experiment:");
    for (name, block) in [
        ("understudy.yaml", all.iter().find(is_config)),
        ("request.json", all.iter().find(|b| b.language == "json")),
    ] {
        if let Some(block) = block {
            fs::write(room.path().join(name), &block.text).expect("a block is copied");
        }
    }
    room
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found: Vec<Block<'_>> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(language) => {
                open = true;
                found.push(Block { language: language.trim(), line: at + 2, text: String::new() });
            }
            None if open => {
                if let Some(block) = found.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            None => {}
        }
    }
    found
}

/// The `$ understudy …` lines of a block, joined where they go on after a backslash.
fn commands(block: &Block<'_>) -> Vec<(usize, String)> {
    let joined = block.text.replace("\\\n", "\\\u{0}");
    let mut line = block.line;
    let mut found = Vec::new();
    for entry in joined.lines() {
        if let Some(command) = entry.strip_prefix("$ ").filter(|c| c.starts_with("understudy ")) {
            found.push((line, command.replace("\\\u{0}", " ")));
        }
        line += 1 + entry.matches('\u{0}').count();
    }
    found
}

fn is_safe(command: &str) -> bool {
    let said = command.strip_prefix("understudy ").unwrap_or("");
    let starts = |safe: &str| said == safe || said.starts_with(&format!("{safe} "));
    SAFE.iter().any(|safe| starts(safe)) || said.split(' ').any(|word| word == "--help")
}

/// The same command with nothing but the words before its first argument, and `--help`.
fn asking_for_help(command: &str) -> String {
    let word =
        |w: &&str| w.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !w.starts_with('-');
    let named = |name: &str| ["cache", "experiment"].contains(&name);
    let mut words = command.split_whitespace().skip(1).take_while(word);
    let first = words.next().unwrap_or("");
    match words.next().filter(|_| named(first)) {
        Some(second) => format!("understudy {first} {second} --help"),
        None => format!("understudy {first} --help"),
    }
}

/// Lines of the README that name a subcommand, in code: `understudy WORD`.
fn subcommands(readme: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in readme.lines().enumerate() {
        for start in ["`understudy ", "$ understudy "] {
            for (i, _) in line.match_indices(start) {
                let rest = &line[i + start.len()..];
                let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
                let word = &rest[..end.unwrap_or(rest.len())];
                if !word.is_empty() && !word.starts_with('-') {
                    found.push((at + 1, word.to_owned()));
                }
            }
        }
    }
    found
}

fn unlisted(readme: &str, help: &str) -> Vec<Finding> {
    let listed = |word: &str| help.lines().any(|l| l.split_whitespace().next() == Some(word));
    let missing = subcommands(readme).into_iter().filter(|(_, word)| !listed(word));
    let say = |word: &str| format!("`understudy {word}` is not in `understudy --help`");
    missing.map(|(line, word)| Finding::new(README, line, say(&word))).collect()
}

/// Runs a shell line that may call `understudy`; gives what it printed, or why it failed.
fn run(line: &str, room: &Path) -> Result<String, String> {
    run_within(LIMIT, line, room)
}

fn run_within(limit: Duration, line: &str, room: &Path) -> Result<String, String> {
    let folder = Path::new(BINARY).parent().unwrap_or(Path::new("."));
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default());
    let mut child = Command::new("sh")
        // `exec` makes the child the program itself, so that ending it leaves nothing behind.
        .args(["-c", &if line.contains('|') { line.to_owned() } else { format!("exec {line}") }])
        .current_dir(room)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(room.join("stderr")).map_err(|e| e.to_string())?)
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut out = child.stdout.take().ok_or("no output to read")?;
    let (done, printed) = mpsc::sync_channel(1);
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let read = out.read_to_string(&mut text).map(|_| text);
        done.send(read).ok();
    });
    let Ok(text) = printed.recv_timeout(limit) else {
        child.kill().ok();
        child.wait().ok();
        return Err(format!("still running after {} s", limit.as_secs()));
    };
    reader.join().map_err(|_| "the reader failed".to_owned())?;
    let text = text.map_err(|e| e.to_string())?;
    let status = child.wait().map_err(|e| e.to_string())?;
    let said = fs::read_to_string(room.join("stderr")).unwrap_or_default();
    if status.success() { Ok(text) } else { Err(format!("{status}\n{text}{said}")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::{
        asking_for_help, blocks, commands, is_safe, lines, run, run_within, subcommands, unlisted,
    };

    const TEXT: &str = "# A\n```yaml\na: 1\nb: 2\n```\ntext `understudy serve`, understudy is\n\n```console\n$ understudy check \\\n    a.yaml\nfine\n$ curl x\n$ understudy cache ls\n```\n";

    #[test]
    fn blocks_are_read_with_language_and_line() {
        let all = blocks(TEXT);
        let read: Vec<(&str, usize)> = all.iter().map(|b| (b.language, b.line)).collect();
        assert_eq!(read, [("yaml", 3), ("console", 9)]);
        assert_eq!(all[0].text, "a: 1\nb: 2\n");
    }

    #[test]
    fn only_our_commands_are_taken_with_their_lines() {
        let found = commands(&blocks(TEXT)[1]);
        let wanted = [(9, "understudy check      a.yaml"), (13, "understudy cache ls")];
        assert_eq!(found, wanted.map(|(line, c)| (line, c.to_owned())));
    }

    #[test]
    fn commands_that_need_nothing_are_told_from_those_that_do() {
        for (command, safe) in [
            ("understudy check a.yaml", true),
            ("understudy cache ls", true),
            ("understudy serve --help", true),
            ("understudy --version", true),
            ("understudy cache purge", false),
            ("understudy serve", false),
            ("understudy checker", false),
        ] {
            assert_eq!(is_safe(command), safe, "{command}");
        }
    }

    #[test]
    fn a_command_that_needs_something_is_asked_for_its_help() {
        for (command, wanted) in [
            ("understudy cache purge --all", "understudy cache purge --help"),
            ("understudy experiment report NAME", "understudy experiment report --help"),
            ("understudy replay KEY --diff", "understudy replay --help"),
            ("understudy backtest support-upgrade", "understudy backtest --help"),
        ] {
            assert_eq!(asking_for_help(command), wanted, "{command}");
        }
    }

    #[test]
    fn a_subcommand_that_help_does_not_list_is_found() {
        let named: Vec<String> = subcommands(TEXT).into_iter().map(|(_, word)| word).collect();
        assert_eq!(named, ["serve", "check", "cache"]);
        let help = "Commands:\n  serve  Runs\n  check  Checks\n";
        assert_eq!(lines(&unlisted(TEXT, help)), [13]);
    }

    #[test]
    fn a_command_gives_its_output_or_why_it_failed() {
        let room = TempDir::new().expect("a temporary directory");
        assert_eq!(run("echo a", room.path()), Ok("a\n".to_owned()));
        let why = run("ls ./missing", room.path()).expect_err("nothing is there");
        assert!(why.contains("missing"), "{why}");
        let why = run_within(Duration::from_millis(50), "sleep 30", room.path());
        assert_eq!(why, Err("still running after 0 s".to_owned()));
    }
}
