//! A request on its way to its targets.

use std::sync::Arc;

use crate::cacheable;
use crate::cacheable::Question;
use crate::cascade::Cascade;
use crate::chat::DialectName;
use crate::chat::request::Request;
use crate::config::Config;
use crate::config::Timeouts;
use crate::cost;
use crate::cost::Line;
use crate::cost::Purpose;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::exchange::Incoming;
use crate::exchange::hit::Form;
use crate::exchange::lookup::Forward;
use crate::exchange::trial::Trial;
use crate::experiment::Target;
use crate::experiment::Variant;
use crate::key::CacheKey;
use crate::plan;
use crate::plan::Caller;
use crate::plan::Thread;
use crate::retry::Hedge;
use crate::retry::Retry;
use crate::store::exchange::Asked;
use crate::tokens;
use crate::upstream::outgoing::Outgoing;
use crate::wire::ChatRequest;

/// Everything that asking upstream needs, so that it can outlive the client's connection.
pub struct Ask {
    /// The request as it came in.
    pub incoming: Incoming,
    /// What was read of it.
    pub request: ChatRequest,
    /// All of it, if it could be read.
    pub read: Option<Arc<Request>>,
    /// Who is asked, in order.
    pub targets: Vec<Target>,
    /// The variant it was assigned, whose changes are made for its own target only.
    pub variant: Option<Variant>,
    /// What has to hold of an answer of any target but the last.
    pub cascade: Option<Arc<Cascade>>,
    /// The key of each target's answer.
    pub keys: Vec<CacheKey>,
    /// The only provider that may see the client's own credential.
    pub credential_for: String,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// How calls that fail are made again.
    pub retry: Retry,
    /// When a second call is made beside the first.
    pub hedge: Option<Hedge>,
    /// What the cache may do.
    pub cache: plan::CacheRules,
    /// Why it goes to a provider.
    pub forward: Forward,
    /// `experiment=variant`.
    pub assigned: Option<String>,
    /// The trial its answer is a sample of.
    pub trial: Option<Trial>,
    /// What to remember of the response, if the variant's own target gives it.
    pub thread: Option<Thread>,
}

impl Ask {
    /// The request for a target.
    ///
    /// # Errors
    /// There is no such provider, or what is asked has no place in its dialect.
    pub fn write(&self, config: &Config, target: &Target) -> Result<Outgoing> {
        let provider = config.providers.get(&target.provider).ok_or_else(|| {
            let known: Vec<&str> = config.providers.keys().map(String::as_str).collect();
            let what =
                format!("no provider \"{}\": there is {}", target.provider, known.join(", "));
            Error::new(Kind::NotFound, what)
        })?;
        let variant = self.variant.as_ref().filter(|variant| variant.target == *target);
        // What an experiment compares includes the cost, and so does what a caller may spend,
        // whether or not the application asks.
        let wants_usage = self.variant.is_some() || self.incoming.patron.is_some();
        let (from, model) = (self.incoming.dialect, target.model.as_str());
        let mut outgoing =
            Outgoing::write(&self.request, from, provider, model, variant, wants_usage)?;
        if provider.quota.tokens_per_minute.is_some() {
            outgoing.tokens = self.read.as_deref().map(tokens::with_answer);
        }
        if outgoing.dialect == from.name() {
            outgoing.query = self.incoming.own_query(self.request.stream);
        }
        Ok(outgoing)
    }

    /// Whether asking twice does nothing twice at the provider.
    pub fn may_repeat(&self) -> bool {
        let unread = || cacheable::unread(self.incoming.dialect.name(), &self.request.body);
        let read = self.read.clone().unwrap_or_else(|| Arc::new(unread()));
        let question = Question { request: &read, targets: &self.targets };
        cacheable::acts(&question, &self.incoming.headers).is_none()
    }
}

impl Incoming {
    /// What the application asked beside its body, to be stored.
    pub fn asked(&self, head: &ChatRequest) -> Asked {
        let form = Form::of(self, head);
        Asked {
            at_ms: self.arrived_ms,
            dialect: form.dialect.as_str().to_owned(),
            model: head.model.clone(),
            stream: form.stream,
            usage: form.usage,
            in_array: form.in_array,
            in_path: self.in_path.is_some(),
            provider: self.provider.clone(),
            query: self.query.clone(),
            trace: self.trace(),
            caller: self.patron.as_ref().map(|patron| patron.name.clone()).unwrap_or_default(),
        }
    }

    /// Who sent it, as far as it matters.
    pub fn caller(&self) -> Caller<'_> {
        let (provider, query) = (self.provider.as_deref(), self.query.as_deref());
        let patron = self.patron.as_deref();
        Caller { provider, query, patron, ..Caller::new(&self.headers) }
    }

    /// The trace that it is part of.
    fn trace(&self) -> Option<String> {
        cost::trace_of(self.headers.get("traceparent")?.to_str().ok()?)
    }

    /// In whose name a call to a target is booked.
    pub fn line(&self, target: &Target) -> Line {
        let line = Line::of(target, Purpose::Live);
        match &self.patron {
            None => line,
            Some(patron) => {
                Line { caller: patron.name.clone(), labels: patron.labels.clone(), ..line }
            }
        }
    }

    /// Whether a stream is to come as a JSON array, which Google's REST API sends by default.
    pub fn in_array(&self, is_stream: bool) -> bool {
        let query = self.query.as_deref().unwrap_or_default();
        let is_gemini = self.dialect.name() == DialectName::Gemini;
        is_gemini && is_stream && !query.split('&').any(|pair| pair == "alt=sse")
    }

    /// The query for a provider of the same dialect.
    fn own_query(&self, is_stream: bool) -> Option<String> {
        match &self.query {
            _ if !self.in_array(is_stream) => self.query.clone(),
            Some(query) if query.contains("alt=") => Some(query.clone()),
            Some(query) => Some(format!("{query}&alt=json")),
            None => Some("alt=json".to_owned()),
        }
    }
}
