//! A pod as it came, which anybody may have written.

use serde_json::Map;
use serde_json::Value;

use crate::config::nearest;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::sidecar::INJECT;
use crate::sidecar::NAME;
use crate::sidecar::container::PORTS;
use crate::sidecar::wish::Wish;

/// The annotation of pods that a kubelet reads from a file; the API server's copy changes nothing.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod, or a pod template, of the right shape.
pub struct Pod<'p> {
    metadata: Option<&'p Map<String, Value>>,
    spec: &'p Map<String, Value>,
    containers: &'p Vec<Value>,
    init_containers: Option<&'p Vec<Value>>,
    volumes: Option<&'p Vec<Value>>,
}

/// A container that is told of the sidecar.
pub struct Chosen<'p> {
    /// Its pointer in the pod.
    pub path: String,
    /// Its name.
    pub name: &'p str,
    /// Its variables.
    pub env: Option<&'p Vec<Value>>,
}

impl<'p> Pod<'p> {
    /// Takes a pod apart.
    ///
    /// # Errors
    /// Something that we go by is not of its type.
    pub fn read(pod: &'p Value) -> Result<Self> {
        let whole = pod.as_object().ok_or_else(|| wrong("pod", "an object"))?;
        let spec = object(whole, "spec")?.ok_or_else(|| wrong("spec", "an object"))?;
        let metadata = object(whole, "metadata")?;
        for kind in ["labels", "annotations"] {
            metadata.map_or(Ok(None), |metadata| object(metadata, kind))?;
        }
        let containers = list(spec, "containers")?.filter(|all| !all.is_empty());
        let containers = containers.ok_or_else(|| wrong("containers", "a list of containers"))?;
        let init_containers = list(spec, "initContainers")?;
        for container in containers.iter().chain(init_containers.into_iter().flatten()) {
            let container =
                container.as_object().ok_or_else(|| wrong("a container", "an object"))?;
            list(container, "env")?;
        }
        let volumes = list(spec, "volumes")?;
        Ok(Self { metadata, spec, containers, init_containers, volumes })
    }

    /// Whether it has the sidecar, in whichever place.
    pub fn has_sidecar(&self) -> bool {
        self.all().any(|(_, container)| name(container) == NAME)
    }

    /// That it gets none, and why, where somebody may be surprised.
    pub fn refusal(&self) -> Option<Vec<String>> {
        let say = |why: &str| Some(vec![format!("no sidecar was added: {why}")]);
        match self.label(INJECT).or_else(|| self.annotation(INJECT)) {
            None | Some("true") => {}
            Some("false") => return Some(Vec::new()),
            Some(_) => return say(&format!("{INJECT} is neither \"true\" nor \"false\"")),
        }
        if self.spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
            return say("the pod uses the host's network, where its ports would be everybody's");
        }
        let os = self.spec.get("os").and_then(|os| os.get("name")).and_then(Value::as_str);
        if os == Some("windows") {
            return say("the pod is for Windows, and there is no such image");
        }
        if self.annotation(MIRROR).is_some() {
            return say("the pod is a static one, which its kubelet reads from a file");
        }
        None
    }

    /// The containers that are to be told of the sidecar.
    pub fn chosen(&self, wish: &Wish, warnings: &mut Vec<String>) -> Vec<Chosen<'p>> {
        let is_named = |container| wish.containers.iter().any(|one| one == name(container));
        for wanted in &wish.containers {
            if !self.all().any(|(_, container)| name(container) == wanted) {
                let known = self.all().map(|(_, container)| name(container));
                let help = nearest::suggest(wanted, known.collect::<Vec<_>>());
                let shown: String = wanted.chars().take(63).collect();
                warnings.push(format!("there is no container {shown:?} to tell of it: {help}"));
            }
        }
        let is_init = |path: &str| path.starts_with("/spec/initContainers");
        let chosen = self.all().filter(|(path, container)| match wish.containers.is_empty() {
            true => !is_init(path) || wish.inject_init,
            false => is_named(container),
        });
        let chosen = chosen.map(|(path, container)| {
            let env = container.get("env").and_then(Value::as_array);
            Chosen { path, name: name(container), env }
        });
        chosen.collect()
    }

    /// Warns of containers that say they listen where the sidecar does.
    pub fn warn_of_ports(&self, warnings: &mut Vec<String>) {
        for (_, container) in self.all() {
            let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
            let ports = ports.filter_map(|port| port.get("containerPort")?.as_u64());
            for port in ports.filter(|port| PORTS.iter().any(|ours| u64::from(*ours) == *port)) {
                let name = name(container);
                warnings.push(format!("container {name} listens on {port}, as the sidecar does"));
            }
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> Option<&'p Map<String, Value>> {
        self.metadata
    }

    /// Its annotations.
    pub fn annotations(&self) -> Option<&'p Map<String, Value>> {
        self.metadata?.get("annotations")?.as_object()
    }

    /// Its init containers.
    pub fn init_containers(&self) -> Option<&'p Vec<Value>> {
        self.init_containers
    }

    /// Its volumes.
    pub fn volumes(&self) -> Option<&'p Vec<Value>> {
        self.volumes
    }

    fn label(&self, name: &str) -> Option<&'p str> {
        self.metadata?.get("labels")?.get(name)?.as_str()
    }

    fn annotation(&self, name: &str) -> Option<&'p str> {
        self.annotations()?.get(name)?.as_str()
    }

    /// Every container with its pointer, those first that start first.
    fn all(&self) -> impl Iterator<Item = (String, &'p Value)> {
        let at = |kind: &'static str| {
            move |(index, container)| (format!("/spec/{kind}/{index}"), container)
        };
        let init = self.init_containers.into_iter().flatten().enumerate();
        init.map(at("initContainers"))
            .chain(self.containers.iter().enumerate().map(at("containers")))
    }
}

fn name(container: &Value) -> &str {
    container.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// A member that is an object, where it is there; null is as good as nothing.
fn object<'p>(of: &'p Map<String, Value>, name: &str) -> Result<Option<&'p Map<String, Value>>> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_object().map(Some).ok_or_else(|| wrong(name, "an object")),
    }
}

/// A member that is a list, where it is there.
fn list<'p>(of: &'p Map<String, Value>, name: &str) -> Result<Option<&'p Vec<Value>>> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_array().map(Some).ok_or_else(|| wrong(name, "a list")),
    }
}

fn wrong(what: &str, wanted: &str) -> Error {
    Error::new(Kind::BadRequest, format!("this is no pod: {what} has to be {wanted}"))
}
