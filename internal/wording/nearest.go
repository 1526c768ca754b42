package wording

import "strings"

// Nearest returns the name that is closest to word, or that begins with word; ""
// if more than half of the word would have to change.
func Nearest(word string, names []string) string {
	best, least := "", len(word)/2+1
	for _, name := range names {
		d := len(word) - len(name) // at least: a word that is much longer costs nothing
		if strings.HasPrefix(name, word) {
			d = 0
		} else if d < least {
			d = Distance(word, name)
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}

// Distance returns the edit distance (Levenshtein) of a and b in bytes. It is
// used to find suggestions.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
