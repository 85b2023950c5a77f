package process

import "testing"

const (
	id1 = "4f8c2b3a9d1e0f6a7b5c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c"
	id2 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)

// Real paths of the engines' and systemd's documentation and of running hosts.
var cgroupPaths = []struct{ path, unit, container string }{
	{"", "", ""},
	{"/", "", ""},
	{"/init.scope", "init.scope", ""},
	{"/system.slice", "", ""},
	{"/system.slice/ssh.service", "ssh.service", ""},
	{"/system.slice/ssh.service/sub", "ssh.service", ""},
	{"/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", ""},
	{`/system.slice/system-postgresql.slice/postgresql@15\x2dmain.service`, `postgresql@15\x2dmain.service`, ""},
	{`/system.slice/dev-disk-by\x2duuid-1234.swap`, `dev-disk-by\x2duuid-1234.swap`, ""},
	{"/system.slice/run-user-1000.mount", "run-user-1000.mount", ""},
	{"/system.slice/docker.socket", "docker.socket", ""},
	{"/system.slice/_cpu.service", "cpu.service", ""},
	{"/user.slice/user-1000.slice/session-3.scope", "session-3.scope", ""},
	{"/user.slice/user-1000.slice/user@1000.service", "user@1000.service", ""},
	{"/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service/init.scope", ""},
	{`/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox\x2desr-2914.scope`, `user@1000.service/app-gnome-firefox\x2desr-2914.scope`, ""},
	{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope", "user@1000.service/vte-spawn-1.scope", ""},
	// A user may name a cgroup below the own manager as any service.
	{"/user.slice/user-1000.slice/user@1000.service/ssh.service", "user@1000.service/ssh.service", ""},
	{"/user.slice/user-1000.slice/user@1000.service/x/ssh.service", "user@1000.service", ""},
	// So may a unit with a tree of its own.
	{"/system.slice/containerd.service/ssh.service", "containerd.service", ""},
	{"/a\nb.service", "", ""},
	{"/system.slice/.service", "", ""},
	// Docker
	{"/docker/" + id1, "", id1},
	{"/system.slice/docker-" + id1 + ".scope", "docker-" + id1 + ".scope", id1},
	{"/system.slice/docker-" + id1 + ".scope/init.scope", "docker-" + id1 + ".scope", id1},
	{"/docker/" + id1 + "/docker/" + id2, "", id1}, // docker in docker
	{"/system.slice/docker.service", "docker.service", ""},
	{"/docker/" + id1[:63], "", ""},
	{"/docker/" + id1[:63] + "G", "", ""},
	// containerd, CRI-O and kubelet
	{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7a3f.slice/cri-containerd-" + id1 + ".scope", "cri-containerd-" + id1 + ".scope", id1},
	{"/kubepods.slice/kubepods-pod7a3f.slice/crio-" + id1 + ".scope", "crio-" + id1 + ".scope", id1},
	{"/kubepods.slice/kubepods-pod7a3f.slice/crio-conmon-" + id1 + ".scope", "crio-conmon-" + id1 + ".scope", ""},
	{"/kubepods/burstable/pod7a3f/" + id1, "", id1},
	{"/system.slice/containerd.service/kubepods-besteffort-pod7a3f.slice:cri-containerd:" + id1, "containerd.service", id1},
	{"/ecs/0123456789abcdef/" + id1, "", id1},
	{"/system.slice/nerdctl-" + id1 + ".scope", "nerdctl-" + id1 + ".scope", id1},
	// Podman
	{"/machine.slice/libpod-" + id1 + ".scope/container", "libpod-" + id1 + ".scope", id1},
	{"/machine.slice/libpod-conmon-" + id1 + ".scope", "libpod-conmon-" + id1 + ".scope", ""},
	{"/libpod_parent/libpod-" + id1, "", id1},
	{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id1 + ".scope/container", "user@1000.service/libpod-" + id1 + ".scope", id1},
	// LXC, Incus
	{"/lxc/web1/init.scope", "", "web1"},
	{"/lxc.payload.web1/system.slice/nginx.service", "", "web1"},
	{"/lxc.monitor.web1", "", ""},
	{"/lxc.payload/web-1", "", "web-1"},
	{"/lxc/101/ns/system.slice/cron.service", "", "101"},
	{"/lxc.payload.we b1", "", ""},
	// systemd-nspawn, machined
	{`/machine.slice/systemd-nspawn@debian\x2dsid.service/payload/system.slice/cron.service`, `systemd-nspawn@debian\x2dsid.service`, "debian-sid"},
	{`/machine.slice/machine-debian\x2dsid.scope`, `machine-debian\x2dsid.scope`, "debian-sid"},
	{`/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator`, `machine-qemu\x2d1\x2dvm.scope`, ""},
	{`/machine.slice/machine-lxc\x2d423\x2dbox.scope`, `machine-lxc\x2d423\x2dbox.scope`, "lxc-423-box"},
	{`/machine.slice/machine-a\x2fb.scope`, `machine-a\x2fb.scope`, ""},
}

func TestUnitAndContainer(t *testing.T) {
	for _, tt := range cgroupPaths {
		if got := Unit(tt.path); got != tt.unit {
			t.Errorf("Unit(%q) = %q, want %q", tt.path, got, tt.unit)
		}
		if got := Container(tt.path); got != tt.container {
			t.Errorf("Container(%q) = %q, want %q", tt.path, got, tt.container)
		}
	}
}

var scriptCases = []struct {
	exe    string
	args   []string
	script string
	module bool
}{
	{exe: "/usr/bin/python3", args: []string{"python3", "a.py", "b.py"}, script: "a.py"},
	{exe: "/usr/bin/python3.13", args: []string{"python3", "-u", "-W", "ignore", "-Xdev", "a.py"}, script: "a.py"},
	{exe: "/usr/bin/python3.13t", args: []string{"python", "-IBW", "ignore", "a.py"}, script: "a.py"},
	{exe: "/usr/bin/python3", args: []string{"python3", "-c", "import x", "a.py"}},
	{exe: "/usr/bin/python3", args: []string{"python3", "-Ic", "import x", "a.py"}},
	{exe: "/usr/bin/python3", args: []string{"python3", "-m", "http.server", "80"}, script: "http.server", module: true},
	{exe: "/usr/bin/python3", args: []string{"python3", "-um", "venv"}, script: "venv", module: true},
	{exe: "/usr/bin/python3", args: []string{"python3", "-"}},
	{exe: "/usr/bin/python3", args: []string{"python3"}},
	{exe: "/usr/bin/python3", args: []string{"python3", "-u"}},
	{exe: "/usr/bin/python3", args: []string{"python3", "--check-hash-based-pycs", "never", "a.py"}, script: "a.py"},
	{exe: "/usr/bin/python3", args: []string{"python3", "--", "-odd.py"}, script: "-odd.py"},
	{exe: "/usr/bin/python3-config", args: []string{"python3-config", "--help"}},
	{exe: "/bin/bash", args: []string{"bash", "x.sh"}, script: "x.sh"},
	{exe: "/bin/bash", args: []string{"bash", "-euo", "pipefail", "x.sh"}, script: "x.sh"},
	{exe: "/bin/bash", args: []string{"bash", "+o", "posix", "-O", "extglob", "x.sh"}, script: "x.sh"},
	{exe: "/bin/bash", args: []string{"bash", "--rcfile", "/etc/rc", "-x", "x.sh"}, script: "x.sh"},
	{exe: "/bin/bash", args: []string{"bash", "-ec", "curl x", "name"}},
	{exe: "/bin/sh", args: []string{"sh", "-s", "arg"}},
	{exe: "/bin/sh", args: []string{"sh", "-", "x.sh"}, script: "x.sh"},
	{exe: "/bin/bash", args: []string{"-bash"}},
	{exe: "/usr/bin/perl", args: []string{"perl", "-w", "-I", "lib", "x.pl"}, script: "x.pl"},
	{exe: "/usr/bin/perl", args: []string{"perl", "-Ilib", "-MData::Dumper", "x.pl"}, script: "x.pl"},
	{exe: "/usr/bin/perl", args: []string{"perl", "-lane", "print", "data"}},
	{exe: "/usr/bin/perl", args: []string{"perl", "-pi.bak", "-e", "s/a/b/", "file"}},
	{exe: "/usr/bin/perl", args: []string{"perl", "-0777ne", "print", "file"}},
	{exe: "/usr/bin/perl", args: []string{"perl", "-d:Trepan", "x.pl"}, script: "x.pl"},
	{exe: "/usr/bin/ruby3.1", args: []string{"ruby", "-W0", "-rjson", "-I", "lib", "x.rb"}, script: "x.rb"},
	{exe: "/usr/bin/ruby", args: []string{"ruby", "-W:no-deprecated", "x.rb"}, script: "x.rb"},
	{exe: "/usr/bin/ruby", args: []string{"ruby", "-e", "puts", "x.rb"}},
	{exe: "/usr/bin/node", args: []string{"node", "--inspect=9229", "-r", "esm", "app.js"}, script: "app.js"},
	{exe: "/usr/bin/node", args: []string{"node", "--import", "tsx", "app.ts"}, script: "app.ts"},
	{exe: "/usr/bin/node", args: []string{"node", "--eval", "1", "app.js"}},
	{exe: "/usr/bin/node", args: []string{"node", "-pe", "1"}},
	{exe: "/usr/bin/php8.2", args: []string{"php", "-d", "a=b", "x.php"}, script: "x.php"},
	{exe: "/usr/bin/php8.2", args: []string{"php", "-f", "x.php"}, script: "x.php"},
	{exe: "/usr/bin/php8.2", args: []string{"php", "-S", "localhost:80", "router.php"}, script: "router.php"},
	{exe: "/usr/bin/php8.2", args: []string{"php", "-r", "echo 1;"}},
	{exe: "/usr/sbin/php-fpm8.2", args: []string{"php-fpm: master process"}},
	{exe: "/usr/bin/lua5.4", args: []string{"lua", "-e", "x=1", "-l", "mod", "x.lua"}, script: "x.lua"},
	{exe: "/usr/bin/lua5.4", args: []string{"lua", "-i"}},
	{exe: "/usr/lib/jvm/bin/java", args: []string{"java", "-Xmx1g", "-cp", "a.jar:b.jar", "-jar", "app.jar", "x"}, script: "app.jar"},
	{exe: "/usr/lib/jvm/bin/java", args: []string{"java", "-cp", "a.jar", "com.example.Main"}},
	{exe: "/usr/lib/jvm/bin/java", args: []string{"java", "--add-opens", "x/y=ALL-UNNAMED", "Hello.java"}, script: "Hello.java"},
	{exe: "/usr/lib/jvm/bin/java", args: []string{"java", "-m", "app/com.example.Main"}, script: "app/com.example.Main", module: true},
	{exe: "/usr/bin/gawk", args: []string{"awk", "-F:", "-f", "x.awk", "/etc/passwd"}, script: "x.awk"},
	{exe: "/usr/bin/gawk", args: []string{"awk", "--file=x.awk"}, script: "x.awk"},
	{exe: "/usr/bin/gawk", args: []string{"awk", "{print}", "/etc/passwd"}},
	{exe: "/usr/bin/tclsh8.6", args: []string{"tclsh", "x.tcl"}, script: "x.tcl"},
	{exe: "/usr/bin/expect", args: []string{"expect", "-f", "x.exp"}, script: "x.exp"},
	{exe: "/usr/lib64/ld-linux-x86-64.so.2", args: []string{"/lib64/ld-linux-x86-64.so.2", "--library-path", "/l", "/bin/curl"}, script: "/bin/curl"},
	{exe: "/lib/ld-musl-x86_64.so.1", args: []string{"ld", "/bin/curl"}, script: "/bin/curl"},
	{exe: "/lib/x86_64-linux-gnu/ld-2.31.so", args: []string{"ld", "/bin/curl"}, script: "/bin/curl"},
	{exe: "/usr/bin/ld", args: []string{"ld", "-o", "a", "b.o"}},
	{exe: "/bin/busybox", args: []string{"sh", "-e", "x.sh"}, script: "x.sh"},
	{exe: "/bin/busybox", args: []string{"busybox", "ash", "x.sh"}, script: "x.sh"},
	{exe: "/bin/busybox", args: []string{"wget", "x.sh"}},
	{exe: "/usr/bin/curl", args: []string{"python3", "a.py"}}, // argv[0] is the process's word
	{exe: "/usr/bin/perldoc", args: []string{"perldoc", "x"}},
}

func TestScriptArg(t *testing.T) {
	table := interpreters()
	for _, tt := range scriptCases {
		script, module := scriptArg(table, tt.exe, tt.args)
		if script != tt.script || module != tt.module {
			t.Errorf("scriptArg(%q, %q) = %q, %v; want %q, %v", tt.exe, tt.args, script, module, tt.script, tt.module)
		}
	}
}
