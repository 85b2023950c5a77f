package bpftest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Descendants lists the processes below pid, parents first. One that ends
// meanwhile is left out with its children, which then have another parent.
func Descendants(pid int) ([]int, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, file := range threads {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, s := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(s)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", file, err)
			}
			below, err := Descendants(child)
			if err != nil {
				return nil, err
			}
			all = append(append(all, child), below...)
		}
	}
	return all, nil
}
