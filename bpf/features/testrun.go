package features

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// testRun answers what can be seen by running a program on a made-up packet.
// Each program returns 1 when the thing worked.
func testRun() []Result {
	return []Result{
		testResult(KernelRead, kernelRead),
		testResult(AtomicExchange, atomicExchange),
		testResult(RingBuffer, ringBuffer),
		testResult(MapInMap, mapInMap),
	}
}

func testResult(f Feature, probe func() (uint32, error)) Result {
	got, err := probe()
	switch {
	case err != nil:
		return refused(f, err)
	case got != 1:
		return Result{Feature: f, Answer: No, Reason: "the program runs and has no effect"}
	}
	return Result{Feature: f, Answer: Yes}
}

// execute loads a program, runs it once and returns its result.
func execute(instructions asm.Instructions) (uint32, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "snitch_probe",
		Type:         ebpf.SocketFilter,
		License:      "Dual BSD/GPL",
		Instructions: instructions,
	})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	result, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err != nil {
		return 0, fmt.Errorf("run program: %w", err)
	}
	return result, nil
}

// kernelRead reads from the program's own stack by address. A kernel that is
// locked down for confidentiality does not know the helper.
func kernelRead() (uint32, error) {
	return execute(asm.Instructions{
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, -16, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.RFP),
		asm.Add.Imm(asm.R1, -8),
		asm.Mov.Imm(asm.R2, 8),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -16),
		asm.FnProbeReadKernel.Call(),
		asm.LoadMem(asm.R0, asm.RFP, -8, asm.DWord),
		asm.Return(),
	})
}

func atomicExchange() (uint32, error) {
	exchange := asm.Xchg.Mem(asm.RFP, asm.R1, asm.DWord, -8)
	// cilium/ebpf 0.22 encodes the constant before it derives it from the
	// opcode: without this the instruction is a plain add.
	exchange.Constant = int64(asm.Xchg) >> 8
	return execute(asm.Instructions{
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R1, 2),
		exchange,
		asm.Mov.Reg(asm.R0, asm.R1),
		asm.Return(),
	})
}

func ringBuffer() (uint32, error) {
	ring, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 1 << 16})
	if err != nil {
		return 0, err
	}
	defer ring.Close()
	return execute(asm.Instructions{
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
		asm.LoadMapPtr(asm.R1, ring.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -8),
		asm.Mov.Imm(asm.R3, 8),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnRingbufOutput.Call(),
		asm.Add.Imm(asm.R0, 1), // 0 is success
		asm.Return(),
	})
}

func mapInMap() (uint32, error) {
	one := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}
	inner, err := ebpf.NewMap(one)
	if err != nil {
		return 0, err
	}
	defer inner.Close()
	if err := inner.Put(uint32(0), uint64(1)); err != nil {
		return 0, fmt.Errorf("fill inner map: %w", err)
	}
	outer, err := ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1,
		InnerMap: one,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: inner}},
	})
	if err != nil {
		return 0, err
	}
	defer outer.Close()
	key := asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
	}
	code := asm.Instructions{
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, outer.FD()),
	}
	code = append(code, key...)
	code = append(code, asm.Mov.Reg(asm.R1, asm.R0))
	code = append(code, key...)
	return execute(append(code,
		asm.LoadMem(asm.R0, asm.R0, 0, asm.DWord),
		asm.Return().WithSymbol("out"),
	))
}
