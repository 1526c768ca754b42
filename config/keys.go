package config

import (
	"reflect"
	"strings"

	"github.com/interrex/interrex/internal/wording"
)

// nearest returns the key whose path, or whose last part, is closest to path.
func nearest(path string) string {
	best, least := "", 1<<30
	consider := func(known string) {
		d := wording.Distance(path, known)
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
