package scenario

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"snitch/bpf/bpftest/report"
)

// verdict collects how the log of one scenario differs from the reports.
type verdict struct {
	excuse *shortfall // of this tier, nil for none
	// mayVanish: the hash of a process that is gone at once may be missing, for
	// such a reason and no other, where its file is gone too or lies where no
	// mark on a file system reaches (a mount of its own namespace).
	mayVanish bool
	faults    []string
	used      bool // the excuse was needed
}

// compare holds the rows of one scenario's cgroup against what its processes
// reported.
func compare(s *scenario, r *run, rows []record, excuse *shortfall) *verdict {
	v := &verdict{excuse: excuse, mayVanish: s.mayVanish}
	taken := make([]bool, len(rows))
	pids := make(map[int]int)
	for i := range r.reports {
		pids[r.reports[i].PID]++
	}
	for i := range r.reports {
		rep := &r.reports[i]
		for k := range rep.Flows {
			v.flow(rep, &rep.Flows[k], rows, taken, pids[rep.PID] > 1)
		}
	}
	for i := range rows {
		if !taken[i] {
			v.fault(excuse != nil && excuse.rows, "a row that no process reported: %v", &rows[i])
		}
	}
	return v
}

func (v *verdict) fault(excused bool, format string, args ...any) {
	if excused {
		v.used = true
		return
	}
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

// flow finds the rows of f, compares their sums, and who they name. Of several
// reports with one pid (exec) the hash tells which is meant.
func (v *verdict) flow(rep *report.Report, f *report.Flow, rows []record, taken []bool, byHash bool) {
	var sent, received, packets uint64
	var mine []*record
	for i := range rows {
		row := &rows[i]
		if taken[i] || row.PID != rep.PID || byHash && row.SHA256 != rep.SHA256 || !v.matches(f, row) {
			continue
		}
		taken[i] = true
		sent, received, packets = sent+row.Sent, received+row.Received, packets+row.Packets
		mine = append(mine, row)
	}
	label := fmt.Sprintf("%s pid %d: %s %s %s:%d→%s:%d", rep.Generator, rep.PID, f.Direction, f.Proto, f.LAddr, f.LPort, f.RAddr, f.RPort)
	excuse := v.excuse
	want := max(1, f.Rows)
	if len(mine) != want && !(f.Quiet && len(mine) == 0) {
		v.fault(excuse != nil && excuse.rows, "%s: %d rows, want %d", label, len(mine), want)
	}
	if (sent != f.Sent || received != f.Received) && len(mine) > 0 {
		v.fault(excuse != nil && (excuse.bytes || excuse.received && sent == f.Sent), "%s: sent %d received %d, want %d and %d", label, sent, received, f.Sent, f.Received)
	}
	if f.Packets > 0 && packets != f.Packets && len(mine) > 0 {
		v.fault(excuse != nil && excuse.bytes, "%s: %d packets, want %d", label, packets, f.Packets)
	}
	if least := moved(sent) + moved(received); packets < least || least == 0 && f.Packets == 0 && packets > 0 {
		v.fault(excuse != nil && excuse.bytes, "%s: %d packets for %d bytes sent and %d received", label, packets, sent, received)
	}
	for _, row := range mine {
		if !allows(f, row) {
			v.fault(excuse != nil && excuse.result, "%s: result %s, want %s", label, row.Result, f.Result)
		}
		v.identity(label, rep, f, row)
	}
}

// moved is the least number of operations that move bytes.
func moved(bytes uint64) uint64 { return min(bytes, 1) }

func allows(f *report.Flow, row *record) bool {
	return slices.Contains(strings.Split(f.Result, "|"), row.Result)
}

// gone says that the hash is missing because file and process were gone before
// they were read, or the file lost its name just then.
func gone(row *record) bool {
	return row.SHA256 == "" && (row.Reason == "vanished" || row.Reason == "changed-while-reading")
}

// matches compares what names the flow; empty fields of f match anything. A
// packet socket has no addresses: there the result tells the row of its bytes
// from the row that says it was found, before it moved any.
// matches is matches, with what the shortfall excuses.
func (v *verdict) matches(f *report.Flow, row *record) bool {
	if matches(f, row) {
		return true
	}
	if v.excuse == nil || !v.excuse.began || f.Direction == "listen" || row.Direction == "listen" {
		return false
	}
	either := *f
	either.Direction = ""
	if !matches(&either, row) {
		return false
	}
	v.used = true
	return true
}

func matches(f *report.Flow, row *record) bool {
	if f.Proto == "packet" && !allows(f, row) {
		return false
	}
	return f.Proto == row.Proto && (f.Family == "" || f.Family == row.Family) &&
		(f.Direction == "" || f.Direction == row.Direction) &&
		(f.RAddr == "" || f.RAddr == row.RAddr) && (f.RPort == 0 || f.RPort == row.RPort) &&
		(f.LAddr == "" || f.LAddr == row.LAddr) && (f.LPort == 0 || f.LPort == row.LPort)
}

func (v *verdict) identity(label string, rep *report.Report, f *report.Flow, row *record) {
	differ := func(what string, got, want any) {
		v.fault(false, "%s: %s is %q, want %q", label, what, fmt.Sprint(got), fmt.Sprint(want))
	}
	if row.Exe != rep.Exe {
		differ("exe", row.Exe, rep.Exe)
	}
	if (row.ExeView != "") != rep.OtherMounts && !(rep.Removed && row.ExeView == "unverified") {
		differ("exe_view", row.ExeView, map[bool]string{false: "", true: "the other mount namespace"}[rep.OtherMounts])
	}
	if !slices.Contains(strings.Split(rep.ExeKind, "|"), row.ExeKind) && !(rep.Removed && row.ExeKind == "deleted") {
		differ("exe_kind", row.ExeKind, rep.ExeKind)
	}
	if row.SHA256 != rep.SHA256 && !(v.mayVanish && gone(row)) {
		differ("sha256", row.SHA256+" "+row.Reason, rep.SHA256)
	}
	if rep.Name != "" && row.Name != rep.Name {
		differ("name", row.Name, rep.Name)
	}
	if row.UID != rep.UID {
		differ("uid", row.UID, rep.UID)
	}
	if want := userName(rep.UID); row.User != want {
		differ("user", row.User, want)
	}
	if f.NetNS != 0 && row.NetNS != f.NetNS {
		differ("netns", row.NetNS, f.NetNS)
	}
	if row.Script != rep.Script || row.ScriptSHA != rep.ScriptSHA256 {
		differ("script", row.Script+" "+row.ScriptSHA, rep.Script+" "+rep.ScriptSHA256)
	}
	if row.Action != "allow" && row.Action != "alert" {
		differ("action", row.Action, "allow or alert")
	}
	for _, a := range []struct {
		what, exe, sum string
		row            *ancestor
	}{
		{"parent", rep.ParentExe, rep.ParentSHA256, row.Parent},
		{"grandparent", rep.GrandparentExe, rep.GrandparentSHA256, row.Grandparent},
	} {
		switch {
		case a.exe == "":
		case a.row == nil:
			differ(a.what, "missing", a.exe)
		case a.row.Exe != a.exe || a.row.SHA256 != a.sum:
			differ(a.what, a.row.Exe+" "+a.row.SHA256+a.row.Reason, a.exe+" "+a.sum)
		}
	}
}

// userName is what the user database of the host calls uid, "" for nobody.
func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}
