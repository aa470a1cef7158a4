package peers

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// cpuTick is the unit of times in /proc/*/stat: USER_HZ, 100 a second on Linux.
const cpuTick = 10 * time.Millisecond

// CPU is the processor time that the process has used so far, in steps of
// 10 ms. Error where there is no /proc.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		return 0, fmt.Errorf("read the CPU time of a process: %w", err)
	}
	// The name in brackets may hold spaces; utime and stime are fields 14 and
	// 15 of the line, 12 and 13 after it (proc(5)).
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("read the CPU time of a process: %d fields", len(fields))
	}
	var used time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the CPU time of a process: %w", err)
		}
		used += time.Duration(n) * cpuTick
	}
	return used, nil
}
