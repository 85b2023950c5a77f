#!/bin/sh
# run.sh runs in the guest, as root, once a boot: what an administrator meets
# from installation to purge. It says "ok WHAT" or "not ok WHAT" a line.
cd /run/guest || exit 1
stty -F /dev/ttyS1 raw -echo 2>/dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
keep=/var/tmp/guest
mkdir -p $keep
phase=$(cat $keep/phase 2>/dev/null || echo install)

check() { # check WHAT COMMAND...: its output is shown when it fails
	what=$1
	shift
	if out=$("$@" 2>&1); then
		echo "ok $what"
	else
		echo "not ok $what: $(echo "$out" | tail -n 40 | tr '\n' '|')"
		journalctl -b --no-pager -o short-monotonic -u 'snitch*' -n 25 2>/dev/null | sed 's/^/# /'
	fi
}
refuse() { ! "$@"; }
within() { # within SECONDS COMMAND...: until it holds
	until=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$until" ] || { "$@"; return; }
		sleep 0.5
	done
}
active() { [ "$(systemctl is-active "$1")" = active ]; }
inactive() { ! systemctl is-active --quiet "$1"; }
main() { systemctl show -p MainPID --value snitch.service; }
other() { [ "$(main)" != "$1" ] && [ "$(main)" != 0 ] && snitch status >/dev/null; }
talk() { [ "$(timeout 10 bash -c 'exec 3<>/dev/tcp/10.0.2.100/80 && read -r -t 5 word <&3; echo "$word"')" = hello ]; }
denied() { # at once, or after it waited for its decision
	said=$(timeout 10 bash -c 'exec 3<>/dev/tcp/10.0.2.100/80' 2>&1)
	case $said in
	*'Operation not permitted'* | *'Software caused connection abort'*) ;;
	*) echo "it said: $said" && return 1 ;;
	esac
}
logged() { snitch log --since 1h --json name=bash raddr=10.0.2.100 | grep -q "$1"; }
files() { # every file of the machine that somebody owns by name, but for what moves by itself
	find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/cache \
		-o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/lib/apt -o -path /var/lib/snitch.kept \) -prune -o -printf '%y %m %u:%g %p %l\n' |
		grep -v -e ' /etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-' -e '/etc/machine-id' -e '/etc/.pwd.lock' -e '/etc/\(subuid\|subgid\) ' | sort
}
has() { grep -q "$2" "/proc/$1/status"; }
capabilities() { # of a process, as numbers: CapEff and CapBnd
	[ "$(awk '/^CapEff/ {print $2}' "/proc/$1/status")" = "$2" ] || { grep ^Cap "/proc/$1/status"; return 1; }
}
broker() { pgrep -P "$(main)" -f broker | head -n 1; }
again() { # the service by another kind of end
	before=$(main)
	"$@" || return 1
	within 300 other "$before"
}
reboots() {
	echo "$1" >$keep/phase
	sync
	systemctl reboot
	exit 0
}
CORE=$(cat capabilities)
. ./phases.sh
"$phase"
