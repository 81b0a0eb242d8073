//! Stored exchanges for commands: from the running sidecar, or from its data directory.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::cli::files::Files;
use crate::cli::remark;
use crate::config::Config;
use crate::cost::view::Costs;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::library::Imported;
use crate::library::Library;
use crate::library::Stats;
use crate::library::costs::Wanted;
use crate::library::line::Line;
use crate::library::query::Filter;
use crate::library::view::Detail;
use crate::library::view::Row;
use crate::redact::Redactor;
use crate::store::Damage;
use crate::store::Store;
use crate::store::cipher::Keys;
use crate::store::exchange::Exchange;
use crate::upstream::local;
use crate::upstream::local::Answered;
use crate::upstream::local::Plane;
use crate::upstream::local::Question;

const EXCHANGES: &[&str] = &["api", "v1", "exchanges"];

/// Where to look.
#[derive(clap::Args, Clone, Debug)]
pub struct Place {
    #[command(flatten)]
    pub files: Files,
    /// Admin address of the running sidecar; wins over the file
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Data directory, for when no sidecar runs; wins over the file
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which exchanges.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Which {
    /// Answered since: 2h or 7d ago, or a time such as 2026-11-23T10:00 (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Answered until then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// A part of the model asked for, of the target, or of the model that answered
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// An experiment, or one of its variants
    #[arg(long, value_name = "NAME[=VARIANT]")]
    experiment: Option<String>,
    /// A status such as 200, a class such as 4xx, or failed
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Words that the question or the answer contains
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// No more than these, the newest first
    #[arg(long, value_name = "N")]
    limit: Option<String>,
}

/// Where the exchanges are.
pub enum Source {
    /// A sidecar's admin plane.
    Running(Plane),
    /// Its data directory, while none runs.
    Stored(Box<Library>, u64),
    /// There is none yet.
    Nothing(u64),
}

/// Lines of an export, as they come.
pub enum Lines {
    Running(Box<Answered>),
    Stored(mpsc::Receiver<String>),
    Nothing,
}

impl Place {
    /// The configuration, with what the flags say.
    ///
    /// # Errors
    /// A file is wrong.
    pub fn config(&self) -> Result<Config> {
        let mut config = self.files.load(false)?;
        config.admin = self.admin.unwrap_or(config.admin);
        config.data_dir = self.data_dir.clone().unwrap_or(config.data_dir);
        Ok(config)
    }
}

impl Which {
    /// Those answered since then, or all.
    pub fn since(since: Option<String>) -> Self {
        Self { since, ..Self::default() }
    }

    /// As the admin plane takes them.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let all = [
            ("since", &self.since),
            ("until", &self.until),
            ("model", &self.model),
            ("experiment", &self.experiment),
            ("status", &self.status),
            ("text", &self.text),
            ("limit", &self.limit),
        ];
        let given = all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        given.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Source {
    /// The sidecar that answers on the admin address, else the data directory.
    ///
    /// # Errors
    /// The data directory cannot be used.
    pub async fn open(config: &Config) -> Result<Self> {
        let question = Question { path: &["livez"], ..question(Method::GET) };
        let plane = Plane::of(config);
        match local::ask(&plane, question).await {
            Ok(_) => return Ok(Self::Running(plane)),
            Err(error) if error.kind == Kind::Connect => {}
            Err(error) => return Err(error),
        }
        let max_bytes = config.cache.max_bytes;
        if !config.data_dir.is_dir() {
            let (admin, dir) = (config.admin, config.data_dir.display());
            remark(&format!("no sidecar answers on {admin} and there is no data in {dir} yet"));
            return Ok(Self::Nothing(max_bytes));
        }
        Self::in_directory(config)
    }

    /// The data directory, made if absent.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn in_directory(config: &Config) -> Result<Self> {
        let opened = Store::open_all(&config.data_dir, &Keys::new(&config.encryption_keys))?;
        if let Some(Damage { aside, why, rescued }) = opened.damage {
            let aside = aside.display();
            remark(&format!(
                "the data was damaged ({why}): it is kept in {aside}, {rescued} records were saved"
            ));
        }
        let library = Library::new(opened.store, None);
        Ok(Self::Stored(Box::new(library), config.cache.max_bytes))
    }

    /// The newest that are meant.
    ///
    /// # Errors
    /// A filter is wrong, or the source cannot be read.
    pub async fn list(&self, which: &Which) -> Result<Vec<Row>> {
        #[derive(Deserialize)]
        struct List {
            exchanges: Vec<Row>,
        }
        let filter = filter(which)?;
        match self {
            Self::Running(admin) => {
                let (query, path) = (which.parameters(), EXCHANGES);
                let asked = Question { path, query: &query, ..question(Method::GET) };
                let list: List = answered(admin, asked).await?;
                Ok(list.exchanges)
            }
            Self::Stored(library, _) => library.list(filter).await,
            Self::Nothing(_) => Ok(Vec::new()),
        }
    }

    /// Everything about the exchanges an id means, the newest first.
    ///
    /// # Errors
    /// There is none, or the id may mean several.
    pub async fn find(&self, id: &str) -> Result<Vec<Detail>> {
        #[derive(Deserialize)]
        struct Found {
            exchanges: Vec<Detail>,
        }
        match self {
            Self::Running(admin) => {
                let query = [("body".to_owned(), "frames".to_owned())];
                let path = [EXCHANGES, &[id]].concat();
                let asked = Question { path: &path, query: &query, ..question(Method::GET) };
                let found: Found = answered(admin, asked).await?;
                Ok(found.exchanges)
            }
            Self::Stored(library, _) => {
                let found = library.find(id).await?;
                Ok(found.iter().map(|exchange| Detail::of(exchange, true)).collect())
            }
            Self::Nothing(_) => {
                let what = format!("no exchange is stored yet, so none is called \"{id}\"");
                Err(Error::new(Kind::NotFound, what))
            }
        }
    }

    /// Forgets what is meant.
    ///
    /// # Errors
    /// A filter is wrong, or the disk is gone.
    pub async fn purge(&self, which: &Which) -> Result<u64> {
        let filter = filter(which)?;
        match self {
            Self::Running(admin) => {
                let mut body: serde_json::Map<String, Value> =
                    which.parameters().into_iter().map(|(k, v)| (k, v.into())).collect();
                if filter.is_all() {
                    body.insert("all".to_owned(), true.into());
                }
                let body = Bytes::from(Value::Object(body).to_string());
                let path = [EXCHANGES, &["purge"]].concat();
                let body = Some(("application/json", body));
                let asked = Question { path: &path, body, ..question(Method::POST) };
                let gone: Value = answered(admin, asked).await?;
                Ok(gone["deleted"].as_u64().unwrap_or(0))
            }
            Self::Stored(library, _) => library.purge(filter).await,
            Self::Nothing(_) => Ok(0),
        }
    }

    /// What is stored, in numbers.
    ///
    /// # Errors
    /// The source cannot be read.
    pub async fn stats(&self) -> Result<Stats> {
        match self {
            Self::Running(admin) => {
                let path = &["api", "v1", "cache"];
                answered(admin, Question { path, ..question(Method::GET) }).await
            }
            Self::Stored(library, max_bytes) => {
                let now_ms = jiff::Timestamp::now().as_millisecond();
                library.stats(*max_bytes, now_ms).await
            }
            Self::Nothing(max_bytes) => Ok(Stats { max_bytes: *max_bytes, ..Stats::default() }),
        }
    }

    /// What calls cost.
    ///
    /// # Errors
    /// A parameter is wrong, or the source cannot be read.
    pub async fn costs(&self, given: &[(String, String)]) -> Result<Costs> {
        let parsed = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let parsed = Wanted::parse(parsed, jiff::Timestamp::now().as_millisecond());
        let wanted = parsed.map_err(|error| flagged(&error))?;
        match self {
            Self::Running(admin) => {
                let path = &["api", "v1", "costs"];
                answered(admin, Question { path, query: given, ..question(Method::GET) }).await
            }
            Self::Stored(library, _) => library.costs(wanted).await,
            Self::Nothing(_) => Ok(Costs::default()),
        }
    }

    /// What is meant as lines of JSON.
    ///
    /// # Errors
    /// A filter is wrong, or the source cannot be read.
    pub async fn export(&self, which: &Which, with_tenants: bool) -> Result<Lines> {
        let filter = filter(which)?;
        match self {
            Self::Running(admin) => {
                let mut query = which.parameters();
                query.push(("with_tenants".to_owned(), with_tenants.to_string()));
                let path = [EXCHANGES, &["export"]].concat();
                let asked = Question { path: &path, query: &query, ..question(Method::GET) };
                let answer = good(admin.address, local::ask(admin, asked).await?).await?;
                Ok(Lines::Running(Box::new(answer)))
            }
            Self::Stored(library, _) => Ok(Lines::Stored(library.export(filter, with_tenants))),
            Self::Nothing(_) => Ok(Lines::Nothing),
        }
    }

    /// Stores whole lines of an export.
    ///
    /// # Errors
    /// The disk is full or gone.
    pub async fn import(
        &self,
        lines: Bytes,
        first_line: u64,
        rules: &Redactor,
    ) -> Result<Imported> {
        match self {
            Self::Running(admin) => {
                let query = [("first_line".to_owned(), first_line.to_string())];
                let path = [EXCHANGES, &["import"]].concat();
                let body = Some(("application/x-ndjson", lines));
                let asked = Question { path: &path, query: &query, body, ..question(Method::POST) };
                answered(admin, asked).await
            }
            Self::Stored(library, _) => library.import(lines, first_line, rules.clone()).await,
            Self::Nothing(_) => Err(Error::new(Kind::Internal, "nowhere to import to")),
        }
    }
}

impl Lines {
    /// The next piece.
    ///
    /// # Errors
    /// The export broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Running(answer) => answer.next().await,
            Self::Stored(lines) => Ok(lines.recv().await.map(|mut line| {
                line.push('\n');
                Bytes::from(line)
            })),
            Self::Nothing => Ok(None),
        }
    }
}

/// The exchange that a detail with frames tells.
///
/// # Errors
/// It came from a version that stores something else.
pub fn exchange(detail: Detail) -> Result<Exchange> {
    let Detail { facts, request, frames, .. } = detail;
    let line = Line { understudy: 1, facts, request, frames: frames.unwrap_or_default() };
    line.into_exchange().map_err(|what| Error::new(Kind::Broken, what))
}

fn filter(which: &Which) -> Result<Filter> {
    let given = which.parameters();
    let given = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Filter::parse(given, jiff::Timestamp::now().as_millisecond()).map_err(|error| flagged(&error))
}

/// Here parameters are flags.
fn flagged(error: &Error) -> Error {
    Error::new(error.kind, error.detail.replacen('`', "`--", 1))
}

fn question(method: Method) -> Question<'static> {
    Question { method, path: &[], query: &[], body: None }
}

async fn answered<T: DeserializeOwned>(admin: &Plane, asked: Question<'_>) -> Result<T> {
    let answer = good(admin.address, local::ask(admin, asked).await?).await?;
    serde_json::from_slice(&answer.whole().await?).map_err(|_| stranger(admin.address))
}

/// An answer that is no refusal.
async fn good(admin: SocketAddr, answer: Answered) -> Result<Answered> {
    let kind = match answer.status {
        200 => return Ok(answer),
        404 => Kind::NotFound,
        400..=499 => Kind::BadRequest,
        _ => Kind::Broken,
    };
    let body: Option<Value> = serde_json::from_slice(&answer.whole().await?).ok();
    let told = body.as_ref().and_then(|body| body["error"]["message"].as_str());
    Err(told.map_or_else(|| stranger(admin), |told| Error::new(kind, told)))
}

fn stranger(admin: SocketAddr) -> Error {
    Error::new(Kind::Broken, format!("{admin} does not answer like an understudy"))
}
