# shellcheck shell=sh
# The phases of run.sh; each ends in a reboot or in the end.

install() {
	files >$keep/before
	getent passwd | sort >$keep/passwd
	check "installs" dpkg -i old.deb
	check "runs after installation" active snitch.service
	check "is enabled" systemctl is-enabled --quiet snitch.service
	check "web is off until it is wanted" inactive snitch-web.socket
	check "users are there" getent passwd snitch snitch-web
	check "state is the group's to read" test "$(stat -c '%U:%G %a' /var/lib/snitch)" = "root:snitch 750"
	check "sees traffic" talk
	check "records traffic" within 120 logged '"result":"closed"'
	check "manual page is there" test -s /usr/share/man/man1/snitch-run.1.gz

	# Privileges, as the kernel tells them.
	core=$(main)
	check "core cannot gain privileges" has "$core" 'NoNewPrivs:.1'
	check "core has a seccomp filter" has "$core" 'Seccomp:.2'
	check "core keeps nine capabilities" capabilities "$core" "$CORE"
	check "broker keeps SETUID, SETGID and KILL" capabilities "$(broker)" 00000000000000e0
	check "broker cannot gain privileges" has "$(broker)" 'NoNewPrivs:.1'
	check "core may write its state" nsenter -t "$core" -m sh -c 'echo x >/var/lib/snitch/x && rm /var/lib/snitch/x'
	check "core may write nothing else" refuse nsenter -t "$core" -m sh -c 'echo x >/usr/bin/x || echo x >/etc/x || echo x >/var/lib/x'
	systemd-analyze security snitch.service snitch-web.service --no-pager 2>/dev/null | sed 's/^/# /'
	systemctl show -p MemoryCurrent,ExecMainStartTimestampMonotonic,ActiveEnterTimestampMonotonic snitch.service | sed 's/^/# /'

	check "web: its socket" systemctl start snitch-web.socket
	check "web: answers root by the socket" perl web.pl
	web=$(systemctl show -p MainPID --value snitch-web.service)
	check "web: is user snitch-web" test "$(stat -c %U "/proc/$web")" = snitch-web
	check "web: has no capability" capabilities "$web" 0000000000000000
	check "web: nobody is refused" refuse setpriv --reuid 65534 --regid 65534 --clear-groups perl web.pl
	check "web: its user reads the record" setpriv --reuid snitch-web --regid snitch --clear-groups head -c 1 /var/lib/snitch/snitch.db
	check "web: its user writes nothing of it" refuse setpriv --reuid snitch-web --regid snitch --clear-groups sh -c 'echo x >/var/lib/snitch/x || echo x >>/var/lib/snitch/snitch.db'

	check "is back after kill -9" again kill -9 "$core"
	check "no old broker is left" test "$(pgrep -cf 'snitch broker')" = 1
	mkdir -p /run/systemd/system/snitch.service.d
	printf '[Service]\nWatchdogSec=20s\nTimeoutAbortSec=5s\n' >/run/systemd/system/snitch.service.d/watchdog.conf
	systemctl daemon-reload
	check "restarts" again systemctl restart snitch.service
	check "is back after it hung" again kill -STOP "$(main)"
	rm -r /run/systemd/system/snitch.service.d
	systemctl daemon-reload
	check "reloads" systemctl reload snitch.service
	check "gaps are on record" runs 4

	mkdir -p /etc/snitch/rules
	cp config.yaml /etc/snitch/config.yaml
	cp rules.yaml /etc/snitch/rules/guest.yaml
	check "takes up configuration" again systemctl restart snitch.service
	check "denies" snitch enforce on --yes
	check "what a rule denies is refused" denied
	check "what is denied is on record" within 120 logged '"action":"deny"'
	suspend

	attempts &
	attempter=$!
	check "upgrades" dpkg -i new.deb
	check "runs after the upgrade" active snitch.service
	check "is the new one" sh -c 'snitch status --json | grep -q "\"version\":\"v1.0.1\""'
	stopped
	check "nothing passed during the upgrade" refuse grep -q passed $keep/attempts
	check "attempts were made during the upgrade" test "$(wc -l <$keep/attempts)" -ge 5
	echo "# $(wc -l <$keep/attempts) attempts during the upgrade"
	check "stop leaves denials under fail-closed" systemctl stop snitch.service
	check "denied without a daemon" denied
	reboots boot
}

# runs N: the daemon was ready at least N times since boot, and the log of the
# last says how long nobody watched.
runs() { [ "$(journalctl -b -u snitch --no-pager -o cat | grep -cx ready)" -ge "$1" ] && journalctl -b -u snitch --no-pager -o cat | grep 'nothing was watched'; }

suspend() { # to memory; the clock of the machine wakes it
	before=$(main)
	attempts &
	attempter=$!
	check "suspends and resumes" rtcwake -u -m mem -s 10
	check "denies after resuming" denied
	stopped
	check "nothing passed around the suspend" refuse grep -q passed $keep/attempts
	check "is the same after resuming" test "$(main)" = "$before"
	check "answers after resuming" within 120 snitch status
	check "says for how long the machine slept" within 120 sh -c 'journalctl -b -u snitch --no-pager -o cat | grep "the machine slept"'
}

attempts() { # until they are stopped
	: >$keep/attempts
	until [ -e $keep/stop ]; do
		if talk 2>/dev/null; then echo passed; else echo refused; fi >>$keep/attempts
	done
}
stopped() {
	touch $keep/stop
	wait $attempter
	rm $keep/stop
}

boot() {
	check "runs after boot" active snitch.service
	check "was ready before the network" test "$(ready)" -lt "$(systemctl show -p ExecMainStartTimestampMonotonic --value networking.service)"
	echo "# ready at $(ready) us, network from $(systemctl show -p ExecMainStartTimestampMonotonic --value networking.service) us"
	check "no ordering cycle" refuse sh -c 'journalctl -b --no-pager | grep -i "ordering cycle"'
	check "still denies after boot" denied
	check "enforcement is on" snitch enforce status
	check "began shut" sh -c 'journalctl -b -u snitch-closed --no-pager -o cat | grep -q "shut until snitch denies"'
	mv /etc/snitch/config.yaml $keep/config.yaml
	echo 'version: 1' >/etc/snitch/config.yaml
	echo 'nonsense: 1' >>/etc/snitch/config.yaml
	reboots broken
}

broken() {
	check "a configuration that does not load ends it" within 300 sh -c 'journalctl -b -u snitch --no-pager | grep "status=2/INVALIDARGUMENT"'
	check "fail-closed: nobody gets out without it" refuse timeout 10 perl -MSocket -e 'socket(my $s, PF_INET, SOCK_STREAM, 0); connect($s, pack_sockaddr_in(80, inet_aton("10.0.2.100"))) or die $!'
	check "the loopback works" perl -MSocket -e 'socket(my $s, PF_INET, SOCK_DGRAM, 0); send($s, "x", 0, pack_sockaddr_in(9, inet_aton("127.0.0.1"))) or die $!'
	mv $keep/config.yaml /etc/snitch/config.yaml
	check "starts by itself once it is mended" within 300 active snitch.service
	check "others pass again" within 120 perl -MSocket -e 'socket(my $s, PF_INET, SOCK_STREAM, 0); connect($s, pack_sockaddr_in(80, inet_aton("10.0.2.100"))) or die $!'
	check "still denies" within 120 denied
	check "removes" dpkg -r snitch
	check "nothing runs" refuse pgrep -x snitch
	check "nothing denies" talk
	check "nothing is pinned" test -z "$(ls /sys/fs/bpf)"
	check "record is kept" test -s /var/lib/snitch/snitch.db
	check "configuration is kept" test -s /etc/snitch/config.yaml
	check "comes back" dpkg -i new.deb
	check "remembers what it denied" logged '"action":"deny"'
	check "goes on to deny" within 120 denied
	check "purges" dpkg -P snitch
	check "nothing denies after the purge" talk
	files >$keep/after
	check "the file system is as it was" diff $keep/before $keep/after
	getent passwd | sort >$keep/passwd.after
	check "the users are as they were" diff $keep/passwd $keep/passwd.after
	check "no unit is left" refuse test -e /lib/systemd/system/snitch.service
	echo end
	systemctl poweroff
}

ready() { systemctl show -p ActiveEnterTimestampMonotonic --value snitch.service; }
