//! Sentinels among the experiments: listed, and each with its runs.

use comfy_table::Table;
use comfy_table::presets;

use crate::cli::experiment::get;
use crate::config::Config;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::report::Rate;
use crate::sentinel::state::Ran;
use crate::vigil::view::View;

/// Runs that a report shows.
const SHOWN: usize = 10;

/// Every sentinel: of the sidecar that listens on the admin address, else of its data directory.
///
/// # Errors
/// The sidecar does not answer like one.
pub async fn all(config: &Config) -> Result<Vec<View>> {
    let Some((status, mut body)) = get(config, "/api/v1/sentinels").await? else {
        return Ok(View::all(config, jiff::Timestamp::now().as_millisecond()));
    };
    if status == 404 {
        // A sidecar of before there were any.
        return Ok(Vec::new());
    }
    serde_json::from_value(body["sentinels"].take()).map_err(|_| {
        let what = format!("{} does not answer like an understudy", config.admin);
        Error::new(Kind::Broken, what)
    })
}

/// One line for each.
pub fn list(views: &[View]) -> String {
    let mut table = table(&["sentinel", "state", "runs", "moved", "win rate", "next run"]);
    for view in views {
        let last = view.runs.last();
        table.add_row(vec![
            view.sentinel.clone(),
            view.state.clone(),
            last.map_or(0, |ran| ran.run).to_string(),
            last.map_or("-".to_owned(), |ran| percent(Some(ran.moved_share))),
            last.map_or("-".to_owned(), |ran| percent(ran.win_rate)),
            next(view),
        ]);
    }
    table.to_string()
}

/// Whether answers have moved, in a sentence, then the last runs.
pub fn report(view: &View) -> String {
    let mut out = format!("{}\n\n", summary(view));
    out += &format!("sentinel    {}\n", view.sentinel);
    out += &format!("asks        {}, every {} s; next {}\n", view.target, view.every_s, next(view));
    if let Some(experiment) = &view.experiment {
        out += &format!("opens       the question of {experiment}\n");
    }
    if let Some(pinned) = &view.pinned {
        let (prompts, at) = (pinned.prompts, time(pinned.at_ms));
        out += &format!("pinned      {prompts} answers at {at}{}\n", of(&pinned.models));
    }
    let most = view.daily_usd.map(|usd| format!(" of ${usd}")).unwrap_or_default();
    out += &format!("today       ${:.4}{most} spent\n", view.today_usd);
    if let Some(trouble) = &view.trouble {
        out += &format!("trouble     {trouble}\n");
    }
    let mut table = table(&["run", "at", "pairs", "moved", "win rate", "alarm"]);
    for ran in view.runs.iter().rev().take(SHOWN) {
        table.add_row(row(ran));
    }
    out + &format!("\n{table}")
}

fn row(ran: &Ran) -> Vec<String> {
    let missing =
        if ran.missing > 0 { format!(", {} missing", ran.missing) } else { String::new() };
    let alarm = if ran.alarms.is_empty() { "no".to_owned() } else { ran.alarms.join("; ") };
    vec![
        ran.run.to_string(),
        time(ran.began_ms),
        format!("{}{missing}", ran.pairs),
        percent(Some(ran.moved_share)),
        percent(ran.win_rate),
        alarm,
    ]
}

fn summary(view: &View) -> String {
    match (&view.drifted, &view.pinned) {
        (Some(drifted), _) => format!(
            "A person must look: the answers of {} have moved since they were pinned (run {}): {}.",
            view.target,
            drifted.run,
            drifted.why.join("; ")
        ),
        (None, Some(_)) => format!("The answers of {} are where they were.", view.target),
        (None, None) => format!("The answers of {} are not pinned yet.", view.target),
    }
}

fn next(view: &View) -> String {
    match (view.is_running, view.due_ms) {
        (true, _) => "is under way".to_owned(),
        (false, Some(due_ms)) => time(due_ms),
        (false, None) => "at once".to_owned(),
    }
}

fn of(models: &[String]) -> String {
    if models.is_empty() { String::new() } else { format!(", of {}", models.join(", ")) }
}

/// A share is never told without its interval.
fn percent(rate: Option<Rate>) -> String {
    let rate = rate.and_then(|rate| Some((rate.estimate?, rate.lower, rate.upper)));
    rate.map_or("-".to_owned(), |(estimate, lower, upper)| {
        format!("{:.1} % ({:.1} to {:.1})", 100.0 * estimate, 100.0 * lower, 100.0 * upper)
    })
}

fn time(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header.to_vec());
    table
}
