package process

import (
	"path"
	"slices"
	"strings"
)

// interpreter says how a program that runs scripts reads its arguments, as far
// as is needed to find the script. Letters stand for short options.
type interpreter struct {
	names []string // base names; a version may follow ("python3.13", "lua5.4")

	takes  string   // options with an argument: the rest of the word, else the next word
	joined string   // options that eat the rest of their word
	long   []string // long options whose argument is the next word
	code   []string // options that mean code on the command line or standard input
	module []string // options whose argument is a module
	file   []string // options whose argument is the script
	single bool     // long options begin with one hyphen
	named  bool     // only an option names a script
	suffix string   // what the script must end with, or it is none
}

// interpreters is the table. A script of a program that is missing here is
// still seen when its "#!" line starts it.
func interpreters() []interpreter {
	return []interpreter{
		{names: []string{"python", "pypy"}, takes: "WXQ", long: []string{"--check-hash-based-pycs"},
			code: []string{"-c", "-"}, module: []string{"-m"}},
		{names: []string{"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "yash", "rbash"}, takes: "oO",
			long: []string{"--rcfile", "--init-file"}, code: []string{"-c", "-s"}},
		{names: []string{"perl"}, takes: "I", joined: "mMixFDd", code: []string{"-e", "-E", "-"}},
		{names: []string{"ruby", "jruby"}, takes: "IrCXE", joined: "FixKTW",
			long: []string{"--encoding", "--external-encoding", "--internal-encoding", "--enable", "--disable"}, code: []string{"-e", "-"}},
		{names: []string{"node", "nodejs"}, takes: "rC", long: []string{"--require", "--import", "--loader", "--experimental-loader",
			"--conditions", "--env-file", "--env-file-if-exists", "--title", "--input-type", "--icu-data-dir", "--openssl-config",
			"--redirect-warnings", "--trace-event-categories", "--diagnostic-dir", "--inspect-port", "--unhandled-rejections"},
			code: []string{"-e", "--eval", "-p", "--print", "-", "-i", "--interactive"}},
		{names: []string{"php", "php-cgi"}, takes: "dctSz", long: []string{"--define", "--php-ini", "--docroot", "--server"},
			code: []string{"-r", "-B", "-R", "-E", "--run", "-"}, file: []string{"-f", "-F", "--file", "--process-file"}},
		{names: []string{"lua", "luajit", "texlua"}, takes: "elj", joined: "O", code: []string{"-"}},
		{names: []string{"java"}, single: true, suffix: ".java", file: []string{"-jar"}, module: []string{"-m", "--module"},
			long: []string{"-cp", "-classpath", "--class-path", "-p", "--module-path", "--upgrade-module-path", "--add-modules",
				"--add-opens", "--add-exports", "--add-reads", "--limit-modules", "--enable-native-access", "--source", "--patch-module"}},
		{names: []string{"awk", "gawk", "mawk", "nawk"}, named: true, takes: "vFieW", file: []string{"-f", "-E", "--file", "--exec"}},
		{names: []string{"tclsh", "wish", "expect"}, takes: "cD", file: []string{"-f"}, code: []string{"-"}},
		{names: []string{"Rscript"}, code: []string{"-e"}},
		// The dynamic linker runs the program that it is given.
		{names: []string{"ld-"}, long: []string{"--library-path", "--preload", "--argv0", "--audit",
			"--inhibit-rpath", "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask"}},
	}
}

// multiCall are programs that choose what they are by the name they are called
// or by their first argument.
var multiCall = [...]string{"busybox", "toybox"}

// findInterpreter looks exe, a path or base name, up in the table.
func findInterpreter(table []interpreter, exe string) *interpreter {
	base := path.Base(exe)
	for i := range table {
		for _, name := range table[i].names {
			if rest, ok := strings.CutPrefix(base, name); ok && isVersion(name, rest) {
				return &table[i]
			}
		}
	}
	return nil
}

// isVersion accepts what may follow the name of an interpreter: "", "3",
// "3.13t", "8.2-dbg"; behind "ld-" it is "linux-x86-64.so.2" or "2.31.so".
func isVersion(name, s string) bool {
	if strings.HasSuffix(name, "-") {
		return strings.HasSuffix(s, ".so") || strings.Contains(s, ".so.")
	}
	switch strings.TrimLeft(s, "0123456789.") {
	case "", "d", "t", "-dbg", "-debug":
		return true
	}
	return false
}

// scriptArg finds the script among the arguments of exe. module says that the
// answer is the name of a module. "" means that there is no script: code on the
// command line, standard input, or no interpreter.
func scriptArg(table []interpreter, exe string, args []string) (script string, module bool) {
	if len(args) < 2 {
		return "", false
	}
	for _, name := range multiCall {
		if strings.HasPrefix(path.Base(exe), name) {
			if exe = args[0]; strings.HasPrefix(path.Base(exe), name) {
				exe, args = args[1], args[1:]
			}
			break
		}
	}
	in := findInterpreter(table, strings.TrimPrefix(exe, "-"))
	if in == nil {
		return "", false
	}
	return in.script(args[1:])
}

// script walks the arguments behind the program's name.
func (in *interpreter) script(args []string) (script string, module bool) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		next := ""
		if i+1 < len(args) {
			next = args[i+1]
		}
		switch {
		case slices.Contains(in.code, a):
			return "", false
		case a == "--" || a == "-": // for shells both end the options
			return in.accept(next), false
		case slices.Contains(in.module, a):
			return next, true
		case slices.Contains(in.file, a):
			return next, false
		case slices.Contains(in.long, a):
			i++
		case strings.HasPrefix(a, "--") || in.single && strings.HasPrefix(a, "-"):
			if name, value, ok := strings.Cut(a, "="); ok && slices.Contains(in.file, name) {
				return value, false
			}
		case strings.HasPrefix(a, "-") || strings.HasPrefix(a, "+"):
			skip, what, value := in.letters(a, next)
			switch what {
			case wordCode:
				return "", false
			case wordModule, wordFile:
				return value, what == wordModule
			}
			i += skip
		default:
			return in.accept(a), false
		}
	}
	return "", false
}

// What a word of short options leads to.
type word uint8

const (
	wordOptions word = iota
	wordCode
	wordModule
	wordFile
)

// letters reads a word of short options, such as -Iu or -Xdev. skip is 1 when
// the next word belongs to it.
func (in *interpreter) letters(a, next string) (skip int, what word, value string) {
	for j := 1; j < len(a); j++ {
		option, rest := "-"+a[j:j+1], a[j+1:]
		value = rest
		if rest == "" {
			value = next
		}
		switch {
		case slices.Contains(in.code, option):
			return 0, wordCode, ""
		case slices.Contains(in.module, option):
			return 0, wordModule, value
		case slices.Contains(in.file, option):
			return 0, wordFile, value
		case strings.IndexByte(in.takes, a[j]) >= 0:
			if rest == "" {
				return 1, wordOptions, ""
			}
			return 0, wordOptions, ""
		case strings.IndexByte(in.joined, a[j]) >= 0:
			return 0, wordOptions, ""
		}
	}
	return 0, wordOptions, ""
}

func (in *interpreter) accept(a string) string {
	if in.named || !strings.HasSuffix(a, in.suffix) {
		return ""
	}
	return a
}
