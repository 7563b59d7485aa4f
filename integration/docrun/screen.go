package docrun

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var escape = regexp.MustCompile(`^\x1b\[([0-9]*)[0-9;]*([A-Za-z])`)

// screen returns what a person sees after output went to a terminal: carriage returns and the few escape
// sequences that progress bars use are carried out, others are left out. A last line that has not ended
// is the last of lines.
func screen(output string) (lines []string) {
	row, col := 0, 0
	rows := [][]rune{nil}
	for len(output) > 0 {
		if m := escape.FindStringSubmatch(output); m != nil {
			output = output[len(m[0]):]
			switch m[2] {
			case "A":
				n, err := strconv.Atoi(m[1])
				if err != nil {
					n = 1
				}
				row = max(0, row-n)
			case "J":
				rows = rows[:row+1]
				rows[row] = rows[row][:min(col, len(rows[row]))]
			case "K":
				rows[row] = rows[row][:min(col, len(rows[row]))]
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(output)
		output = output[n:]
		switch r {
		case '\r':
			col = 0
		case '\n': // the terminal has put a carriage return before it
			row, col = row+1, 0
			if row == len(rows) {
				rows = append(rows, nil)
			}
		default:
			for len(rows[row]) < col {
				rows[row] = append(rows[row], ' ')
			}
			rows[row] = append(rows[row][:col], append([]rune{r}, rows[row][min(col+1, len(rows[row])):]...)...)
			col++
		}
	}
	for _, r := range rows {
		lines = append(lines, strings.TrimRight(string(r), " "))
	}
	return lines
}
