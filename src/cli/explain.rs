//! `understudy explain`: what would happen to a request, and why; nothing is sent or stored.

mod account;
mod failing;
mod guess;
mod show;

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;

use crate::cli::files::Files;
use crate::cli::say;
use crate::cli::say_json;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::plan;
use crate::plan::Caller;
use crate::script;
use account::Account;
use guess::Endpoint;

/// Options of `understudy explain`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// File with the request's JSON body; - reads standard input
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// A header of the request, as `name: value`; may be given several times
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The path it is sent to, with its query, for example /v1/messages [default: guessed from the
    /// body]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    files: Files,
}

/// Prints the account.
///
/// # Errors
/// A file cannot be read, the request is refused, or nobody answers to its model.
pub fn run(args: &Args) -> Result<ExitCode> {
    let config = args.files.load(false)?;
    let body = body(args)?;
    let endpoint = match &args.path {
        Some(path) => Endpoint::of_path(path, &config)?,
        None => Endpoint::guessed(&body)?,
    };
    let mut headers = headers(&args.headers)?;
    let query = endpoint.query_without_key(&mut headers);
    let dialect = endpoint.dialect.dialect();
    let request = dialect.read_head(body, endpoint.in_path.clone())?;
    let caller = Caller {
        provider: endpoint.provider.as_deref(),
        query: query.as_deref(),
        patron: config.patrons.find(&headers).map(|patron| &**patron),
        ..Caller::new(&headers)
    };
    let plan = plan::plan(&config, dialect, &request, &caller)?;
    let account = Account::of(&config, &endpoint, &request, &caller, &plan);
    if args.json {
        say_json(&account)?;
    } else {
        say(&show::text(&account));
    }
    Ok(ExitCode::SUCCESS)
}

fn body(args: &Args) -> Result<Bytes> {
    if args.request.as_os_str() != "-" {
        return script::read(&args.request).map(|(_, text)| Bytes::from(text));
    }
    let mut body = Vec::new();
    std::io::stdin().read_to_end(&mut body).map_err(|error| {
        Error::new(Kind::BadRequest, format!("cannot read standard input: {error}"))
    })?;
    Ok(Bytes::from(body))
}

/// Headers given as `name: value`.
///
/// # Errors
/// One is none.
pub fn headers(given: &[String]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for given in given {
        // What follows the name may be a key.
        let (name, value) = given.split_once(':').ok_or_else(|| {
            bad("--header takes a name and a value, for example --header 'x-user-id: 7'".to_owned())
        })?;
        let name = name.trim();
        let known = HeaderName::try_from(name)
            .map_err(|_| bad(format!("--header: \"{name}\" cannot be the name of a header")))?;
        let value = HeaderValue::try_from(value.trim()).map_err(|_| {
            bad(format!("--header: the value of {name} holds a character that no header can"))
        })?;
        headers.append(known, value);
    }
    Ok(headers)
}

fn bad(detail: String) -> Error {
    Error::new(Kind::BadRequest, detail)
}
