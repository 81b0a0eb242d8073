//! How a pod gets the sidecar: the one place that knows the container, its volumes and variables.

mod container;
mod environment;
mod pod;
pub mod patch;
pub mod quantity;
pub mod sdk;
pub mod wish;

use serde_json::Value;
use serde_json::json;

use crate::error::Result;
use crate::sidecar::patch::Additions;
use crate::sidecar::pod::Pod;
use crate::sidecar::wish::Wish;

pub use container::container;
pub use container::volumes;
pub use patch::Operation;
pub use patch::apply;

/// The name of the container; a pod that has one is left as it is.
pub const NAME: &str = "understudy";

/// What our labels and annotations begin with.
pub const PREFIX: &str = "understudy.dev/";

/// The label that asks for the sidecar, or with `false` forbids it.
pub const INJECT: &str = "understudy.dev/inject";

/// The label of pods that have it.
pub const INJECTED: &str = "understudy.dev/injected";

/// The annotation that says of which version, and from which ConfigMap.
pub const STATUS: &str = "understudy.dev/status";

/// The most operations that a pod gets, so that a hostile one cannot make a patch without end.
const MOST_OPERATIONS: usize = 10_000;

/// What holds for the whole cluster, or for a run of the command.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The image of the sidecar, where the pod asks for no other.
    pub image: String,
    /// Of the program that injects, for the status.
    pub version: String,
    /// What pods get that ask for nothing else.
    pub wish: Wish,
}

impl Settings {
    /// Defaults for an image.
    ///
    /// # Errors
    /// It cannot be the name of an image.
    pub fn new(image: &str) -> Result<Self> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        wish::image(image).map_err(|wrong| wish::refused("the image", image, &wrong))?;
        Ok(Self { image: image.to_owned(), version, wish: Wish::default() })
    }

    /// Changes a default, by the name of its annotation without the prefix.
    ///
    /// # Errors
    /// There is no such annotation, or it does not take that value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.wish.set(name, value).map_err(|wrong| wish::refused(name, value, &wrong))
    }
}

/// What to do to a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Injection {
    /// Nothing, where the pod has the sidecar, does not want it, or cannot have it.
    pub patch: Vec<Operation>,
    /// What whoever made the pod ought to know, a sentence each.
    pub warnings: Vec<String>,
}

/// The patch that gives a pod, or a pod template, the sidecar; paths begin at `pod`.
///
/// Whether the pod asks for it is the caller's to know: here only its refusal counts.
///
/// # Errors
/// `pod` does not have the shape of a pod.
pub fn inject(pod: &Value, settings: &Settings) -> Result<Injection> {
    let pod = Pod::read(pod)?;
    if pod.has_sidecar() {
        return Ok(Injection::default());
    }
    if let Some(warnings) = pod.refusal() {
        return Ok(Injection { patch: Vec::new(), warnings });
    }
    let (wish, mut warnings) = Wish::read(&settings.wish, pod.annotations());
    let chosen = pod.chosen(&wish, &mut warnings);
    let mut additions = Additions::default();
    let sidecar_env = environment::add(&chosen, &wish, &mut additions, &mut warnings);
    pod.warn_of_ports(&mut warnings);
    volumes_of(&pod, &wish, &mut additions);
    marks(&pod, &wish, settings, &mut additions);
    // Last, because it moves the init containers that the paths above count.
    let mut sidecar = container(wish.image.as_deref().unwrap_or(&settings.image), &wish);
    if let Some(Value::Array(env)) = sidecar.get_mut("env") {
        env.extend(sidecar_env);
    }
    additions.insert("/spec/initContainers", pod.init_containers(), sidecar);
    let patch = additions.done();
    if patch.len() > MOST_OPERATIONS {
        let why = "the pod has too many containers and gets no sidecar".to_owned();
        return Ok(Injection { patch: Vec::new(), warnings: vec![why] });
    }
    Ok(Injection { patch, warnings })
}

/// A volume of the same name is the user's own, such as a claim that outlives the pod.
fn volumes_of(pod: &Pod<'_>, wish: &Wish, additions: &mut Additions) {
    let theirs = pod.volumes();
    let ours = volumes(wish).into_iter().filter(|ours| {
        !theirs.is_some_and(|theirs| theirs.iter().any(|one| one.get("name") == ours.get("name")))
    });
    additions.append("/spec/volumes", theirs, ours.collect());
}

/// The label to find it by, and the annotation to read it from.
fn marks(pod: &Pod<'_>, wish: &Wish, settings: &Settings, additions: &mut Additions) {
    let status = json!({ "version": settings.version, "config": wish.config }).to_string();
    let (label, annotation) = (json!({ INJECTED: "true" }), json!({ STATUS: status }));
    let Some(metadata) = pod.metadata() else {
        return additions.add("/metadata", json!({ "labels": label, "annotations": annotation }));
    };
    for (kind, members) in [("labels", label), ("annotations", annotation)] {
        let path = format!("/metadata/{kind}");
        for (name, value) in members.as_object().into_iter().flatten() {
            additions.member(&path, metadata.get(kind), name, value.clone());
        }
    }
}
