package query

import (
	"strconv"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// grouping is how connections are grouped by a field. A value is a number that
// stands for one key: equal keys have equal values. 0 is "none" wherever 0 is
// no value of its own.
type grouping struct {
	cols   []column
	value  func(t *interned, v []int64) int64 // from those columns
	labels labeller
	// dim is the dimension of the rollups that has this field, and ofKey the
	// value of one of its keys; nil: the key itself.
	dim   schema.Dim
	ofKey func(t *interned, key int64) int64
}

// processGrouping groups by a fact of the process or of an ancestor; nil where
// there is none.
func processGrouping(name string, up int) *grouping {
	if up < 0 {
		return nil // one connection has many
	}
	ofProcess := func(f func(*interned, processFacts) int64) func(*interned, []int64) int64 {
		return func(t *interned, v []int64) int64 { return f(t, t.processes[t.up(v[0], up)]) }
	}
	ofFile := func(labels labeller, f func(executableFacts) int64) *grouping {
		g := &grouping{cols: []column{colProcess}, labels: labels,
			value: ofProcess(func(t *interned, p processFacts) int64 { return f(t.executables[p.executable]) }),
			ofKey: func(t *interned, key int64) int64 { return f(t.executables[key]) }}
		switch up {
		case 0:
			g.dim = schema.DimExecutable
		case 1:
			g.dim = schema.DimParent
		}
		return g
	}
	switch name {
	case "exe":
		return ofFile(wordLabels{}, func(x executableFacts) int64 { return x.path })
	case "exe_view":
		return ofFile(wordLabels{}, func(x executableFacts) int64 { return x.view })
	case "package":
		return ofFile(wordLabels{}, func(x executableFacts) int64 { return x.pkg })
	case "sha256":
		return ofFile(digestLabels{}, func(x executableFacts) int64 { return x.sha })
	case "name":
		g := &grouping{cols: []column{colProcess}, labels: textLabels, value: ofProcess(func(_ *interned, p processFacts) int64 { return p.name })}
		if up == 0 {
			g.dim, g.ofKey = schema.DimName, func(t *interned, key int64) int64 { return t.text(key) }
		}
		return g
	case "cmdline":
		return &grouping{cols: []column{colProcess}, labels: textLabels, value: ofProcess(func(_ *interned, p processFacts) int64 { return p.cmdline })}
	}
	return nil
}

func scriptGrouping(f func(scriptFacts) int64) *grouping {
	return &grouping{cols: []column{colProcess}, labels: wordLabels{},
		value: func(t *interned, v []int64) int64 { return f(t.scripts[t.processes[v[0]].script]) }}
}

// plain groups by a column as it is.
func plain(c column, labels labeller, dim schema.Dim) *grouping {
	return &grouping{cols: []column{c}, labels: labels, dim: dim, value: func(_ *interned, v []int64) int64 { return v[0] }}
}

func contextGrouping(labels labeller, dim schema.Dim, f func(contextFacts) int64) *grouping {
	return &grouping{cols: []column{colContext}, labels: labels, dim: dim,
		value: func(t *interned, v []int64) int64 { return f(t.contexts[v[0]]) }}
}

func cgroupGrouping(f func(cgroupFacts) int64) *grouping {
	return &grouping{cols: []column{colContext}, labels: wordLabels{}, dim: schema.DimCgroup,
		value: func(t *interned, v []int64) int64 { return f(t.cgroups[t.contexts[v[0]].cgroup]) },
		ofKey: func(t *interned, key int64) int64 { return f(t.cgroups[key]) }}
}

func decisionGrouping(labels labeller, dim schema.Dim, f func(decisionFacts) int64) *grouping {
	return &grouping{cols: []column{colDecision}, labels: labels, dim: dim,
		value: func(t *interned, v []int64) int64 { return f(t.decisions[v[0]]) }}
}

// ruleGrouping groups by the rule that won; its text is normalised in decisions.
func ruleGrouping() *grouping {
	g := decisionGrouping(textLabels, schema.DimRule, func(d decisionFacts) int64 { return d.rule })
	g.ofKey = func(t *interned, key int64) int64 { return t.text(key) }
	return g
}

// serviceGrouping groups by protocol and port of the service.
func serviceGrouping() *grouping {
	return &grouping{cols: []column{colDirection, colFamily, colProto, colLPort, colRPort}, labels: serviceLabels{}, dim: schema.DimPort, ofKey: serviceOfKey,
		value: func(_ *interned, v []int64) int64 {
			port := v[4]
			if event.Direction(v[0]) != event.Out {
				port = v[3]
			}
			return serviceOfKey(nil, schema.ServiceKey(uint16(v[1]), uint16(v[2]), uint16(port)))
		}}
}

// serviceOfKey makes one of IPv4 and IPv6, and of the protocols of a family
// that has no names for them.
func serviceOfKey(_ *interned, key int64) int64 {
	family, proto, port := schema.SplitServiceKey(key)
	return protoValue(family, proto)<<16 | int64(port)
}

// protoValue stands for event.ProtoName.
func protoValue(family, proto uint16) int64 {
	if family == event.AFInet || family == event.AFInet6 {
		return int64(proto)
	}
	return 1<<16 | int64(family)
}

func protoName(value int64) string {
	if value>>16 == 0 {
		return event.ProtoName(event.AFInet, uint16(value))
	}
	return event.FamilyName(uint16(value))
}

func protoGrouping() *grouping {
	return &grouping{cols: []column{colFamily, colProto}, labels: codeLabels(protoName),
		value: func(_ *interned, v []int64) int64 { return protoValue(uint16(v[0]), uint16(v[1])) }}
}

// enumLabels shows an enumeration by name.
func enumLabels[E interface {
	~uint8
	String() string
}]() labeller {
	return codeLabels(func(n int64) string { return E(n).String() })
}

// decimal shows a value that is a number.
func decimal(n int64) string { return strconv.FormatInt(n, 10) }
