//! Reads the files again and puts them in force: all of them, or none.

use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::config::Problem;
use crate::director::Director;
use crate::director::book;
use crate::director::book::lock;
use crate::director::fixed;
use crate::director::now_ms;
use crate::director::stand;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::metrics::ConfigLabel;
use crate::metrics::Metrics;
use crate::price::Prices;
use crate::scene::Scene;
use crate::script::Print;
use crate::script::Trouble;
use crate::upstream::Upstream;

/// The files in force, and what is wrong with those that are not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Files {
    /// Of everything the files in force say.
    pub hash: String,
    /// Their names.
    pub files: Vec<String>,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// Keys that changed and wait for a restart.
    pub waiting_for_restart: Vec<&'static str>,
    /// Why the files are not in force as they are now.
    pub error: Option<Refused>,
    /// By what they are told from others.
    #[serde(skip)]
    pub print: Print,
}

/// Files that could not be used.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// When they were read, Unix milliseconds.
    pub at_ms: i64,
    /// Of everything they say; absent when one cannot be read.
    pub hash: Option<String>,
    /// In one line.
    pub message: String,
    /// Everything wrong, each with its place.
    pub problems: Vec<String>,
}

impl Director {
    /// The files in force.
    pub fn files(&self) -> Files {
        lock(&self.files).clone()
    }

    /// Reads the files and puts them in force, all or none; says whether anything changed.
    ///
    /// # Errors
    /// They cannot be used; what was in force stays.
    pub fn reload(&self) -> Result<bool> {
        let script = self.script.as_ref().ok_or_else(|| {
            Error::new(Kind::BadRequest, "this process runs on no files that could be read again")
        })?;
        let _one_at_a_time = lock(&self.doing);
        let reading = match script.read() {
            Ok(reading) => reading,
            Err(trouble) => return Err(self.refuse(Refused::of(trouble))),
        };
        let mut old = lock(&self.files).clone();
        if reading.print == old.print {
            lock(&self.files).error = None;
            return Ok(false);
        }
        let (mut config, former) = (reading.config, self.config());
        let is_same_way_out =
            reading.print.is_same_way_out(&old.print) && config.authorities == former.authorities;
        old.waiting_for_restart = fixed::keep(&former, &mut config);
        match self.put_in_force(config, is_same_way_out) {
            Ok(()) => self.accept(reading.print, &reading.warnings, old.waiting_for_restart),
            Err(error) => {
                let hash = Some(reading.print.hash);
                let refused = Refused { hash, ..Refused::because(&error.detail) };
                return Err(self.refuse(refused));
            }
        }
        Ok(true)
    }

    fn put_in_force(&self, mut config: Config, is_same_way_out: bool) -> Result<()> {
        let upstream = match is_same_way_out {
            true => self.stage.borrow().upstream.clone(),
            // What is known of the targets is true whatever the files say.
            false => {
                let former = self.stage.borrow().upstream.clone();
                Arc::new(Upstream::after(&config, Some(&former))?)
            }
        };
        let drafts = book::meet(&lock(&self.lives), &config.experiments, now_ms())?;
        let mut next = lock(&self.lives).clone();
        book::settle(&mut next, &drafts)?;
        stand(&mut config.experiments, &next);
        self.book.append(&drafts)?;
        // This may read many scores, so nobody waits for it.
        self.board.follow(&config.experiments, &self.store)?;
        let mut lives = lock(&self.lives);
        // A feed that is no longer followed says nothing.
        let fed = config.feed.is_some().then(|| self.config().prices.fed());
        let prices = Prices::clone(&config.prices).with_fed(fed.unwrap_or_default());
        config.prices = Arc::new(prices);
        book::settle(&mut lives, &drafts)?;
        stand(&mut config.experiments, &lives);
        self.show(Scene { config: Arc::new(config), upstream });
        Ok(())
    }

    fn accept(&self, print: Print, warnings: &[Problem], waiting: Vec<&'static str>) {
        if !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!(keys, "these keys changed and wait for a restart");
        }
        for warning in warnings {
            tracing::warn!("{}", warning.headline());
        }
        Metrics::count(&self.metrics.config_reloads, "good");
        self.metrics.config_info.clear();
        self.metrics.config_info.get_or_create(&ConfigLabel { hash: print.hash.clone() }).set(1);
        tracing::info!(hash = print.hash, "the files are in force as they are now");
        let since_ms = now_ms();
        *lock(&self.files) = Files { since_ms, waiting_for_restart: waiting, ..Files::of(print) };
    }

    fn refuse(&self, refused: Refused) -> Error {
        Metrics::count(&self.metrics.config_reloads, "broken");
        let error = Error::new(Kind::Config, refused.message.clone());
        tracing::error!(
            problems = refused.problems.join("; "),
            "{}: what was in force stays",
            refused.message
        );
        lock(&self.files).error = Some(refused);
        error
    }
}

impl Files {
    /// Files that are good, in force since ever.
    pub fn of(print: Print) -> Self {
        let (hash, files) = (print.hash.clone(), print.files.clone());
        Self { hash, files, print, ..Self::default() }
    }
}

impl Refused {
    fn of(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreadable(error) => Self::because(&error.detail),
            Trouble::Wrong { print, problems } => {
                let wrong = problems.iter().filter(|problem| !problem.is_warning);
                let problems: Vec<String> = wrong.map(Problem::headline).collect();
                let noun = if problems.len() == 1 { "problem" } else { "problems" };
                let message = format!("the files have {} {noun}", problems.len());
                Self { hash: Some(print.hash), problems, ..Self::because(&message) }
            }
        }
    }

    fn because(message: &str) -> Self {
        let message = message.to_owned();
        Self { at_ms: now_ms(), hash: None, message, problems: Vec::new() }
    }
}
