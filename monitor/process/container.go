package process

import (
	"strconv"
	"strings"
)

// Container is the id or name of the container that a cgroup path belongs to,
// "" for none: 64 hexadecimal digits where an engine uses them (Docker,
// containerd, CRI-O, Podman, Kubernetes, ECS), else the name (LXC, Incus,
// systemd-nspawn, libvirt-lxc). Of nested containers the outermost is named,
// since that is the one this host started: what lies deeper is chosen by what
// runs in it. Below user@UID.service the user chooses all names (rootless
// Podman), so that such an id is a user's word.
func Container(path string) string {
	parent := ""
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if id := containerPart(parent, part); id != "" {
			return id
		}
		parent = part
	}
	return ""
}

func containerPart(parent, part string) string {
	name := strings.TrimSuffix(part, ".scope")
	if isID(name) {
		return name
	}
	switch {
	case strings.HasPrefix(name, "lxc.payload."): // LXC 4, Incus, LXD
		return lxcName(name[len("lxc.payload."):])
	case parent == "lxc" || parent == "lxc.payload": // LXC 3, Proxmox VE
		return lxcName(name)
	case parent == "machine.slice" || parent == "machine":
		return machineName(part)
	}
	return prefixedID(name)
}

// prefixedID reads "docker-ID", "cri-containerd-ID", "crio-ID", "libpod-ID",
// "nerdctl-ID" and, where an engine's driver disagrees with its runtime,
// "slice:cri-containerd:ID". A conmon is the engine's monitor of the container,
// outside of it.
func prefixedID(name string) string {
	cut := strings.LastIndexAny(name, "-:")
	if cut < 1 || !isID(name[cut+1:]) {
		return ""
	}
	if strings.HasSuffix(name[:cut], "conmon") || !validName(name[:cut], unitSigns) {
		return ""
	}
	return name[cut+1:]
}

// isID reports 64 lower-case hexadecimal digits.
func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func lxcName(name string) string {
	if !validName(name, containerSigns) {
		return ""
	}
	return name
}

// machineName reads the units that systemd-machined and systemd-nspawn make.
// Virtual machines are machines too, but what runs in them is not on this
// kernel.
func machineName(part string) string {
	name := ""
	switch {
	case strings.HasPrefix(part, "systemd-nspawn@") && strings.HasSuffix(part, ".service"):
		name = unescapeUnit(part[len("systemd-nspawn@") : len(part)-len(".service")])
	case strings.HasPrefix(part, "machine-") && strings.HasSuffix(part, ".scope"):
		name = unescapeUnit(part[len("machine-") : len(part)-len(".scope")])
		if strings.HasPrefix(name, "qemu-") {
			return ""
		}
	default:
		return prefixedID(strings.TrimSuffix(part, ".scope"))
	}
	return lxcName(name)
}

// unescapeUnit undoes \xHH of systemd-escape(1).
func unescapeUnit(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if v, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				out.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
