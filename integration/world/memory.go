package world

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// memoryPeriod is how often a process is looked at. Its peak only rises, so what is missed is what it
// added in its last moment.
const memoryPeriod = 5 * time.Millisecond

// watchMemory follows the peak resident size of a process until stop is called, which returns it in
// bytes. The kernel's figure for a child that ended (ru_maxrss) would count its parent's memory too,
// since a child shares that until it starts its program.
func watchMemory(pid int) (stop func() int64) {
	quit, done := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		tick := time.NewTicker(memoryPeriod)
		defer tick.Stop()
		for {
			peak = max(peak, hwm(pid))
			select {
			case <-quit:
				done <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 { close(quit); return <-done }
}

// hwm reads VmHWM in bytes; 0 when the process is gone.
func hwm(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(status), "VmHWM:")
	if !ok {
		return 0
	}
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib * 1024
}
