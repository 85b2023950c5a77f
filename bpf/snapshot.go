package bpf

import "fmt"

// Processes hands over every process that exists now, kernel threads too
// (ExecKThread). Arguments and names are empty: /proc has them. The record is
// valid only during the call.
func (k *Kernel) Processes(handle func(*ExecRecord)) error {
	if err := readIterator(k, "iter_tasks", handle); err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	return nil
}

// Sockets gives every open socket without one an owner, and base lines, so
// that what comes after is counted; they are told by the next Drain with
// FlowExisting. Packet, XDP and vsock sockets, whose bytes may move by shared
// memory, are told once as FlowSeen. It may be called again as a safety net.
//
// The counters tier adopts TCP, UDP and raw sockets only.
func (k *Kernel) Sockets() error {
	if k.iterators["iter_files"] == nil {
		if err := k.adoptSockets(); err != nil {
			return fmt.Errorf("adopt sockets: %w", err)
		}
		return nil
	}
	if err := readIterator(k, "iter_files", func(*byte) {}); err != nil {
		return fmt.Errorf("adopt sockets: %w", err)
	}
	return nil
}
