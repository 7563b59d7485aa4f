package cli

// Nearest returns the candidate that word was most likely meant to be, or "" if none is near: one
// that word begins, or that is at most two edits away and fewer than half of word's letters. Of
// equals the first wins.
func Nearest(word string, candidates []string) string {
	best, distance := "", min(2, (len(word)-1)/2)+1
	for _, c := range candidates {
		d := edits(word, c)
		if len(word) >= 2 && len(c) > len(word) && c[:len(word)] == word {
			d = 0
		}
		if d < distance {
			best, distance = c, d
		}
	}
	return best
}

// edits counts insertions, deletions, replacements and swaps of neighbours between a and b.
func edits(a, b string) int {
	before, row := []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
