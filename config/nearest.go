package config

import "strings"

// Nearest returns the name that is closest to word, or that begins with word; ""
// if more than half of the word would have to change.
func Nearest(word string, names []string) string {
	best, least := "", len(word)/2+1
	for _, name := range names {
		d := Distance(word, name)
		if strings.HasPrefix(name, word) {
			d = 0
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}
