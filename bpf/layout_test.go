package bpf

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// The Go types have the sizes and offsets that clang gave the C types.
func TestLayout(t *testing.T) {
	spec, err := loadSnitch()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"process_id": ProcessId{}, "flow_key": FlowKey{}, "flow_value": FlowValue{}, "flow": Flow{},
		"record": Record{}, "file_id": FileId{}, "exec_record": ExecRecord{}, "fork_record": ForkRecord{},
		"exit_record": ExitRecord{}, "payload_record": PayloadRecord{}, "loss": Loss{},
	} {
		var c *btf.Struct
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		compareLayout(t, c, reflect.TypeOf(v))
	}
}

func compareLayout(t *testing.T, c *btf.Struct, g reflect.Type) {
	t.Helper()
	if int(c.Size) != int(g.Size()) {
		t.Errorf("%s: Go has %d bytes, want %d", c.Name, g.Size(), c.Size)
	}
	fields := map[string]reflect.StructField{}
	for i := range g.NumField() {
		f := g.Field(i)
		fields[strings.ToLower(f.Name)] = f
	}
	end := uint32(0)
	for _, m := range c.Members {
		if m.Offset.Bytes() != end {
			t.Errorf("%s.%s: hidden padding before %d", c.Name, m.Name, m.Offset.Bytes())
		}
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		end = m.Offset.Bytes() + uint32(size)
		f, ok := fields[strings.ReplaceAll(m.Name, "_", "")]
		if !ok {
			t.Errorf("%s.%s is not in Go", c.Name, m.Name)
			continue
		}
		if uint32(f.Offset) != m.Offset.Bytes() || int(f.Type.Size()) != size {
			t.Errorf("%s.%s: Go has %d bytes at %d, want %d at %d", c.Name, m.Name, f.Type.Size(), f.Offset, size, m.Offset.Bytes())
		}
	}
	if end != c.Size {
		t.Errorf("%s: hidden padding at the end", c.Name)
	}
}
