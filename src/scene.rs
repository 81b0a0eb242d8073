//! What is in force at one moment: a configuration, and the connections made from it.
//!
//! Everybody takes a scene when work begins and keeps it to the end of that work, so no request
//! meets two configurations. A new scene is put in the place of the old one as a whole.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::error::Result;
use crate::upstream::Upstream;

/// A configuration in force.
pub struct Scene {
    /// What the program runs on.
    pub config: Arc<Config>,
    /// The way out.
    pub upstream: Arc<Upstream>,
}

/// Shows the scene that is in force now.
pub type Scenes = watch::Receiver<Arc<Scene>>;

impl Scene {
    /// The first scene of a process.
    ///
    /// # Errors
    /// TLS cannot start.
    pub fn new(config: Config) -> Result<Self> {
        let upstream = Arc::new(Upstream::new(&config)?);
        Ok(Self { config: Arc::new(config), upstream })
    }
}

/// The scene that is in force now.
pub fn now(scenes: &Scenes) -> Arc<Scene> {
    scenes.borrow().clone()
}
