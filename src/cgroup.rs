//! The control group of the process, which says how much memory it may take.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Where the system shows groups.
const MOUNT: &str = "/sys/fs/cgroup";

/// The groups that the process is in.
const OWN: &str = "/proc/self/cgroup";

/// More than any machine has: version 1 writes about this where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// The most memory that the process may take before the system ends it, bytes, if there is a limit.
pub fn memory_limit() -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    limit(&read(Path::new(OWN))?, &read)
}

/// The lowest limit of the process's group and of those around it, in either version.
///
/// A container sees its own group at the mount, whatever its path is outside.
fn limit(own: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut lowest = None;
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, file) = match controllers {
            "" => (PathBuf::from(MOUNT), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (Path::new(MOUNT).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = mount.join(path.trim_start_matches('/'));
        let around = group.ancestors().take_while(|group| group.starts_with(&mount));
        let limits = around.filter_map(|group| read(&group.join(file))?.trim().parse().ok());
        lowest = limits.chain(lowest).filter(|bytes| *bytes < NO_LIMIT).min();
    }
    lowest
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::limit;

    fn check(own: &str, files: &[(&str, &str)], wanted: Option<u64>) {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| format!("{text}\n"))
        };
        assert_eq!(limit(own, &read), wanted, "{own} {files:?}");
    }

    #[test]
    fn the_lowest_limit_counts_in_either_version_wherever_it_is_seen() {
        let unlimited = "9223372036854771712";
        check("0::/\n", &[("/sys/fs/cgroup/memory.max", "268435456")], Some(268_435_456));
        check("0::/\n", &[("/sys/fs/cgroup/memory.max", "max")], None);
        check("0::/\n", &[], None);
        let (pod, own) = ("/sys/fs/cgroup/pod/memory.max", "/sys/fs/cgroup/pod/own/memory.max");
        check("0::/pod/own\n", &[(pod, "7"), (own, "max")], Some(7));
        check("0::/pod/own\n", &[(pod, "7"), (own, "5")], Some(5));
        // Outside the path is another one, which a container does not see.
        let one = "4:memory:/kubepods/pod1/own\n3:cpu:/x\n0::/\n";
        let file = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        check(one, &[(file, "134217728")], Some(134_217_728));
        check(one, &[(file, unlimited)], None);
        let deep = "/sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes";
        check(one, &[(file, unlimited), (deep, "9")], Some(9));
        check("no groups here", &[], None);
        check("0::/../../elsewhere\n", &[("/sys/fs/cgroup/memory.max", "3")], Some(3));
    }
}
