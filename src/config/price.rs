//! Reads where prices come from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Config;
use super::Feed;
use super::Known;
use super::credential::Outside;
use super::read::Section;
use super::read::Wrong;
use super::read::join;
use super::read::quote;
use super::tree::Node;
use super::value;
use crate::price::Prices;
use crate::price::Table;
use crate::price::read;

/// How often a feed is fetched unless the file says otherwise.
pub const EVERY: Duration = Duration::from_secs(6 * 3600);

/// A feed is fetched no more often than this, for it is somebody's server.
const LEAST: Duration = Duration::from_secs(60);

/// Reads the section at the top of the file.
pub fn read(s: &mut Section<'_, '_, '_>, outside: Outside<'_>, config: &mut Config, known: &Known) {
    s.section("prices", |s| {
        let own = s.take("file", |node| own(node, outside)).unwrap_or_default();
        let alias = s.find("alias").map(|node| {
            let path = s.path("alias");
            let mut alias = BTreeMap::new();
            for (key, node) in s.reader.entries(node, &path).unwrap_or_default() {
                let path = join(&path, &key.name);
                let provider = key.name.split_once('/').map_or(&*key.name, |(first, _)| first);
                if let Some(wrong) = known.missing_provider(provider) {
                    let help = wrong.help.unwrap_or_default();
                    s.reader.problem(key.start, format!("`{path}` {}", wrong.what), help);
                }
                let to = s.reader.value(node, &path, value::text);
                alias.extend(to.map(|to| (key.name.clone(), to)));
            }
            alias
        });
        config.prices = Arc::new(Prices::built_in().with_own(own, alias.unwrap_or_default()));
        let url = s.take("feed", url);
        let every = s.take("every", every).unwrap_or(EVERY);
        config.feed = url.map(|url| Feed { url, every });
    });
}

/// The operator's own table, which has to be whole: half of it would be worse than the one before.
fn own(node: &Node, outside: Outside<'_>) -> Result<Table, Wrong> {
    let name = value::text(node)?;
    let text = (outside.read_file)(Path::new(&name)).map_err(|error| {
        let what = format!("names {}, which cannot be read: {}", quote(&name), error.kind());
        Wrong::new(what, "check the path and who may read it")
    })?;
    read::table(&text).map_err(|error| {
        let what = format!("names {}, which is no table of prices: {}", quote(&name), error.detail);
        let help = r#"write {"models": [{"model": "openai/gpt-4o", "input": 2.5, "output": 10}]}"#;
        Wrong::new(what, help)
    })
}

fn url(node: &Node) -> Result<String, Wrong> {
    let help = "write for example https://openrouter.ai/api/v1/models";
    let text = value::text(node)?;
    let is_url = text.parse::<http::Uri>().is_ok_and(|uri| {
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.authority().map(http::uri::Authority::as_str);
        is_known && host.is_some_and(|host| !host.contains('@'))
    });
    if is_url { Ok(text) } else { Err(value::expected("an address", node, help)) }
}

fn every(node: &Node) -> Result<Duration, Wrong> {
    match value::duration(node)? {
        every if every < LEAST => Err(value::expected("a minute or more", node, "write 6h")),
        every => Ok(every),
    }
}
