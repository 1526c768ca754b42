package wording

import "fmt"

// Count returns a number with a word that takes an s in the plural.
func Count[N int | uint64 | uint32](n N, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}
