package vm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// wanted are the modules that tests may need, by the start of their path. What
// they depend on comes along.
var wanted = []string{
	"kernel/net/", "kernel/lib/", "kernel/crypto/", "kernel/arch/x86/crypto/crc", "kernel/security/",
	"kernel/drivers/block/loop", "kernel/drivers/virtio/", "kernel/drivers/block/virtio_blk",
	"kernel/drivers/net/veth", "kernel/drivers/net/dummy", "kernel/drivers/net/tun", "kernel/drivers/net/tap",
	"kernel/drivers/net/ifb", "kernel/drivers/net/macvlan", "kernel/drivers/net/vrf", "kernel/drivers/net/wireguard",
	"kernel/drivers/net/virtio_net", "kernel/drivers/net/net_failover",
	"kernel/fs/fuse", "kernel/fs/overlayfs", "kernel/fs/ext4", "kernel/fs/jbd2", "kernel/fs/mbcache", "kernel/fs/btrfs",
}

// unwanted are large and of no use here.
var unwanted = []string{
	"kernel/net/bluetooth/", "kernel/net/wireless/", "kernel/net/mac80211/", "kernel/net/sunrpc/",
	"kernel/net/ceph/", "kernel/net/can/", "kernel/net/rds/", "kernel/net/tipc/", "kernel/net/batman-adv/",
}

// addModules packs the kernel's modules, decompressed, under the indexes that
// modprobe reads.
func addModules(a *archive, k kernel) error {
	dep, err := os.ReadFile(filepath.Join(k.modules(), "modules.dep"))
	if err != nil {
		return fmt.Errorf("read the modules of kernel %s: %w", k.name, err)
	}
	root := "lib/modules/" + k.release + "/"
	for _, module := range closure(string(dep)) {
		content, err := decompressed(filepath.Join(k.modules(), module))
		if err != nil {
			return err
		}
		a.file(root+plainName(module), 0o644, content)
	}
	for _, index := range []string{"modules.dep", "modules.alias", "modules.symbols", "modules.softdep", "modules.builtin"} {
		content, err := os.ReadFile(filepath.Join(k.modules(), index))
		if err != nil {
			return fmt.Errorf("read the modules of kernel %s: %w", k.name, err)
		}
		for _, suffix := range []string{".xz", ".zst"} {
			content = bytes.ReplaceAll(content, []byte(".ko"+suffix), []byte(".ko"))
		}
		a.file(root+index, 0o644, content)
	}
	return nil
}

// closure returns the wanted modules of a modules.dep with what they need.
func closure(dep string) []string {
	needs := map[string][]string{}
	var order []string
	for line := range strings.Lines(dep) {
		if module, list, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			needs[module] = strings.Fields(list)
			order = append(order, module)
		}
	}
	taken := map[string]bool{}
	for _, module := range order {
		if hasPrefix(module, wanted) && !hasPrefix(module, unwanted) {
			taken[module] = true
			for _, needed := range needs[module] { // modules.dep lists all, not the next only
				taken[needed] = true
			}
		}
	}
	var list []string
	for _, module := range order {
		if taken[module] {
			list = append(list, module)
		}
	}
	return list
}

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func plainName(module string) string {
	return strings.TrimSuffix(strings.TrimSuffix(module, ".xz"), ".zst")
}

func decompressed(file string) ([]byte, error) {
	var tool string
	switch filepath.Ext(file) {
	case ".xz":
		tool = "xz"
	case ".zst":
		tool = "zstd"
	default:
		return os.ReadFile(file)
	}
	content, err := exec.Command(tool, "-qdc", file).Output()
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", file, err)
	}
	return content, nil
}
