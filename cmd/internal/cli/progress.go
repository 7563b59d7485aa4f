package cli

import "fmt"

// Progress shows how far bytes have moved. Implementations draw on a terminal only.
type Progress interface {
	// Start begins a transfer of total bytes of which done are there already.
	Start(name string, done, total int64) Bar
}

// Bar is one transfer. End must be called once.
type Bar interface {
	// Add says that n more bytes have moved.
	Add(n int64)
	// End says that the transfer is over, finished or not.
	End()
}

// NoProgress draws nothing.
type NoProgress struct{}

// Start returns a bar that draws nothing.
func (NoProgress) Start(string, int64, int64) Bar { return noBar{} }

type noBar struct{}

func (noBar) Add(int64) {}
func (noBar) End()      {}

// Bytes returns a count of bytes with separators: 9,412,608 bytes.
func Bytes(n int64) string { return Grouped(n) + " bytes" }

// Grouped returns n with a comma between groups of three digits.
func Grouped(n int64) string {
	s := fmt.Sprint(n)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Size returns n rounded for people: 9.4 MB.
func Size(n int64) string {
	const k = 1000
	switch {
	case n < k:
		return fmt.Sprintf("%d B", n)
	case n < k*k:
		return fmt.Sprintf("%.1f kB", float64(n)/k)
	case n < k*k*k:
		return fmt.Sprintf("%.1f MB", float64(n)/(k*k))
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(k*k*k))
}
