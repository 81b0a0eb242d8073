//! The account of a request for people: one aligned line for each decision.

use crate::cli::explain::account::Account;
use crate::cli::explain::account::Asked;
use crate::cli::explain::account::Cache;
use crate::cli::explain::account::Counted;
use crate::cli::explain::account::Enrolled;

/// Before every line without a name of its own.
const INDENT: &str = "             ";

/// All of it.
pub fn text(account: &Account) -> String {
    let mut out = String::new();
    let guess = account.guessed_by.as_ref();
    let guess = guess.map_or(String::new(), |by| format!(", guessed by {by}; --path says it"));
    line(&mut out, "dialect", &format!("{}{guess}", account.dialect));
    let form = if account.stream { "streamed" } else { "whole" };
    line(&mut out, "model", &format!("{}, answer {form}", account.model));
    line(&mut out, "route", &account.route);
    for (at, chosen) in account.chosen.iter().enumerate() {
        line(&mut out, if at == 0 { "chosen" } else { "" }, chosen);
    }
    if let Some(cascade) = &account.cascade {
        line(&mut out, "cascade", cascade);
    }
    for (at, asked) in account.targets.iter().enumerate() {
        let when = match (at, &account.cascade) {
            (0, _) => "asked first",
            (_, None) => "asked if those before fail",
            (_, Some(_)) => "asked if those before fail or will not do",
        };
        line(&mut out, if at == 0 { "targets" } else { "" }, &target(at, when, asked));
    }
    for (label, failing) in account.failing.lines(account.targets.len() > 1) {
        line(&mut out, label, &failing);
    }
    let credential = match &account.caller {
        Some(name) => format!("the key of the caller {name}, which goes no further"),
        None => format!("the caller's goes to {} only", account.credential_for),
    };
    line(&mut out, "credential", &credential);
    line(&mut out, "tenant", &account.tenant);
    match &account.experiment {
        None if account.outside.is_empty() => line(&mut out, "experiment", "none matches"),
        None => line(&mut out, "experiment", "none"),
        Some(enrolled) => experiment(&mut out, enrolled),
    }
    for (name, why) in &account.outside {
        line(&mut out, "", &format!("not {name}: {why}"));
    }
    line(&mut out, "cache", &cache(&account.cache));
    line(&mut out, "prompt", &account.prompt.digest);
    line(&mut out, "", &format!("shared with {}", account.prompt.why));
    for (at, asked) in account.targets.iter().enumerate() {
        let label = if at == 0 { "cache key" } else { "" };
        line(&mut out, label, &format!("{}  {}", asked.cache_key, asked.target));
    }
    out.push('\n');
    counted(&mut out, "field", &account.fields);
    if !account.headers.is_empty() {
        out.push('\n');
        counted(&mut out, "header", &account.headers);
    }
    out.trim_end().to_owned()
}

fn line(out: &mut String, label: &str, text: &str) {
    let width = INDENT.len();
    out.push_str(format!("{label:<width$}{text}").trim_end());
    out.push('\n');
}

fn target(at: usize, when: &str, asked: &Asked) -> String {
    let how = match (&asked.refused, asked.dialect) {
        (Some(why), _) => format!("cannot be asked: {why}"),
        (None, Some(dialect)) if asked.is_translated => match asked.left_out.as_slice() {
            [] => format!("translated to {dialect}, nothing left out"),
            fields => format!("translated to {dialect}, left out: {}", fields.join(", ")),
        },
        _ => "in its own dialect, bytes as they are".to_owned(),
    };
    format!("{}. {}  {when}; {how}", at + 1, asked.target)
}

fn experiment(out: &mut String, enrolled: &Enrolled) {
    line(out, "experiment", &format!("{}={}", enrolled.name, enrolled.variant));
    if let Some(why) = enrolled.pinned {
        let (served, why) = (&enrolled.served, why.replace('_', " "));
        line(out, "", &format!("pinned to {served} ({why}): only its provider can go on from it"));
    }
    let shares = enrolled.shares.iter();
    let shares = shares.map(|(name, from, to)| format!("{name} {from:.2} to {to:.2} %"));
    let shares = shares.collect::<Vec<_>>().join(", ");
    let position = enrolled.position_percent;
    line(
        out,
        "",
        &format!("{} stands at {position:.2} %; {shares}, control the rest", enrolled.unit),
    );
    let (at, share) = (enrolled.shadow_position_percent, enrolled.shadow_percent);
    let why = format!("the prompt stands at {at:.2} %, pairs are made below {share:.2} %");
    let does = if enrolled.is_pair { "makes a pair" } else { "makes no pair" };
    line(out, "shadow", &format!("{does}: {why}"));
}

fn cache(cache: &Cache) -> String {
    let mut said = Vec::new();
    said.push(match (cache.read, cache.write) {
        (true, true) => format!("may be served and stored, fresh for {}", span(cache.ttl_s)),
        (true, false) => "may be served, is not stored".to_owned(),
        (false, true) => format!("is not served but stored, fresh for {}", span(cache.ttl_s)),
        (false, false) => "is neither served nor stored".to_owned(),
    });
    if let Some(why) = cache.not_served {
        said.push(format!("the answer is kept for nobody else: {why}"));
    }
    if cache.only_if_cached {
        said.push("a miss is an error".to_owned());
    }
    if let Some(age) = cache.max_age_s {
        said.push(format!("nothing older than {}", span(age)));
    }
    if cache.write && cache.error_ttl_s > 0 {
        said.push(format!("failures that would repeat for {}", span(cache.error_ttl_s)));
    }
    if cache.samples > 1 {
        said.push(format!("{} answers of one prompt", cache.samples));
    }
    if cache.coalesce {
        said.push("identical requests under way share one call".to_owned());
    }
    if cache.any_tenant {
        said.push("answers of other tenants count".to_owned());
    }
    said.join("; ")
}

/// A length of time in its largest whole unit.
fn span(seconds: u64) -> String {
    match seconds {
        0 => "no time".to_owned(),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

fn counted(out: &mut String, what: &str, rows: &[Counted]) {
    let names = rows.iter().map(|row| row.name.chars().count());
    let width = names.max().unwrap_or(0).max(what.len()) + 2;
    out.push_str(&format!("{what:<width$}in the key  why\n"));
    for Counted { name, counts, why } in rows {
        let counts = if *counts { "counts" } else { "-" };
        out.push_str(&format!("{name:<width$}{counts:<12}{why}\n"));
    }
}
