"""The Pod Security Standard `restricted`, by its published rules.

<https://kubernetes.io/docs/concepts/security/pod-security-standards/>
"""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
VOLUMES |= {"projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
}
SELINUX = {"", None, "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod):
    """What an API server that enforces the standard would forbid, a sentence each."""
    spec = pod.get("spec") or {}
    found = [f"the pod sets {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        found += [f"volume {volume['name']} is a {kind}" for kind in sorted(kinds - VOLUMES)]
    of_pod = spec.get("securityContext") or {}
    found += context("the pod", of_pod, of_pod.get("windowsOptions"))
    for sysctl in of_pod.get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            found.append(f"the pod sets {sysctl['name']}")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or []:
            found += of_container(container, of_pod)
    return found


def of_container(container, of_pod):
    name, own = container["name"], container.get("securityContext") or {}
    found = context(name, own, own.get("windowsOptions"))
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        found.append(f"{name} does not drop all capabilities")
    for added in set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        found.append(f"{name} adds {added}")
    if own.get("privileged"):
        found.append(f"{name} is privileged")
    if own.get("allowPrivilegeEscalation") is not False:
        found.append(f"{name} may escalate privileges")
    if own.get("procMount") not in (None, "Default"):
        found.append(f"{name} sets procMount")
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        found.append(f"{name} may run as root")
    profile = own.get("seccompProfile") or of_pod.get("seccompProfile") or {}
    if profile.get("type") not in PROFILES:
        found.append(f"{name} has no seccomp profile")
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            found.append(f"{name} takes the host's port {port['hostPort']}")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        for way in ("httpGet", "tcpSocket"):
            if ((container.get(probe) or {}).get(way) or {}).get("host"):
                found.append(f"{name} has a {probe} to another host")
    return found


def context(name, own, windows):
    """What holds for a pod's context and a container's alike."""
    found = []
    if (windows or {}).get("hostProcess"):
        found.append(f"{name} is a process of the host")
    if own.get("runAsUser") == 0:
        found.append(f"{name} runs as root")
    if (own.get("seccompProfile") or {}).get("type", "RuntimeDefault") not in PROFILES:
        found.append(f"{name} has no seccomp profile")
    if (own.get("appArmorProfile") or {}).get("type", "RuntimeDefault") not in PROFILES:
        found.append(f"{name} has no AppArmor profile")
    linux = own.get("seLinuxOptions") or {}
    if linux.get("type") not in SELINUX or linux.get("user") or linux.get("role"):
        found.append(f"{name} sets SELinux options")
    return found
