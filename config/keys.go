package config

import (
	"reflect"
	"strings"
)

// nearest returns the key whose path, or whose last part, is closest to path.
func nearest(path string) string {
	best, least := "", 1<<30
	consider := func(known string) {
		d := Distance(path, known)
		if last := lastPart(known); lastPart(path) == last {
			d = min(d, 1)
		}
		if d < least {
			best, least = known, d
		}
	}
	if !strings.Contains(path, ".") {
		sections := reflect.TypeFor[Config]()
		for i := range sections.NumField() {
			consider(sections.Field(i).Tag.Get("yaml"))
		}
	}
	c := Config{}
	leaves(reflect.ValueOf(&c).Elem(), "", func(known string, _ reflect.Value) { consider(known) })
	return best
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

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
